"""The segment a controller writes into, with its prompts and its undo."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import slicer

from MedSAM2SlicerLib.history import EditHistory
from MedSAM2SlicerLib.promptset import PromptSet
from MedSAM2SlicerLib.segments import SegmentWriter, ensureSegmentation, fitSegmentation, segmentVolumeMl


class Target:
    """A segmentation and one of its segments; either may still have to be chosen or made."""

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        segmentId: str = "",
        editorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
    ) -> None:
        self.segmentationNode, self.segmentId = segmentationNode, segmentId
        self._editorNode = editorNode
        self.history = None if segmentationNode is None else EditHistory(segmentationNode)
        self.prompts = PromptSet(segmentationNode, segmentId) if segmentationNode is not None and segmentId else None

    def moved(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str) -> Target:
        """Return another segment as target; the segments of a segmentation share one history."""
        target = Target(segmentationNode, segmentId, self._editorNode)
        if segmentationNode is self.segmentationNode:
            target.history = self.history
        return target

    def ensured(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Target:
        """Return this target if it is complete, else one whose segmentation and segment were made.

        Raises VolumeError for a segmentation that does not fit the volume.
        """
        if self.prompts is None:
            return self.moved(*ensureSegmentation(volumeNode, self.segmentationNode))
        fitSegmentation(volumeNode, self.segmentationNode)
        return self

    def writer(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> SegmentWriter:
        """Return what writes into the segment as the Segment Editor's settings allow."""
        editorNode = self._editorNode or editorNodeOf(self.segmentationNode)
        return SegmentWriter(self.segmentationNode, self.segmentId, volumeNode, editorNode, self.history)

    def write(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        masks: Mapping[int, npt.NDArray[np.bool_] | None],
        axis: int,
    ) -> None:
        """Write slices as one step for undo; see `SegmentWriter.writeSlices`."""
        writer = self.writer(volumeNode)
        writer.begin()
        writer.writeSlices(masks, axis)
        writer.end()

    def volumeMl(self) -> float:
        """Volume of the segment in mL; 0 where there is none."""
        return 0.0 if self.prompts is None else segmentVolumeMl(self.segmentationNode, self.segmentId)


def editorNodeOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentEditorNode | None:
    """Return the node with the masking that the user set for a segmentation in the module Segment Editor.

    None if that module was not opened, or works on another segmentation, whose settings would mean other segments.
    """
    node = segmentationNode.GetScene().GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    return node if node is not None and node.GetSegmentationNode() is segmentationNode else None
