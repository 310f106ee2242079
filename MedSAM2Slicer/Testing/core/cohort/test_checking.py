"""What is told of a cohort's cases before any of them runs."""

from __future__ import annotations

import csv
import json
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.checking import problems_of
from medsam2_core.cohort.cohort import read_cohort
from medsam2_core.cohort.columns import Words
from medsam2_core.cohort.table import Problem
from medsam2_core.job.options import add_shared_options

Made = Callable[..., tuple[list[Case], list[Problem]]]
BOX = "8,6,28,26@4"
GOOD: dict[str, Any] = {"image": "a.nrrd", "box": BOX}


def no_options() -> Namespace:
    parser = Words()
    add_shared_options(parser)
    return parser.parse_args([])


@pytest.mark.parametrize(
    ("cells", "column", "words"),
    [
        ({"image": "none.nrrd"}, "image", "No such file or folder"),
        ({"image": "empty"}, "image", "The folder is empty"),
        ({"image": "text.nrrd"}, "image", "Cannot be read as an image"),
        ({"box": "8,6,28,26@40"}, "box", "outside the volume"),
        ({"box": "8,6,8,26@4"}, "box", "is empty"),
        ({"point": "1,1,99"}, "point", "outside the volume"),
        ({"mask": "none.nrrd"}, "mask", "No such file or folder"),
        ({"markups": "none.mrk.json"}, "markups", "Cannot be read"),
        ({"prompts": "none.json"}, "prompts", "Cannot be read"),
        ({"reference": "none.nrrd:2"}, "reference", "No such file or folder"),
        ({"stop-outside": "none.nrrd"}, "stop-outside", "No such file or folder"),
        ({"window": "lungs"}, "window", "Unknown window 'lungs'"),
        ({"model": "nobody"}, "model", "is not a known model"),
        ({"model": "none.pt"}, "model", "does not exist"),
        ({"range": "3:99"}, "range", "reaches outside the volume"),
        ({"range": "5:8"}, "range", "holds no prompt of 'Segment_1'"),
        ({"box": "", "exclude": "3,3,3"}, None, "only exclude points"),
    ],
)
def test_a_case_that_could_not_run(made: Made, images: Path, cells: dict[str, str], column: str, words: str) -> None:
    (images / "empty").mkdir()
    (images / "text.nrrd").write_text("no image", encoding="utf-8")
    row = {name: cell for name, cell in {**GOOD, **cells}.items() if cell}
    cases, problems = made(row)
    assert problems == []
    (problem,) = problems_of(cases[0])
    assert (problem.row, problem.column) == (2, column)
    assert words in problem.text


def test_a_case_that_can(made: Made, images: Path) -> None:
    for cells in (
        {},
        {"axis": "coronal", "box": "8,1,28,6@16"},
        {"frame": "lps", "box": "6.4,7.5,22.4,32.5@10"},
        {"mask": "b.nii.gz", "range": "0:3"},
        {"range": "2:6", "model": "starter"},
    ):
        cases, problems = made({**GOOD, **cells})
        assert problems == []
        assert [str(problem) for problem in problems_of(cases[0])] == []


def test_the_problem_is_told_at_the_row_of_its_object(made: Made) -> None:
    cases, _ = made(
        {"image": "a.nrrd", "object": "ball", "box": BOX},
        {"image": "a.nrrd", "object": "other", "box": "1,1,9,9@50"},
    )
    assert [(problem.row, problem.column) for problem in problems_of(cases[0])] == [(3, "box")]


def test_a_folder_that_is_no_result_is_not_replaced(images: Path, tmp_path: Path) -> None:
    table = images / "t.csv"
    table.write_text(f'image,box\na.nrrd,"{BOX}"\n', encoding="utf-8")
    foreign = tmp_path / "out" / "a"
    foreign.mkdir(parents=True)
    assert read_cohort(table, no_options(), tmp_path / "out")[1] == []  # empty
    (foreign / "thesis.txt").write_text("years of work", encoding="utf-8")
    (problem,) = read_cohort(table, no_options(), tmp_path / "out")[1]
    assert "is not a result of medsam2 batch" in problem.text


def test_a_folder_is_a_cohort_too(images: Path) -> None:
    alone = images / "p1"
    alone.mkdir()
    (images / "c.mha").rename(alone / "scan.mha")
    for name, text in (("liver", [1.0, 2.0, 3.0]), ("spleen", [4.0, 5.0, 6.0])):
        point = {"label": "F-1", "position": text}
        content = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}]}
        (alone / f"{name}.mrk.json").write_text(json.dumps(content), encoding="utf-8")
    cases, problems = read_cohort(images, no_options(), None)
    assert [(problem.row, problem.text[:18]) for problem in problems] == [
        (2, "There is no prompt"),
        (3, "There is no prompt"),
    ]
    (case,) = cases
    assert case.name == "p1"
    assert [item.name for item in case.objects] == ["liver", "spleen"]


def test_a_thousand_rows_are_checked_in_time(images: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((8, 32, 36), np.int16))
    for place in range(1000):
        sitk.WriteImage(image, str(images / f"n{place}.{'nii.gz' if place % 2 else 'nrrd'}"))
    with (images / "t.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "object", "box", "point", "window"])
        for place in range(1000):
            ending = "nii.gz" if place % 2 else "nrrd"
            table.writerow([f"n{place}.{ending}", "ball", BOX, "20,16,4 21,16,4", "40/400"])
    started = time.process_time()
    cases, problems = read_cohort(images / "t.csv", no_options(), None)
    assert (len(cases), problems) == (1000, [])
    assert time.process_time() - started < 5
