"""What the scene keeps about segments besides masks: attributes of the segmentation node, named after the segment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import slicer

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.scene.slicestates import SliceStates

SLICES, _RUN = "Slices", "Run"


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
    """Return the states of a segment's slices and their fingerprints; None if there are none, or damaged ones."""
    try:
        values = json.loads(slicesText(segmentationNode, segmentId) or "")
        states = SliceStates.fromJson(values)
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
    text = json.dumps({**states, "prints": prints})
    restoreSlices(segmentationNode, segmentId, text)
    return text


def storedStack(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> SliceStack | None:
    """Return the slices that a segment was worked on last, as the scene knows it; None if there are none."""
    states, _prints = storedSlices(segmentationNode, segmentId) or (SliceStates(), {})
    return states.stack if states else None
