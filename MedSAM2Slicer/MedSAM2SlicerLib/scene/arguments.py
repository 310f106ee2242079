"""Checks of what scripts pass to process() and its like, by name: a PromptError says what to give instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from os import PathLike
from typing import Any

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.window import Window
from medsam2_core.memory_name import SEED, SEED_IS

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is of the kind that is wanted, and what that is in words."""


def _isA(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _isRange(value: Any) -> bool:
    isPair = hasattr(value, "__len__") and not isinstance(value, str | Mapping | set) and len(value) == 2
    return isPair and all(one is None or isinstance(one, Integral) for one in value)


_TEXT: Check = (_isA(str), "a text")
_CHECKS: dict[str, Check] = {
    "volumeNode": (_isA(slicer.vtkMRMLScalarVolumeNode), "a scalar volume node"),
    "segmentationNode": (_isA(slicer.vtkMRMLSegmentationNode), "a segmentation node"),
    "roiNode": (_isA(slicer.vtkMRMLMarkupsROINode), "an ROI node"),
    "lineNode": (_isA(slicer.vtkMRMLMarkupsLineNode), "a line node"),
    "inside": (_isA(str, slicer.vtkMRMLMarkupsROINode), "the name or ID of a segment, or an ROI node"),
    "window": (_isA(str, Window), 'auto, a preset or "level/width"'),
    "model": (_isA(str, PathLike), "a name from the catalog, or a checkpoint's path"),
    "axis": (_isA(str, Integral), "axial, coronal, sagittal or 0, 1, 2 for k, j, i"),
    "range": (_isRange, "the first slice and the one after the last, as (40, 90)"),
    "stop": (_isA(Mapping), 'rules by name, such as {"absent_slices": 3}'),
    "seed": (SEED.holds, SEED_IS),
    "run": (_isA(str, PathLike, Mapping), "a file of Save run, or its content"),
    "progress": (callable, "a function of two numbers, done and planned"),
    **dict.fromkeys(("segmentName", "maskSegment", "memory", "direction", "directions", "fieldOfView"), _TEXT),
    **dict.fromkeys(("device", "precision", "order"), _TEXT),
}


def checkArguments(**given: Any) -> None:
    """Raise PromptError for an argument of another kind than its name asks for; None and unknown names pass."""
    for name, value in given.items():
        if value is None or name not in _CHECKS:
            continue
        fits, wanted = _CHECKS[name]
        if not fits(value):
            raise PromptError(f"{name} cannot be {value!r}: give {wanted}.")
