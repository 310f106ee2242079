"""Segmentations and segments made for a call, of which nothing is left if the call comes to nothing."""

from __future__ import annotations

import slicer

from MedSAM2SlicerLib.scene.layers import isMarked
from MedSAM2SlicerLib.scene.segments import ensureSegmentation


class Making:
    """Finds or makes what a call writes into; if the call raises within it, what was made and is still empty goes."""

    def __init__(self) -> None:
        self._segmentations: list[slicer.vtkMRMLSegmentationNode] = []
        self._segments: list[tuple[slicer.vtkMRMLSegmentationNode, str]] = []

    def ensure(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        name: str | None,
    ) -> tuple[slicer.vtkMRMLSegmentationNode, str]:
        """See `ensureSegmentation`."""
        before = set() if segmentationNode is None else set(segmentationNode.GetSegmentation().GetSegmentIDs())
        node, segmentId = ensureSegmentation(volumeNode, segmentationNode, name)
        if segmentationNode is None:
            self._segmentations.append(node)
        if segmentId not in before:
            self._segments.append((node, segmentId))
        return node, segmentId

    def __enter__(self) -> Making:
        return self

    def __exit__(self, error: type[BaseException] | None, *_details: object) -> None:
        if error is not None:
            self._dropEmpty()

    def _dropEmpty(self) -> None:
        """Remove segments, and segmentations that hold no other ones."""
        for node, segmentId in self._segments:
            isThere = node.GetScene() is not None and node.GetSegmentation().GetSegment(segmentId) is not None
            if isThere and not isMarked(node, segmentId):
                node.GetSegmentation().RemoveSegment(segmentId)
        for node in self._segmentations:
            scene = node.GetScene()
            if scene is not None and not node.GetSegmentation().GetSegmentIDs():
                scene.RemoveNode(node.GetDisplayNode())
                scene.RemoveNode(node)
