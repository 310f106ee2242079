"""Checks of what scripts pass to process() and its like, by name: a PromptError says what to give instead."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from os import PathLike
from typing import Any

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.window import Window

_TEXT: tuple[tuple[type, ...], str] = ((str,), "a text")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "volumeNode": ((slicer.vtkMRMLScalarVolumeNode,), "a scalar volume node"),
    "segmentationNode": ((slicer.vtkMRMLSegmentationNode,), "a segmentation node"),
    "roiNode": ((slicer.vtkMRMLMarkupsROINode,), "an ROI node"),
    "lineNode": ((slicer.vtkMRMLMarkupsLineNode,), "a line node"),
    "inside": ((str, slicer.vtkMRMLMarkupsROINode), "the name or ID of a segment, or an ROI node"),
    "window": ((str, Window), 'auto, a preset or "level/width"'),
    "model": ((str, PathLike), "a name from the catalog, or a checkpoint's path"),
    "axis": ((str, Integral), "axial, coronal, sagittal or 0, 1, 2 for k, j, i"),
    "stop": ((Mapping,), 'rules by name, such as {"absent_slices": 3}'),
    "seed": ((Integral,), "a whole number"),
    "run": ((str, PathLike, Mapping), "a file of Save run, or its content"),
    **dict.fromkeys(("segmentName", "maskSegment", "memory", "direction", "directions", "fieldOfView"), _TEXT),
    **dict.fromkeys(("device", "precision", "order"), _TEXT),
}


def checkArguments(**given: Any) -> None:
    """Raise PromptError for an argument of another kind than its name asks for; None and unknown names pass."""
    for name, value in given.items():
        if value is None:
            continue
        kinds, wanted = _KINDS.get(name, ((object,), ""))
        if name == "range":
            _checkRange(value)
        elif not (callable(value) if name == "progress" else isinstance(value, kinds)):
            wanted = wanted or "a function of two numbers, done and planned"
            raise PromptError(f"{name} cannot be {value!r}: give {wanted}.")


def _checkRange(value: Any) -> None:
    isPair = hasattr(value, "__len__") and not isinstance(value, str | Mapping | set) and len(value) == 2
    if not isPair or not all(one is None or isinstance(one, Integral) for one in value):
        raise PromptError(f"range cannot be {value!r}: give the first slice and the one after the last, as (40, 90).")
