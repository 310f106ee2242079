"""A folder as `medsam2 batch` writes it, without a model: for what only reads cohorts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medsam2_core.cohort.facts import case_facts
from medsam2_core.cohort.notes import write_note
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.io import read_grid, write_labelmap
from medsam2_core.run.prompts import PointsPrompt, RunObject
from medsam2_core.run.report import describe_run, write_report
from medsam2_core.run.settings import RunSettings
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import SliceRecord

BALL = Segment("ball", 1, (0.9, 0.6, 0.0))


def make_cohort(folder: Path, shape: tuple[int, int, int], confidences: Sequence[float]) -> Path:
    """Make the images 0.nii, 1.nii ... in a folder, and in its "out" the results of these cases; returns that.

    Each has an object in the middle, prompted on the middle slice and found on those beside it with its confidence.
    """
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    for place, confidence in enumerate(confidences):
        image = folder / f"{place}.nii"
        voxels = np.random.default_rng(place).integers(0, 1000, shape).astype(np.uint16)
        write_labelmap(image, voxels, geometry)
        case = folder / "out" / f"p{place}"
        case.mkdir(parents=True)
        grid = read_grid(image)
        assert grid is not None
        _write_case(case, image, grid, confidence)
    return folder / "out"


def _write_case(case: Path, image: Path, geometry: Geometry, confidence: float) -> None:
    slices, rows, columns = geometry.shape_kji
    middle = slices // 2
    labelmap = np.zeros(geometry.shape_kji, np.uint8)
    labelmap[middle - 2 : middle + 3, rows // 3 : rows // 2, columns // 3 : columns // 2] = 1
    area = float(np.count_nonzero(labelmap[middle]))
    found = {
        index: SliceRecord(index, confidence, 5.0, direction, area)
        for index, direction in zip(
            range(middle - 2, middle + 3), ("backward", "backward", "prompt", "forward", "forward"), strict=True
        )
    }
    prompt = PointsPrompt(middle, ((columns * 0.4, rows * 0.4),), (True,))
    settings = RunSettings(
        model_sha256="ab" * 32, stack=SliceStack(), window=Window(0, 1000, "auto"), first=0, last=slices,
        stop=StopRules(), image_size=64, memory="self-sorting:8", field_of_view="whole",
    )  # fmt: skip
    report = describe_run(
        {"path": str(image)}, geometry, settings, [RunObject(BALL, (prompt,))], _Found(found), {1: 5 * area / 1000},
        versions={}, seconds=1.0, encoder={},
    )  # fmt: skip
    write_labelmap(case / "segmentation.seg.nrrd", labelmap, geometry, [BALL])
    write_report(case / "report.json", report)
    note = {
        "format": "medsam2-case/1", "case": case.name, "row": int(image.stem) + 2, "digest": "", "inputs": {},
        "command": ["medsam2", "propagate", str(image)], "seconds": {"reading": 1.0}, "notices": [], "thumbnail": "",
        **case_facts(report, labelmap, {}),
    }  # fmt: skip
    write_note(case / "done.json", note)


class _Found:
    """What a session would have found."""

    def __init__(self, slices: dict[int, SliceRecord]) -> None:
        self._slices = slices

    def results(self, object_id: int) -> dict[int, SliceRecord]:
        return self._slices

    def stops(self, object_id: int) -> dict[str, str]:
        return {}
