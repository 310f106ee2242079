"""The objects of a run, whoever shows them: what is said of each is kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsam2_core import io
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import Slicing
from medsam2_core.image.terminology import Code, Terminology
from medsam2_core.job.objects import run_objects
from medsam2_core.run.prompts import BoxPrompt, RunObject

GRID = io.Geometry((5, 12, 14), (1.0, 1.0, 2.0), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
LUNG, LIVER = (
    Terminology(Code("123037004", "SCT", "Anatomical Structure"), Code(value, "SCT", meaning))
    for value, meaning in (("39607008", "Lung"), ("10200004", "Liver"))
)


def made(*saved: RunObject, **options: Any) -> list[RunObject]:
    given = {"typed": None, "prior": None, "transform": None, "boxes": None, "every": 2, "frame": "ijk", **options}
    volume = io.Volume(np.zeros(GRID.shape_kji, np.int16), GRID, Path("ct.nrrd"))
    return run_objects(argparse.Namespace(**given), saved, Slicing(GRID, 0), volume)


def segmentation(path: Path, terminology: Terminology | None, slices: slice = slice(None)) -> str:
    labels = np.zeros(GRID.shape_kji, np.uint8)
    labels[slices, 3:9, 3:9] = 4
    io.write_labelmap(path, labels, GRID, [Segment("organ", 4, (0, 0.5, 1), terminology)])
    return str(path)


def test_an_earlier_segmentation_says_what_its_objects_are(tmp_path: Path) -> None:
    prior = segmentation(tmp_path / "a.seg.nrrd", LUNG)
    (one,) = made(prior=prior)
    assert one.segment == Segment("organ", 1, (0, 0.5, 1), LUNG)
    assert one.slices == [0, 2, 4]
    mask = segmentation(tmp_path / "b.seg.nrrd", LIVER, slice(1, 2))
    (one,) = made(prior=prior, typed=[("--object", "organ"), ("--mask", mask)])
    assert one.segment.terminology == LUNG


@pytest.mark.parametrize(("said", "expected"), [(LIVER, LIVER), (None, LUNG)])
def test_the_run_file_goes_first(tmp_path: Path, said: Terminology | None, expected: Terminology) -> None:
    saved = RunObject(Segment("organ", 9, (1, 0, 0), said), (BoxPrompt(1, (3, 3, 8, 8)),))
    (one,) = made(saved, prior=segmentation(tmp_path / "a.seg.nrrd", LUNG))
    assert one.segment == Segment("organ", 9, (1, 0, 0), expected)
    assert one.slices == [0, 1, 2, 4]


def test_without_either_a_mask_says_it(tmp_path: Path) -> None:
    mask = segmentation(tmp_path / "a.seg.nrrd", LUNG)
    (one,) = made(typed=[("--object", "mine"), ("--box", "3,3,8,8@1"), ("--mask", mask)])
    assert one.segment.terminology == LUNG
    assert one.segment.name == "mine"
