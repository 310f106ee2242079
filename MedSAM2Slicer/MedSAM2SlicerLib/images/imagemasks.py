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
        places = self._places().values()
        return {one.GetName(): one.GetColor() for node, _volumeNode in places for _id, one in _segments(node)}

    def handDrawn(self, only: int | None = None) -> dict[tuple[int, str], bool]:
        """Return the images and names of segments that a person drew, in all images or in one `only`.

        True for one that was written before.
        """
        return {
            (index, segment.GetName()): bool(written(segment))
            for index, place in self._places().items()
            if only in (None, index)
            for segmentId, segment in _segments(place[0])
            if self._isHandDrawn(index, place, segmentId)
        }

    def mask(self, index: int, name: str) -> Bools:
        """Return the mask of a segment."""
        mask: Bools = self._read(index, name)[1][0]
        return mask

    def disown(self, index: int, name: str) -> None:
        """Have a segment be no person's any more."""
        noteWritten(*self._read(index, name))

    def _read(self, index: int, name: str) -> tuple[slicer.vtkSegment, Bools]:
        """A segment and its mask (1, rows, columns)."""
        segmentationNode, volumeNode = self._places()[index]
        segmentId = segmentIdOf(segmentationNode, name)
        mask = segmentMask(segmentationNode, segmentId, volumeNode)
        return segmentationNode.GetSegmentation().GetSegment(segmentId), mask

    def _isHandDrawn(self, index: int, place: Place, segmentId: str) -> bool:
        """Whether a person drew or changed a segment; False for one that is a surface."""
        segmentationNode, volumeNode = place
        layer = layerOf(segmentationNode, segmentId)
        if layer is None:
            return False
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        state = segmentationNode, layer, layer.GetMTime(), written(segment)
        if self._known.get((index, segmentId), (None,))[0] != state:
            drawn = isHandDrawn(segment, segmentMask(segmentationNode, segmentId, volumeNode))
            self._known[index, segmentId] = state, drawn
        return self._known[index, segmentId][1]


def _segments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Iterator[tuple[str, slicer.vtkSegment]]:
    segmentation = segmentationNode.GetSegmentation()
    return ((segmentId, segmentation.GetSegment(segmentId)) for segmentId in segmentation.GetSegmentIDs())
