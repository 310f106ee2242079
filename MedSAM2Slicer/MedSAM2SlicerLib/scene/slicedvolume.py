"""A volume on the slices that are worked on: one value for what prompts, masks and the model's view have to know."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import slicer

from medsam2_core.image.geometry import Float, Geometry
from medsam2_core.image.oblique import ObliqueSlices
from medsam2_core.image.slicing import SliceStack, Slicing
from MedSAM2SlicerLib.scene.geometry import geometryOf, mapped, volumeToWorldMatrix
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.volumes import usableVolume


@dataclass(frozen=True, eq=False)
class SlicedVolume:
    """A volume node that can be segmented, as it is now, and the slices of a `stack`.

    `geometry` is that of the volume's own grid, without parent transforms.
    """

    node: slicer.vtkMRMLScalarVolumeNode
    stack: SliceStack
    geometry: Geometry

    @cached_property
    def oblique(self) -> ObliqueSlices | None:
        """The slices, if they are none of the volume's own."""
        return self.stack.oblique(self.geometry)

    @cached_property
    def slicing(self) -> Slicing:
        """The slices, and where their pixels lie."""
        return Slicing(self.geometry if self.oblique is None else self.oblique.geometry, self.stack.axis)

    @cached_property
    def toWorld(self) -> Float:
        """The matrix (4x4) of all parent transforms. VolumeError for one that is not linear, or flattens the volume."""
        return volumeToWorldMatrix(self.node)

    @cached_property
    def fromWorld(self) -> Float:
        """The inverse of `toWorld`."""
        return np.linalg.inv(self.toWorld).astype(np.float64)

    def toVolume(self, world: npt.ArrayLike) -> Float:
        """Map world points (n, 3) to the volume frame (RAS mm). Raises VolumeError, see `toWorld`."""
        return mapped(self.fromWorld, world)

    def centerRas(self, sliceIndex: int) -> tuple[float, float, float]:
        """Return the world position of a slice's middle. Raises VolumeError, see `toWorld`."""
        rows, columns = self.slicing.shape
        middle = self.slicing.join(sliceIndex, ((columns - 1) / 2, (rows - 1) / 2))
        r, a, s = mapped(self.toWorld, self.slicing.geometry.ijk_to_ras([middle]))[0]
        return float(r), float(a), float(s)

    def region(self, marked: Bools) -> Bools:
        """Return a region of the volume (k, j, i) on the grid of the slices. 1 s for oblique ones of a chest CT."""
        return marked if self.oblique is None else self.oblique.read_all(marked)


def slicedVolume(node: slicer.vtkMRMLScalarVolumeNode | None, stack: SliceStack | None = None) -> SlicedVolume:
    """Return a volume on slices of a stack, as acquired if none is given; VolumeError says why it cannot be used."""
    usable = usableVolume(node)
    return SlicedVolume(usable, stack or SliceStack(), geometryOf(usable))
