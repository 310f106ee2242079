"""A page on a propagation: every slice with its outlines, the most doubtful first, as of a set of images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.files.text import write_text
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.pixels import VolumeStack
from medsam2_core.job.execute import Outcome
from medsam2_core.job.plan import Plan
from medsam2_core.run.set_report import SetEntry, SetRow, contact_sheet, picture, small


def write_sheet(plan: Plan, path: Path, outcome: Outcome) -> None:
    """Write the page for a run on stored slices. Raises VolumeError if it cannot be written."""
    segments = [item.segment for item in plan.objects]
    settings = outcome.report["settings"]
    about = f"Model {settings['model']}, {settings['memory']} memory, {settings['device']}; stored slices, from 0."
    write_text(path, contact_sheet(list(_entries(plan, outcome)), segments, (), about, "slice"))


def _entries(plan: Plan, outcome: Outcome) -> Iterator[SetEntry]:
    """A card for each slice that an object was prompted or looked for on."""
    geometry, axis = plan.volume.geometry, plan.slicing.axis
    orientation = SliceOrientation.upright(geometry, axis)
    spacing = orientation.turn_spacing(geometry.spacing_kji)
    stack = VolumeStack(orientation.turn(plan.volume.array), spacing, 0, plan.settings.window)
    labels, pixel_mm2 = orientation.turn(outcome.labelmap), math.prod(spacing[1:])
    segments = [item.segment for item in plan.objects]
    for index, rows in _rows(outcome.report, labels, pixel_mm2).items():
        card = picture(small(stack.pixels(index)), labels[index], segments)
        yield SetEntry(str(plan.volume.path), index, f"slice {index}", rows, card)


def _rows(
    report: dict[str, Any], labels: npt.NDArray[np.integer[Any]], pixel_mm2: float
) -> dict[int, dict[int, SetRow]]:
    """What is known of the objects, by slice and label."""
    found: dict[int, dict[int, SetRow]] = {}
    for item in report["objects"]:
        for facts in item["slices"]:
            index, label = int(facts["slice_index"]), int(item["label"])
            area = int((labels[index] == label).sum())
            known = 1.0 if facts["confidence"] is None else float(facts["confidence"])
            row = SetRow(known, area, area * pixel_mm2, facts["direction"] == "prompt")
            found.setdefault(index, {})[label] = row
    return dict(sorted(found.items()))
