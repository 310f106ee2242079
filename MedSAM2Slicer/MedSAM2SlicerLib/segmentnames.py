"""Which segment a name means: the one of exactly that name, never another by chance."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import PromptError, VolumeError


def segmentsCalled(segmentationNode: slicer.vtkMRMLSegmentationNode, name: str) -> list[str]:
    """List the IDs of the segments of exactly that name."""
    segmentation = segmentationNode.GetSegmentation()
    return [one for one in segmentation.GetSegmentIDs() if segmentation.GetSegment(one).GetName() == name]


def segmentCalled(segmentationNode: slicer.vtkMRMLSegmentationNode, name: str) -> str | None:
    """Return the ID of the segment of exactly that name, else that ID itself; None if there is neither.

    Raises PromptError if several segments have that name. MRML's own search takes the first one, of any case.
    """
    found = segmentsCalled(segmentationNode, name)
    if len(found) > 1:
        raise PromptError(f"{len(found)} segments are called {name!r}: give the ID of one ({', '.join(found)}).")
    return found[0] if found else (name if segmentationNode.GetSegmentation().GetSegment(name) is not None else None)


def segmentIdOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segment: str) -> str:
    """Return the ID of a segment given by its exact name or ID. Raises PromptError, naming those there are."""
    segmentId = segmentCalled(segmentationNode, segment)
    if segmentId is None:
        segmentation = segmentationNode.GetSegmentation()
        names = [segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs()]
        raise PromptError(f"There is no segment {segment!r}: the segmentation has {', '.join(names) or 'none'}.")
    return segmentId


def presentSegment(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> slicer.vtkSegment:
    """Return a segment by its ID. Raises VolumeError for one that is gone."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if segment is None:
        text = _("{name} no longer has this segment: choose another one.")
        raise VolumeError(text.format(name=repr(segmentationNode.GetName())))
    return segment
