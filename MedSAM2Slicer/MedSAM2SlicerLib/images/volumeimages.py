"""Images that are volumes of one slice, each with a segmentation of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Segment
from medsam2_core.worker.image_sets import SetImage
from MedSAM2SlicerLib.images.imagemasks import ImageMasks, Place
from MedSAM2SlicerLib.images.imageset import OF_IMAGE, SeenImages
from MedSAM2SlicerLib.images.inview import InView, volumeIn
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation, makeSegmentation
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume, slicedVolume
from MedSAM2SlicerLib.segmentnames import segmentCalled

_ALONG = 0  # the array axis that has the one slice


def imageVolumes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """List the volumes of one slice that the scene shows and keeps, but for label maps and what a sequence shows."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", scene)
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
    return [node for node in nodes if _isImage(node) and not any(one.IsProxyNodeID(node.GetID()) for one in browsers)]


class VolumeImages:
    """See `imageset.Images`."""

    first = 0
    isOutdated = False  # a list that was given

    def __init__(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode], inView: InView | None = None) -> None:
        self.nodes, self.inView = list(volumeNodes), inView or InView()
        self._keys = [node.GetID() for node in self.nodes]
        self._indexes = {key: index for index, key in enumerate(self._keys)}
        self._seen = SeenImages()
        self.masks = ImageMasks(self._places)

    @property
    def names(self) -> list[str]:
        """See `imageset.Images`."""
        return [node.GetName() for node in self.nodes]

    @property
    def shown(self) -> int | None:
        """See `imageset.Images`."""
        return self._indexes.get(self.inView.volumeId)

    def shownIn(self, view: slicer.vtkMRMLSliceNode) -> int | None:
        """See `imageset.Images`."""
        return self._indexes.get(volumeIn(view))

    def key(self, index: int) -> str:
        """See `imageset.Images`."""
        return self._keys[index]

    def seen(self, index: int) -> SetImage:
        """See `imageset.Images`."""
        return self._seen.of(index, self._node(index))

    def sliced(self, index: int) -> SlicedVolume:
        """See `imageset.Images`."""
        return slicedVolume(self._node(index))

    def show(self, index: int) -> None:
        """See `imageset.Images`."""
        self.inView.show(self._node(index))

    def tie(self, node: slicer.vtkMRMLNode, index: int) -> None:
        """See `imageset.Images`."""
        node.SetNodeReferenceID(OF_IMAGE, self._node(index).GetID())

    def tiedTo(self, node: slicer.vtkMRMLNode) -> int | None:
        """See `imageset.Images`."""
        return self._indexes.get(node.GetNodeReferenceID(OF_IMAGE) or "")

    def write(
        self, index: int, masks: Mapping[Segment, Bools], *, isHandDrawn: bool = False
    ) -> slicer.vtkMRMLSegmentationNode:
        """See `imageset.Images`."""
        segmentationNode = self._segmentations().get(index) or self._make(index)
        for segment, mask in masks.items():
            self._write(index, segmentationNode, segment, mask)
            if not isHandDrawn:
                self.masks.disown(index, segment.name)
        return segmentationNode

    def _make(self, index: int) -> slicer.vtkMRMLSegmentationNode:
        segmentationNode = makeSegmentation(self._node(index))
        self.tie(segmentationNode, index)
        segmentationNode.SetDisplayVisibility(index == self.shown)
        return segmentationNode

    def _write(
        self, index: int, segmentationNode: slicer.vtkMRMLSegmentationNode, segment: Segment, mask: Bools
    ) -> None:
        isNew = segmentCalled(segmentationNode, segment.name) is None
        _node, segmentId = ensureSegmentation(self._node(index), segmentationNode, segment.name)
        if isNew:
            segmentationNode.GetSegmentation().GetSegment(segmentId).SetColor(*segment.color)
        writer = SegmentWriter(segmentationNode, segmentId, self._node(index))
        writer.begin()
        writer.writeSlices({0: mask}, _ALONG)
        writer.end()

    def _segmentations(self) -> dict[int, slicer.vtkMRMLSegmentationNode]:
        """The segmentations that are in the scene, by image."""
        found = {self.tiedTo(node): node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
        return {index: node for index, node in found.items() if index is not None}

    def _places(self) -> dict[int, Place]:
        there = {index: (node, self.nodes[index]) for index, node in self._segmentations().items()}
        return {index: place for index, place in there.items() if place[1].GetScene() is not None}

    def _node(self, index: int) -> slicer.vtkMRMLScalarVolumeNode:
        node = self.nodes[index]
        if node.GetScene() is None:
            text = _("{name} was removed from the scene: choose the images again.")
            raise VolumeError(text.format(name=repr(node.GetName())))
        return node


def _isImage(node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    image = node.GetImageData()
    # What is not saved is something that a program draws, as `scene.overlay` does.
    isKept = node.GetSaveWithScene() and not node.GetHideFromEditors()
    isLabels = node.IsA("vtkMRMLLabelMapVolumeNode")
    return bool(isKept and not isLabels and image is not None and image.GetDimensions()[2] == 1)
