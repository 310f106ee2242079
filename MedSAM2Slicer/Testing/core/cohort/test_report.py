"""The report of a cohort: its page, its tables, and what it takes for unusual."""

from __future__ import annotations

import csv
import html.parser
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.facts import agreement, doubt, object_facts
from medsam2_core.cohort.notes import write_note
from medsam2_core.cohort.overview import Drawing
from medsam2_core.cohort.report import write_report
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.statistics import object_statistics, outliers
from medsam2_core.cohort.table import Problem
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import Window

Made = Callable[..., tuple[list[Case], list[Problem]]]
EVIL = "</script><img src=x onerror=alert(1)>"


def told(name: str, volume: float, reference: float | None = None) -> dict[str, Any]:
    """An object as a case's note has it."""
    item = {
        "name": name, "color": [1, 0, 0], "volume_ml": volume, "slices": 2, "doubt": 0.25, "lowest": [0.75, 3],
        "stops": {"forward": "stopped at slice 5: object absent on 3 slices"}, "start": 2, "strip": [75, None],
        "prompted": [2],
    }  # fmt: skip
    if reference is not None:
        item["agreement"] = {"dice": 0.9, "surface_dice": 0.8, "reference_ml": reference}
    return item


@pytest.fixture
def results(made: Made, tmp_path: Path) -> tuple[Results, list[Case]]:
    """Ten cases that are done, one that failed and one that is open."""
    rows = ({"case": f"p{place}", "image": "a.nrrd", "point": "1,1,1"} for place in range(12))
    cases, _ = made(*rows)
    found = Results(tmp_path / "out & <more>")
    found.folder.mkdir()
    found.prepare()
    for place, case in enumerate(cases[:10]):
        (found.folder / case.name).mkdir()
        for name in ("segmentation.seg.nrrd", "report.json"):
            (found.folder / case.name / name).write_bytes(b"made")
        note = {
            "format": "medsam2-case/1", "case": case.name, "digest": case.digest, "inputs": {}, "doubt": place / 10,
            "seconds": {"reading": 1.0, "propagating": 2.0}, "range": [0, 8], "slices_per_second": 4.0,
            "notices": [EVIL], "thumbnail": "AAAA",
            "objects": [told(f"=SUM(1) {EVIL}", 1000.0 if place == 3 else 100.0 + place, 100.0)],
        }  # fmt: skip
        write_note(found.folder / case.name / "done.json", note)
    found.note_failure(cases[10], "The file is bad: copy it again.")
    return found, cases


class Page(html.parser.HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


def test_the_page_needs_nothing_and_runs_nothing_of_the_table(results: tuple[Results, list[Case]]) -> None:
    found, cases = results
    assert write_report(found, cases) == (10, 1)
    text = (found.folder / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert not [tag for tag, attributes in page.tags if tag in ("img", "link", "iframe") or "src" in attributes]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    data = json.loads(page.scripts[0])
    assert [one["state"] for one in data["cases"]] == ["done"] * 10 + ["failed", "open"]
    assert data["cases"][10]["failed"] == "The file is bad: copy it again."
    assert data["cases"][0]["objects"][0]["name"] == f"=SUM(1) {EVIL}"
    assert "<title>out &amp; &lt;more&gt; - MedSAM-2 cohort</title>" in text
    assert len(page.scripts) == 2


def test_the_tables_beside_it(results: tuple[Results, list[Case]]) -> None:
    found, cases = results
    write_report(found, cases)
    with (found.folder / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["state"] for line in lines] == ["done"] * 10 + ["failed", "open"]
    assert lines[3]["outlier"] == "yes"
    assert float(lines[3]["difference_ml"]) == 900
    assert lines[0]["object"].startswith("'=SUM")  # no formula
    summary = json.loads((found.folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["cases"][10]["failed"]
    (object_,) = summary["objects"].values()
    assert len(object_["points"]) == 10
    assert object_["agreement"]["dice"] == pytest.approx(0.9)
    differences = [point["difference"] for point in object_["agreement"]["points"]]
    assert object_["agreement"]["mean"] == pytest.approx(np.mean(differences))
    assert object_["agreement"]["sd"] == pytest.approx(np.std(differences, ddof=1))


def test_what_is_unusual() -> None:
    usual = [100.0, 110, 95, 105, 102, 98, 120, 90]
    assert outliers(usual) == [False] * 8
    assert outliers([*usual, 10.0, 0.0, 1000.0])[8:] == [True, True, True]
    assert outliers([1.0, 1000.0]) == [False, False]  # too few to say
    cases = [{"name": "a", "objects": [told("x", 5.0)]}]
    assert "agreement" not in object_statistics(cases)["x"]


def slice_(index: int, confidence: float | None, area: float = 1, direction: str = "forward") -> dict[str, Any]:
    return {"slice_index": index, "confidence": confidence, "area_mm2": area, "direction": direction}


def test_doubt_goes_by_the_worst_tenth() -> None:
    sure = [slice_(index, 0.9) for index in range(19)]
    assert doubt([*sure, slice_(19, 0.1)]) == pytest.approx(0.1)
    assert doubt([slice_(0, 0.2)] * 10 + sure[:10]) == pytest.approx(0.8)
    assert doubt([]) == doubt([slice_(0, None)]) == 1


def test_facts_of_an_object() -> None:
    slices = [slice_(2, 0.5, 0), slice_(3, 0.8), slice_(4, 0.75, direction="prompt")]
    item = {"name": "x", "color": [1, 0, 0], "volume_ml": 2.0, "stopped": {}, "slices": slices}
    facts = object_facts(item, 0)
    assert (facts["start"], facts["strip"], facts["prompted"]) == (2, [None, 80, 75], [4])
    assert facts["lowest"] == [0.75, 4]


def test_the_strip_has_a_place_for_each_slice_also_for_those_that_nothing_is_known_of() -> None:
    slices = [slice_(2, 0.8, direction="prompt"), slice_(5, 0.75)]  # the first one outside the range of the run
    item = {"name": "x", "color": [1, 0, 0], "volume_ml": 2.0, "stopped": {}, "slices": slices}
    assert object_facts(item, 5)["strip"] == [80, None, None, 75]


def test_agreement() -> None:
    one = np.zeros((4, 8, 8), bool)
    one[1:3, 2:6, 2:6] = True
    found = agreement(one, np.roll(one, 1, axis=2), (2, 5, 5))
    assert found["dice"] == pytest.approx(0.75)
    assert found["reference_ml"] == pytest.approx(32 * 50 / 1000)
    assert found["surface_dice"] < 1


def drawing(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Drawing:
    labelmap = np.zeros(shape, np.uint8)
    labelmap[shape[0] // 2, 3:9, 3:9] = 1
    grid = Geometry(shape, spacing, (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    return Drawing(np.full(shape, 50, np.int16), labelmap, grid, Window(0, 100, "x"), [Segment("x", 1, (0, 1, 0))])


def shown(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_overview_has_the_patients_proportions_and_the_outline(tmp_path: Path) -> None:
    picture = shown(drawing((10, 20, 40), (1, 1, 2)).overview(), tmp_path / "a.png")
    axial = picture[:, : picture.shape[1] // 3]
    green = (axial == (0, 255, 0)).all(axis=-1)
    assert green.any()
    rows, columns = np.nonzero(green)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 10  # 6 x 6 mm
    assert not green[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]  # the inside is to be seen


def test_the_small_picture_is_near_the_object(tmp_path: Path) -> None:
    picture = shown(drawing((10, 80, 80), (1, 1, 1)).thumbnail(0), tmp_path / "a.png")
    rows, _ = np.nonzero((picture == (0, 255, 0)).all(axis=-1))
    assert np.ptp(rows) > len(picture) / 3


def test_a_picture_of_nothing(tmp_path: Path) -> None:
    empty = drawing((4, 12, 12), (1, 1, 1))
    empty.labelmap[:] = 0
    for content in (empty.overview(), empty.thumbnail(1)):
        assert (shown(content, tmp_path / "a.png") == (0, 255, 0)).all(axis=-1).sum() == 0
