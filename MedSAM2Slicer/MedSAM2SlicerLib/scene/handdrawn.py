"""Tells masks that a person drew from those that were written: these leave a fingerprint, saved with their segment."""

from __future__ import annotations

import slicer
import vtk

from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicemasks import maskPrint

_WRITTEN = "MedSAM2.Written"
_NOTHING = "empty"


def noteWritten(segment: slicer.vtkSegment, mask: Bools) -> None:
    """Note that a segment's mask (k, j, i) is no person's."""
    segment.SetTag(_WRITTEN, _print(mask))


def keepNote(segment: slicer.vtkSegment, before: slicer.vtkSegment) -> None:
    """Have a segment that takes the place of another one be a person's if that was."""
    segment.SetTag(_WRITTEN, written(before))


def written(segment: slicer.vtkSegment) -> str:
    """Return the fingerprint of what was written into a segment last, empty if that was nothing of ours."""
    tag = vtk.reference("")
    segment.GetTag(_WRITTEN, tag)
    return str(tag)


def isHandDrawn(segment: slicer.vtkSegment, mask: Bools) -> bool:
    """Whether a segment with this mask (k, j, i) is a person's."""
    return _print(mask) != (written(segment) or _NOTHING)


def _print(mask: Bools) -> str:
    rows = mask.reshape(-1, mask.shape[-1])
    return maskPrint(rows) if rows.any() else _NOTHING
