"""Points and boxes as 3D Slicer saves them, as prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.slicing import Slicing
from medsam2_core.job.markups import place_markups
from medsam2_core.run.prompts import BoxPrompt, PointsPrompt

GRID = Geometry((10, 40, 50), (1.0, 1.0, 2.0), (-10.0, 5.0, 100.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
SLICING = Slicing(GRID, 0)


def saved(tmp_path: Path, *markups: dict[str, Any]) -> Path:
    path = tmp_path / "F.mrk.json"
    path.write_text(json.dumps({"@schema": "markups-schema-v1.0.3.json", "markups": markups}), encoding="utf-8")
    return path


def points(*given: tuple[str, list[float]], **others: Any) -> dict[str, Any]:
    controls = [{"label": label, "position": position, "positionStatus": "defined"} for label, position in given]
    return {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": controls, **others}


ROI = {
    "type": "ROI", "coordinateSystem": "LPS", "roiType": "Box", "center": [10.0, 25.0, 108.0],
    "orientation": [-1, 0, 0, 0, -1, 0, 0, 0, 1], "size": [20.0, 10.0, 6.0],
}  # fmt: skip


def test_points_include_or_exclude_by_their_names(tmp_path: Path) -> None:
    path = saved(tmp_path, points(("F-1", [0, 15, 104]), ("- vessel", [2, 15, 104]), ("Exclude-3", [3, 15, 104])))
    assert place_markups(path, SLICING) == [
        PointsPrompt(2, ((10, 10),), (True,)),
        PointsPrompt(2, ((12, 10),), (False,)),
        PointsPrompt(2, ((13, 10),), (False,)),
    ]


def test_ras_and_lps_are_told_apart(tmp_path: Path) -> None:
    path = saved(tmp_path, points(("F-1", [0, -15, 104]), coordinateSystem="RAS"))
    assert place_markups(path, SLICING) == [PointsPrompt(2, ((10, 10),), (True,))]


def test_a_point_that_was_not_placed_yet_is_left_out(tmp_path: Path) -> None:
    markup = points(("F-1", [0, 15, 104]), ("F-2", [0, 0, 0]))
    markup["controlPoints"][1]["positionStatus"] = "undefined"
    assert len(place_markups(saved(tmp_path, markup), SLICING)) == 1


def test_an_roi_is_a_box_on_its_middle_slice(tmp_path: Path) -> None:
    (box,) = place_markups(saved(tmp_path, ROI), SLICING)
    assert box == BoxPrompt(4, (10, 15, 30, 25))
    (box,) = place_markups(saved(tmp_path, ROI), Slicing(GRID, 1))
    assert box == BoxPrompt(20, (10, 2.5, 30, 5.5))


@pytest.mark.parametrize(
    ("markups", "words"),
    [
        ([], "It holds no point and no box"),
        ([points()], "It holds no point and no box"),
        ([points(("F", [0, 15, 999]))], "outside the volume"),
        ([points(("F", [0, 15]))], r"markups\[0\].controlPoints\[0\].position holds \[0, 15\]"),
        ([points(("F", [0, 15, 104]), coordinateSystem="XYZ")], "use LPS or RAS"),
        ([{"type": "Curve"}], "give points"),
        ([{**ROI, "size": [0.0, 0.0, 0.0]}], "is empty"),
        ([{**ROI, "orientation": [1]}], "not nine numbers"),
        (["text"], "not an object in braces"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, markups: list[Any], words: str) -> None:
    with pytest.raises(PromptError, match=words):
        place_markups(saved(tmp_path, *markups), SLICING)


def test_a_file_that_is_no_markups_file(tmp_path: Path) -> None:
    path = tmp_path / "F.mrk.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(PromptError, match="has no list 'markups'"):
        place_markups(path, SLICING)
