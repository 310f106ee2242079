"""The tables of results, which people open in spreadsheets."""

from __future__ import annotations

import csv
import io

from medsam2_core.image.segments import Segment
from medsam2_core.run.curve import curve_csv
from medsam2_core.run.set_report import SetEntry, SetRow, results_csv

SEGMENT = Segment("=HYPERLINK()", 1, (1.0, 0.5, 0.0))


def test_no_name_becomes_a_formula() -> None:
    entry = SetEntry("+a.png", 0, "@a", {1: SetRow(0.9, 12, None, prompted=False)}, "")
    (of_image,) = csv.DictReader(io.StringIO(results_csv([entry], [SEGMENT])))
    assert (of_image["image"], of_image["result"], of_image["object"]) == ("'+a.png", "'@a", "'=HYPERLINK()")
    (of_moment,) = csv.DictReader(io.StringIO(curve_csv({0: {1: 2.0}}, {0: {1: 0.9}}, [SEGMENT])))
    assert of_moment["object"] == "'=HYPERLINK()"


def test_a_color_as_pages_have_it() -> None:
    assert SEGMENT.hex_color == "#ff8000"
