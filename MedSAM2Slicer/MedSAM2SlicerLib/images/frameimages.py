"""Images that are the frames of a sequence, with segmentations that step with them."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
from slicer.i18n import tr as _

from medsam2_core.image.segments import Color, Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.worker.image_sets import SetImage
from MedSAM2SlicerLib.images.imageset import OF_IMAGE, SeenImages, colorsIn
from MedSAM2SlicerLib.images.inview import InView
from MedSAM2SlicerLib.scene.frames import SegmentationFrames, volumeSequence
from MedSAM2SlicerLib.scene.geometry import geometryOf
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume

_FRAME = "MedSAM2.Frame"  # on a node that belongs to a frame: the value of its index in the sequence


class FrameImages:
    """See `imageset.Images`. Raises VolumeError for a browser without images."""

    def __init__(self, browserNode: slicer.vtkMRMLSequenceBrowserNode, inView: InView | None = None) -> None:
        self.inView = inView or InView()
        self._browserNode, self._sequence = browserNode, volumeSequence(browserNode)
        frames = range(self._sequence.GetNumberOfDataNodes())
        self._values = [self._sequence.GetNthIndexValue(frame) for frame in frames]
        self.names = [_("frame {index}").format(index=frame) for frame in frames]
        self._seen = SeenImages([self._sequence.GetNthDataNode(frame) for frame in frames])
        self._masks = SegmentationFrames(browserNode, self._sequence)

    @property
    def shown(self) -> int | None:
        """See `imageset.Images`."""
        proxy = self._browserNode.GetProxyNode(self._sequence)
        isInView = proxy is not None and proxy.GetID() == self.inView.volumeId
        return self._selected if isInView else None

    @property
    def first(self) -> int:
        """See `imageset.Images`."""
        return self._selected or 0

    def key(self, index: int) -> str:
        """See `imageset.Images`."""
        return f"{self._sequence.GetID()}/{self._values[index]}"

    def seen(self, index: int) -> SetImage:
        """See `imageset.Images`."""
        return self._seen[index]

    def sliced(self, index: int) -> SlicedVolume:
        """See `imageset.Images`."""
        geometry = geometryOf(self._sequence.GetNthDataNode(index))
        return SlicedVolume(self._browserNode.GetProxyNode(self._sequence), SliceStack(), geometry)

    def show(self, index: int) -> None:
        """See `imageset.Images`."""
        self._browserNode.SetSelectedItemNumber(index)
        self.inView.show(self._browserNode.GetProxyNode(self._sequence))

    def tie(self, node: slicer.vtkMRMLNode, index: int) -> None:
        """See `imageset.Images`."""
        node.SetNodeReferenceID(OF_IMAGE, self._sequence.GetID())
        node.SetAttribute(_FRAME, self._values[index])

    def tiedTo(self, node: slicer.vtkMRMLNode) -> int | None:
        """See `imageset.Images`."""
        value = node.GetAttribute(_FRAME)
        isOurs = node.GetNodeReferenceID(OF_IMAGE) == self._sequence.GetID() and value in self._values
        return self._values.index(value) if isOurs else None

    def write(
        self, index: int, masks: Mapping[Segment, Bools], *, isHandDrawn: bool = False
    ) -> slicer.vtkMRMLSegmentationNode:
        """See `imageset.Images`."""
        return self._masks.write(index, {segment: mask[None] for segment, mask in masks.items()})

    def colors(self) -> dict[str, Color]:
        """See `imageset.Images`."""
        return colorsIn([self._masks.node] if self._masks.node else [])

    def handDrawn(self) -> dict[tuple[int, str], bool]:
        """See `imageset.Images`. None are: what a person draws is gone as soon as the browser shows another frame."""
        return {}

    def mask(self, index: int, name: str) -> Bools:
        """See `imageset.Images`."""
        raise NotImplementedError

    def disown(self, index: int, name: str) -> None:
        """See `imageset.Images`."""

    @property
    def _selected(self) -> int | None:
        """The browser's current frame."""
        selected = int(self._browserNode.GetSelectedItemNumber())
        return selected if 0 <= selected < len(self._values) else None
