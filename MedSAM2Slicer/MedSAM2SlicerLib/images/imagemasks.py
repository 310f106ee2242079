"""The masks of a set's images as the scene has them, and which of them a person drew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import slicer

from medsam2_core.image.segments import Color
from MedSAM2SlicerLib.scene.handdrawn import isHandDrawn, noteWritten, written
from MedSAM2SlicerLib.scene.layers import Bools, layerOf
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.segmentnames import segmentIdOf

Place = tuple[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLScalarVolumeNode]
"""An image's segmentation, and the volume of one slice that it lies on."""


class ImageMasks:
    """Masks (rows, columns) by the index of their image and the name of their segment.

    `places` are asked for each time, as the scene changes. Masks are read again only of segments that were changed.
    """

    def __init__(self, places: Callable[[], Mapping[int, Place]]) -> None:
        self._places = places
        self._known: dict[tuple[int, str], tuple[object, bool]] = {}

    def colors(self) -> dict[str, Color]:
        """Return the colors of the segments by name."""
        return {segment.GetName(): segment.GetColor() for _index, _id, segment in self._segments()}

    def handDrawn(self) -> dict[tuple[int, str], bool]:
        """Return the images and names of segments that a person drew; True for one that was written before."""
        drawn = [(index, segment) for index, one, segment in self._segments() if self._isHandDrawn(index, one, segment)]
        return {(index, segment.GetName()): bool(written(segment)) for index, segment in drawn}

    def mask(self, index: int, name: str) -> Bools:
        """Return the mask of a segment."""
        segmentationNode, volumeNode = self._places()[index]
        mask: Bools = segmentMask(segmentationNode, segmentIdOf(segmentationNode, name), volumeNode)[0]
        return mask

    def disown(self, index: int, name: str) -> None:
        """Have a segment be no person's any more."""
        segmentationNode, _volumeNode = self._places()[index]
        segment = segmentationNode.GetSegmentation().GetSegment(segmentIdOf(segmentationNode, name))
        noteWritten(segment, self.mask(index, name)[None])

    def _segments(self) -> Iterator[tuple[int, str, slicer.vtkSegment]]:
        for index, (segmentationNode, _volumeNode) in self._places().items():
            segmentation = segmentationNode.GetSegmentation()
            for segmentId in segmentation.GetSegmentIDs():
                yield index, segmentId, segmentation.GetSegment(segmentId)

    def _isHandDrawn(self, index: int, segmentId: str, segment: slicer.vtkSegment) -> bool:
        """Whether a person drew or changed a segment; False for one that is a surface."""
        segmentationNode, volumeNode = self._places()[index]
        layer = layerOf(segmentationNode, segmentId)
        if layer is None:
            return False
        state = segmentationNode, layer, layer.GetMTime(), written(segment)
        if self._known.get((index, segmentId), (None,))[0] != state:
            drawn = isHandDrawn(segment, segmentMask(segmentationNode, segmentId, volumeNode))
            self._known[index, segmentId] = state, drawn
        return self._known[index, segmentId][1]
