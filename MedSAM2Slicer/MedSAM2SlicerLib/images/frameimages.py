"""Images that are the frames of a sequence, with segmentations that step with them."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
from slicer.i18n import tr as _

from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.worker.image_sets import SetImage
from MedSAM2SlicerLib.images.imagemasks import ImageMasks
from MedSAM2SlicerLib.images.imageset import OF_IMAGE, SeenImages
from MedSAM2SlicerLib.images.inview import InView, volumeIn
from MedSAM2SlicerLib.scene.frames import SegmentationFrames, indexValues, volumeSequence
from MedSAM2SlicerLib.scene.geometry import geometryOf
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume

_FRAME = "MedSAM2.Frame"  # on a node that belongs to a frame: the value of its index in the sequence


class FrameImages:
    """See `imageset.Images`. Raises VolumeError for a browser without images."""

    def __init__(self, browserNode: slicer.vtkMRMLSequenceBrowserNode, inView: InView | None = None) -> None:
        self.inView = inView or InView()
        self._written = SegmentationFrames(browserNode, volumeSequence(browserNode))
        self._frames = self._written.frames
        self.masks = ImageMasks(self._written.places)
        self.names = [_("frame {index}").format(index=frame) for frame in range(len(self._frames.values))]
        self._seen = SeenImages()

    @property
    def shown(self) -> int | None:
        """See `imageset.Images`."""
        return self._frameAs(self.inView.volumeId)

    def shownIn(self, view: slicer.vtkMRMLSliceNode) -> int | None:
        """See `imageset.Images`."""
        return self._frameAs(volumeIn(view))

    @property
    def first(self) -> int:
        """See `imageset.Images`."""
        return self._frames.shown or 0

    @property
    def isOutdated(self) -> bool:
        """See `imageset.Images`."""
        return indexValues(self._frames.sequence) != self._frames.values

    def key(self, index: int) -> str:
        """See `imageset.Images`."""
        return f"{self._frames.sequence.GetID()}/{self._frames.values[index]}"

    def seen(self, index: int) -> SetImage:
        """See `imageset.Images`."""
        return self._seen.of(index, self._frames.node(index))

    def sliced(self, index: int) -> SlicedVolume:
        """See `imageset.Images`."""
        return SlicedVolume(self._frames.volumeNode, SliceStack(), geometryOf(self._frames.node(index)))

    def show(self, index: int) -> None:
        """See `imageset.Images`."""
        volumeNode = self._frames.volumeNode
        self._frames.show(index)
        self.inView.show(volumeNode)

    def tie(self, node: slicer.vtkMRMLNode, index: int) -> None:
        """See `imageset.Images`."""
        node.SetNodeReferenceID(OF_IMAGE, self._frames.sequence.GetID())
        node.SetAttribute(_FRAME, self._frames.values[index])

    def tiedTo(self, node: slicer.vtkMRMLNode) -> int | None:
        """See `imageset.Images`."""
        value = node.GetAttribute(_FRAME)
        isOurs = node.GetNodeReferenceID(OF_IMAGE) == self._frames.sequence.GetID()
        return self._frames.values.index(value) if isOurs and value in self._frames.values else None

    def write(
        self, index: int, masks: Mapping[Segment, Bools], *, isHandDrawn: bool = False
    ) -> slicer.vtkMRMLSegmentationNode:
        """See `imageset.Images`."""
        cut = {segment: mask[None] for segment, mask in masks.items()}
        return self._written.write(index, cut, isHandDrawn=isHandDrawn)

    def _frameAs(self, volumeId: str) -> int | None:
        """The frame that a volume of the scene shows."""
        proxy = self._frames.browserNode.GetProxyNode(self._frames.sequence)
        return self._frames.shown if proxy is not None and proxy.GetID() == volumeId else None
