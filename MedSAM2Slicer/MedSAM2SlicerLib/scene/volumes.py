"""A volume node as the model sees it: checked, windowed to 8 bits, and with a key that changes when it does.

The user's voxels are read and never changed.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.window import AS_GIVEN, Window
from MedSAM2SlicerLib.scene.geometry import geometryOf
from MedSAM2SlicerLib.scene.growing import GrowingArray, VoxelHash

_COLOR_COMPONENTS = (3, 4)  # red, green, blue, and how opaque, which is left out
# What a display node starts with. With automatic windowing off it means that nobody has chosen anything yet.
_UNTOUCHED = (256.0, 128.0)


@dataclass(frozen=True)
class PreparedVolume:
    """A volume ready for the worker; another one with the same key is equal to it.

    growing: what `gray` is made of, on its way to the worker. geometry: of the volume's own grid, without parent
    transforms. key: equal as long as voxels, grid and window are, so that the worker keeps its embeddings.
    """

    growing: GrowingArray = field(compare=False)
    geometry: Geometry = field(compare=False)
    window: Window = field(compare=False)
    key: str

    @property
    def isColor(self) -> bool:
        """Whether it has red, green and blue."""
        return self.growing.nbytes > math.prod(self.geometry.shape_kji)

    @property
    def gray(self) -> npt.NDArray[np.uint8]:
        """The voxels: uint8 (k, j, i) in their window, (k, j, i, 3) in color; C-contiguous, their own copy.

        Up to 1 s if it is not made yet.
        """
        return self.growing.whole()


def prepareVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, window: Window | str = "auto") -> PreparedVolume:
    """Window a volume when it is needed; `window` as in `windowOf`. VolumeError says why one cannot be segmented."""
    geometry = checkedGeometry(volumeNode)
    chosen, voxels = windowOf(volumeNode, window), voxelsOf(volumeNode)
    gray = np.empty(voxels.shape, dtype=np.uint8)
    growing = GrowingArray(gray, chosen.fill_uint8(voxels, gray))
    return PreparedVolume(growing, geometry, chosen, _key(volumeNode, geometry, chosen))


def usableVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLScalarVolumeNode:
    """Return a volume that can be segmented; VolumeError says why another one cannot."""
    return checkedVolume(volumeNode)[0]


def checkedGeometry(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> Geometry:
    """Return the grid of a volume that can be segmented; VolumeError says why another one cannot."""
    return checkedVolume(volumeNode)[1]


def checkedVolume(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
) -> tuple[slicer.vtkMRMLScalarVolumeNode, Geometry]:
    """Return a volume that can be segmented, and its grid; VolumeError says why another one cannot."""
    if volumeNode is None:
        raise VolumeError(_("No volume is selected: load an image (File menu, Add Data) and choose it as Volume."))
    name = repr(volumeNode.GetName())
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        text = _("{name} is not a scalar volume: choose a CT, MR or other grayscale volume, or an image in color.")
        raise VolumeError(text.format(name=name))
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        text = _("{name} is a label map, not an image: choose the volume it was drawn on.")
        raise VolumeError(text.format(name=name))
    geometry = geometryOf(volumeNode)
    if volumeNode.GetImageData().GetPointData().GetScalars() is None:  # of tensors, for example
        text = _("{name} holds no gray values: choose a CT, MR or other grayscale volume, or an image in color.")
        raise VolumeError(text.format(name=name))
    components = volumeNode.GetImageData().GetNumberOfScalarComponents()
    if isColor(volumeNode):
        if volumeNode.GetImageData().GetScalarType() != vtk.VTK_UNSIGNED_CHAR:
            text = _("{name} has colors of more than 8 bits: convert it with the module Vector to Scalar Volume first.")
            raise VolumeError(text.format(name=name))
    elif components != 1:
        text = _("{name} holds {count} values per voxel (a 4D volume): extract one of its frames first.")
        raise VolumeError(text.format(name=name, count=components))
    return volumeNode, geometry


def isColor(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a volume with voxels holds colors, such as a photograph or an ultrasound cine."""
    return volumeNode.GetImageData().GetNumberOfScalarComponents() in _COLOR_COMPONENTS


def voxelsOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> npt.NDArray[Any]:
    """Return the voxels of a usable volume: (k, j, i), or red, green and blue (k, j, i, 3)."""
    voxels: npt.NDArray[Any] = slicer.util.arrayFromVolume(volumeNode)
    return voxels[..., :3] if isColor(volumeNode) else voxels


def windowOf(volumeNode: slicer.vtkMRMLScalarVolumeNode, window: Window | str = "auto") -> Window:
    """Find the intensity window to use.

    "auto": the one the volume is displayed with if the user (or the scanner's header) has set one, else the CT preset
    or percentiles that fit the voxels. Otherwise as in `Window.parse`: a preset's name or "level/width". Colors are
    seen as they are, whatever is chosen. Raises VolumeError.
    """
    if isColor(volumeNode):
        return AS_GIVEN
    if isinstance(window, Window):
        return window
    if window.strip().lower() == "auto":
        displayed = _displayWindow(volumeNode)
        if displayed is not None:
            return displayed
    return Window.parse(window, slicer.util.arrayFromVolume(volumeNode))


def _key(volumeNode: slicer.vtkMRMLScalarVolumeNode, geometry: Geometry, window: Window) -> str:
    """A key for the voxels, grid and window of a volume, within this session.

    Cheap: voxels count by their modification time, which VTK never gives twice, so a node of the next scene that takes
    over the ID gets another key.
    """
    changed = volumeNode.GetImageData().GetMTime()
    grid = repr((geometry, window.lower, window.upper))
    return f"{volumeNode.GetID()}:{changed}:{hashlib.sha256(grid.encode()).hexdigest()[:16]}"


def voxelHash(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """SHA-256 of the voxels and their type, in hexadecimal: the same volume in any scene. About 1 s per GB."""
    return VoxelHash(slicer.util.arrayFromVolume(volumeNode)).result()


def _displayWindow(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Window | None:
    display = volumeNode.GetScalarVolumeDisplayNode()
    if display is None or display.GetAutoWindowLevel():
        return None
    width, level = display.GetWindow(), display.GetLevel()
    if width <= 0 or (width, level) == _UNTOUCHED:
        return None
    return replace(Window.level_width(level, width), name="display")
