"""The images of a set, wherever in the scene they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Color, Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.worker.image_sets import SetImage
from MedSAM2SlicerLib.images.inview import InView
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

OF_IMAGE = "MedSAM2.Image"  # what refers from a markup or a segmentation to the image it belongs to


class Images(Protocol):
    """Images by their index. Raises VolumeError, which says what to do, for one that cannot be used."""

    inView: InView

    @property
    def names(self) -> Sequence[str]:
        """What each is called."""

    @property
    def shown(self) -> int | None:
        """The one that the slice views show, None if they show something else."""

    @property
    def first(self) -> int:
        """The one to begin with where none is shown."""

    def key(self, index: int) -> str:
        """Return what stands for an image in any list of images."""

    def seen(self, index: int) -> SetImage:
        """Return an image as the model sees it; the same object as long as the image is the same."""

    def sliced(self, index: int) -> SlicedVolume:
        """Return where an image lies, as a volume of one slice."""

    def show(self, index: int) -> None:
        """Bring an image into the slice views."""

    def tie(self, node: slicer.vtkMRMLNode, index: int) -> None:
        """Note on a node of the scene that it belongs to an image."""

    def tiedTo(self, node: slicer.vtkMRMLNode) -> int | None:
        """Return the image that a node belongs to."""

    def write(
        self, index: int, masks: Mapping[Segment, Bools], *, isHandDrawn: bool = False
    ) -> slicer.vtkMRMLSegmentationNode:
        """Replace segments of an image by masks (rows, columns); returns the segmentation they are in.

        What `isHandDrawn` goes on to be a person's.
        """

    def colors(self) -> Mapping[str, Color]:
        """Return the colors of the segments that there are, by name."""

    def handDrawn(self) -> Mapping[tuple[int, str], bool]:
        """Return the images and names of segments that a person drew; True for one that was written before."""

    def mask(self, index: int, name: str) -> Bools:
        """Return the mask (rows, columns) of a segment."""

    def disown(self, index: int, name: str) -> None:
        """Have a segment be no person's any more."""


class SeenImages:
    """Volumes of one slice as the model sees them, made again only when they change."""

    def __init__(self, volumeNodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        self._volumes = [VolumeInUse(node) for node in volumeNodes]
        self._seen: dict[int, tuple[str, SetImage]] = {}

    def __getitem__(self, index: int) -> SetImage:
        """See `Images.seen`. VolumeError if the volume has several slices."""
        prepared = self._volumes[index].prepared("auto", SliceStack())
        slices = prepared.geometry.shape_kji[0]
        if slices != 1:
            text = _("{name} has {count} slices: choose images of one slice, or segment it in the tab Volume.")
            raise VolumeError(text.format(name=repr(self._volumes[index].usable.GetName()), count=slices))
        if self._seen.get(index, ("",))[0] != prepared.key:
            x, y, _z = prepared.geometry.spacing_ijk
            self._seen[index] = prepared.key, SetImage(prepared.grey[0], (y, x))
        return self._seen[index][1]


def showOnlyOf(volumeId: str) -> None:
    """Let the segmentation of one image be seen, and those of no other."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        image = node.GetNodeReferenceID(OF_IMAGE)
        if image:
            node.SetDisplayVisibility(image == volumeId)


def colorsIn(segmentationNodes: Iterable[slicer.vtkMRMLSegmentationNode]) -> dict[str, Color]:
    """Return the colors of all segments by name."""
    segmentations = [node.GetSegmentation() for node in segmentationNodes]
    segments = [one.GetSegment(segmentId) for one in segmentations for segmentId in one.GetSegmentIDs()]
    return {segment.GetName(): segment.GetColor() for segment in segments}
