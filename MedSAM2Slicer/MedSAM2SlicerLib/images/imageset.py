"""The images of a set, wherever in the scene they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.worker.image_sets import SetImage
from MedSAM2SlicerLib.images.imagemasks import ImageMasks
from MedSAM2SlicerLib.images.inview import InView
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

OF_IMAGE = "MedSAM2.Image"  # what refers from a markup or a segmentation to the image it belongs to


class Images(Protocol):
    """Images by their index. Raises VolumeError, which says what to do, for one that cannot be used."""

    inView: InView
    masks: ImageMasks

    @property
    def names(self) -> Sequence[str]:
        """What each is called."""

    @property
    def shown(self) -> int | None:
        """The one that the slice views show, None if they show something else."""

    def shownIn(self, view: slicer.vtkMRMLSliceNode) -> int | None:
        """Return the one that a slice view shows, None if it shows something else."""

    @property
    def first(self) -> int:
        """The one to begin with where none is shown."""

    @property
    def isOutdated(self) -> bool:
        """Whether there are others by now where they come from."""

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


class SeenImages:
    """Volumes of one slice as the model sees them, made again only when they change."""

    def __init__(self) -> None:
        self._volumes: dict[int, VolumeInUse] = {}
        self._seen: dict[int, tuple[str, SetImage]] = {}

    def of(self, index: int, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> SetImage:
        """See `Images.seen`. VolumeError if the volume has several slices."""
        if index not in self._volumes or self._volumes[index].node is not volumeNode:
            self._volumes[index] = VolumeInUse(volumeNode)
        prepared = self._volumes[index].prepared("auto", SliceStack())
        slices = prepared.geometry.shape_kji[0]
        if slices != 1:
            text = _("{name} has {count} slices: choose images of one slice, or segment it in the tab Volume.")
            raise VolumeError(text.format(name=repr(volumeNode.GetName()), count=slices))
        if self._seen.get(index, ("",))[0] != prepared.key:
            x, y, _z = prepared.geometry.spacing_ijk
            self._seen[index] = prepared.key, SetImage(prepared.gray[0], (y, x))
        return self._seen[index][1]


def showOnlyOf(volumeId: str) -> None:
    """Let the segmentation of one image be seen, and those of no other."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        image = node.GetNodeReferenceID(OF_IMAGE)
        if image:
            node.SetDisplayVisibility(image == volumeId)
