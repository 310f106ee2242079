"""What the scene keeps about segments besides masks: attributes of the segmentation node, named after the segment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import slicer
import slicer.util
import vtk

from medsam2_core.image.geometry import Float
from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.scene.layers import boxOf, isEmpty, layerOf
from MedSAM2SlicerLib.scene.slicestates import SliceStates

SLICES, _RUN = "Slices", "Run"

_SAME = 1e-3  # mm, and cosines: what a file's header may change of a grid


def attributeName(segmentId: str, what: str = _RUN) -> str:
    """Return the name of the attribute of a segmentation that holds a segment's record, or `what` else.

    What is not a letter, digit or one of _.-~ is written as = and two hexadecimal digits a byte: Slicer encodes the
    values of attributes in a scene file, but not their names.
    """
    return f"MedSAM2.{what}." + quote(segmentId, safe="").replace("%", "=")


def setAttribute(segmentationNode: slicer.vtkMRMLSegmentationNode, name: str, text: str | None) -> None:
    """Set an attribute, or remove it, without a ModifiedEvent.

    Segment Editor answers that event by bringing all of itself up to date, and if it comes while an effect begins or
    ends, by beginning or ending it once more.
    """
    disabled = segmentationNode.GetDisableModifiedEvent()
    segmentationNode.SetDisableModifiedEvent(True)
    try:
        if text is None:
            segmentationNode.RemoveAttribute(name)
        else:
            segmentationNode.SetAttribute(name, text)
    finally:
        segmentationNode.SetDisableModifiedEvent(disabled)


def dropStrayAttributes(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove what is kept about segments that no longer exist."""
    kinds = (SLICES, _RUN)
    known = {attributeName(one, what) for one in segmentationNode.GetSegmentation().GetSegmentIDs() for what in kinds}
    beginnings = tuple(attributeName("", what) for what in kinds)
    for name in segmentationNode.GetAttributeNames():
        if name.startswith(beginnings) and name not in known:
            setAttribute(segmentationNode, name, None)


def runText(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> str | None:
    """Return the record of a segment as stored, unchecked."""
    text: str | None = segmentationNode.GetAttribute(attributeName(segmentId))
    return text


def restoreRun(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, text: str | None) -> None:
    """Put back what `runText` gave, as undo does with the segment itself."""
    setAttribute(segmentationNode, attributeName(segmentId), text)


def slicesText(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> str | None:
    """Return what is stored of a segment's slices, unchecked."""
    text: str | None = segmentationNode.GetAttribute(attributeName(segmentId, SLICES))
    return text


def restoreSlices(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, text: str | None) -> None:
    """Put back what `slicesText` gave."""
    setAttribute(segmentationNode, attributeName(segmentId, SLICES), text)


def storedSlices(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str
) -> tuple[SliceStates, dict[int, str]] | None:
    """Return the states of a segment's slices and their fingerprints; None if there are none, or damaged ones.

    Oblique slices go with the segment's voxels, where a transform that turns or moves both was hardened since.
    """
    try:
        values = json.loads(slicesText(segmentationNode, segmentId) or "")
        states = SliceStates.fromJson(values)
        states.stack = _followed(states.stack, values.get("grid"), gridOf(segmentationNode, segmentId))
        prints = {int(index): str(value) for index, value in values["prints"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return states, prints


def storeSlices(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    states: Mapping[str, Any],
    prints: Mapping[int, str],
) -> str:
    """Store what `storedSlices` reads, and return its text; `states` in JSON's own types."""
    grid = gridOf(segmentationNode, segmentId) if "plane" in states else None
    place = {} if grid is None else {"grid": grid.tolist()}
    text = json.dumps({**states, **place, "prints": prints})
    restoreSlices(segmentationNode, segmentId, text)
    return text


def gridOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> Float | None:
    """Return the matrix (4x4) from a segment's voxels to RAS below its parent transforms; None for an empty one."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    layer = None if segment is None else layerOf(segmentationNode, segmentId)
    if layer is None or isEmpty(boxOf(layer)):
        return None
    matrix = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(matrix)
    grid: Float = slicer.util.arrayFromVTKMatrix(matrix)
    return grid


def isSameGrid(grid: Float, other: Float) -> bool:
    """Whether two matrices are the same except for the rounding of files."""
    return bool(np.allclose(grid, other, rtol=0, atol=_SAME))


def _followed(stack: SliceStack, stored: Any, grid: Float | None) -> SliceStack:
    """Return slices of a grid as it was `stored` where the grid is now, as far as it was only turned and moved."""
    if stack.plane is None or stored is None or grid is None:
        return stack
    before = np.asarray(stored, dtype=np.float64)
    if before.shape != grid.shape or isSameGrid(before, grid) or not np.linalg.det(before):
        return stack
    motion = grid @ np.linalg.inv(before)
    turn = motion[:3, :3]
    if not isSameGrid(turn @ turn.T, np.eye(3)) or np.linalg.det(turn) < 0:
        return stack
    return SliceStack(stack.axis, tuple(tuple(row) for row in (motion @ stack.plane).tolist()))


def storedStack(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> SliceStack | None:
    """Return the slices that a segment was worked on last, as the scene knows it; None if there are none."""
    states, _prints = storedSlices(segmentationNode, segmentId) or (SliceStates(), {})
    return states.stack if states else None
