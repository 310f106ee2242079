"""Which masks of images a person drew: those that are others than what was written there last."""

from __future__ import annotations

import slicer
import vtk

from MedSAM2SlicerLib.scene.layers import Bools, layerOf
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.scene.slicemasks import maskPrint

_WRITTEN = "MedSAM2.Written"  # tag of a segment, saved with it: the fingerprint of the mask that was written
_NOTHING = "empty"


class HandDrawn:
    """Tells by fingerprints, which are made again only of segments that were changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, str], tuple[object, bool]] = {}

    def isHandDrawn(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
    ) -> bool:
        """Whether a person drew or changed the segment of a volume of one slice; False for one that is a surface."""
        layer = layerOf(segmentationNode, segmentId)
        if layer is None:
            return False
        place = segmentationNode, segmentId
        state = layer, layer.GetMTime(), written(segmentationNode, segmentId)
        if self._known.get(place, (None,))[0] != state:
            now = _print(segmentMask(segmentationNode, segmentId, volumeNode)[0])
            self._known[place] = state, now != (state[-1] or _NOTHING)
        return self._known[place][1]


def written(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> str:
    """Return the fingerprint of what was written into a segment last, empty if that was nothing of ours."""
    tag = vtk.reference("")
    segmentationNode.GetSegmentation().GetSegment(segmentId).GetTag(_WRITTEN, tag)
    return str(tag)


def noteWritten(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, mask: Bools) -> None:
    """Note that a segment's mask (rows, columns) is no person's."""
    segmentationNode.GetSegmentation().GetSegment(segmentId).SetTag(_WRITTEN, _print(mask))


def _print(mask: Bools) -> str:
    return maskPrint(mask) if mask.any() else _NOTHING
