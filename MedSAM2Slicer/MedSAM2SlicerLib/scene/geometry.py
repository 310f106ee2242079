"""The only place that maps world positions (RAS mm) to voxels of a volume node and back.

Three frames. World: what views and markups use. Volume frame: RAS mm below the volume's parent transforms; runs are
stored in it, so that moving the volume does not change them. Voxels (i, j, k): of the volume's own grid, which is what
the model sees and masks are written on. A parent transform only moves the volume frame in the world; it may turn, flip,
scale and shear, since no voxel is resampled for it.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float, Geometry, Triple

_FLIP = np.array([-1.0, -1.0, 1.0])  # RAS to LPS and back
_SINGULAR = 1e-9  # smallest to largest singular value of a transform that still has an inverse worth using

_SAME = 1e-6  # mm, and cosines: what writing a matrix to a file and reading it back may change

_known: weakref.WeakKeyDictionary[slicer.vtkMRMLScalarVolumeNode, tuple[object, Geometry]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class ViewAxis:
    """The array axis (0, 1, 2 for k, j, i) whose slices lie closest to a slice view, and the angle between them."""

    axis: int
    obliqueDegrees: float


def volumeGeometry(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """Return the volume's grid in its own frame, without parent transforms.

    Raises VolumeError for a volume without voxels or with axes that are not at right angles.
    """
    image = volumeNode.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        text = _("{name} holds no voxels: load its image again or choose another volume.")
        raise VolumeError(text.format(name=repr(volumeNode.GetName())))
    i, j, k = image.GetDimensions()
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASDirectionMatrix(matrix)
    first, second, third = (_triple(row) for row in _FLIP[:, None] * _array(matrix)[:3, :3])
    try:
        return Geometry(
            shape_kji=(k, j, i),
            spacing_ijk=_triple(volumeNode.GetSpacing()),
            origin_lps=_triple(_FLIP * volumeNode.GetOrigin()),
            direction_lps=(first, second, third),
        )
    except VolumeError as error:
        text = _("{name} cannot be segmented. {reason}").format(name=repr(volumeNode.GetName()), reason=error)
        raise VolumeError(text) from error


def geometryOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """As `volumeGeometry`, which is asked again only when the image or the node has changed."""
    image = volumeNode.GetImageData()
    state = volumeNode.GetMTime(), image and image.GetMTime()
    known = _known.get(volumeNode)
    if known is None or known[0] != state:
        known = _known[volumeNode] = state, volumeGeometry(volumeNode)
    return known[1]


def placesOf(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> tuple[Geometry | None, bytes, bytes]:
    """Return something that is equal as long as a volume has its grid and neither of the two is moved in the world."""
    try:
        geometry = geometryOf(volumeNode)
    except VolumeError:
        geometry = None
    return geometry, placeInWorld(volumeNode), placeInWorld(segmentationNode)


def placeInWorld(volumeNode: slicer.vtkMRMLTransformableNode) -> bytes:
    """Return something that is equal as long as the parent transforms, of which a linear one is known to be the same.

    Their modified times do not tell: a transform that gets another parent may have the time of before.
    """
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode is not None and not transformNode.IsTransformToWorldLinear():
        return b""
    return _toWorld(transformNode).tobytes()


def volumeToWorld(volumeNode: slicer.vtkMRMLScalarVolumeNode, points: npt.ArrayLike) -> Float:
    """Map points (n, 3) of the volume frame (RAS mm) to the world. VolumeError for a transform that is not linear."""
    return mapped(volumeToWorldMatrix(volumeNode), points)


def ijkToWorld(volumeNode: slicer.vtkMRMLScalarVolumeNode, points: npt.ArrayLike) -> Float:
    """Map voxels (n, 3) as (i, j, k), fractions allowed, to the world. Raises VolumeError."""
    return volumeToWorld(volumeNode, geometryOf(volumeNode).ijk_to_ras(points))


def volumeToWorldMatrix(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Float:
    """Return the 4x4 matrix of all parent transforms together; the identity where there is none.

    Raises VolumeError for a transform that is not linear or that flattens the volume.
    """
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode is not None and not transformNode.IsTransformToWorldLinear():
        text = _("Harden the transform of {name} first (Transforms module); MedSAM-2 works on a regular grid.")
        raise VolumeError(text.format(name=repr(volumeNode.GetName())))
    matrix = _toWorld(transformNode)
    sizes = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if sizes[-1] <= _SINGULAR * sizes[0]:
        text = _("The transform of {name} flattens it and cannot be undone: correct or remove it (Transforms module).")
        raise VolumeError(text.format(name=repr(volumeNode.GetName())))
    return matrix


def viewAxis(volumeNode: slicer.vtkMRMLScalarVolumeNode, sliceNode: slicer.vtkMRMLSliceNode) -> ViewAxis:
    """Find the array axis whose slices lie closest to a slice view, as displayed in the world.

    Of axes that lie equally close the slowest wins, k before j before i: those are the acquired slices. VolumeError
    for a transform that is not linear.
    """
    directions = volumeToWorldMatrix(volumeNode)[:3, :3] @ geometryOf(volumeNode).affine_ijk_to_ras[:3, :3]
    normals = np.linalg.inv(directions)  # row n is at right angles to the plane of the two other columns
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    view = _array(sliceNode.GetSliceToRAS())[:3, 2]
    cosines = np.abs(normals @ (view / np.linalg.norm(view)))[::-1].round(
        6
    )  # as k, j, i; rounded so that ties are ties
    axis = int(np.argmax(cosines))
    return ViewAxis(axis, math.degrees(math.acos(min(1.0, float(cosines[axis])))))


def viewAxes(sliceNode: slicer.vtkMRMLSliceNode | None) -> Float:
    """Return right, up and normal of a slice view as columns (3x3) in the world; without a view the world's own."""
    return np.eye(3) if sliceNode is None else _array(sliceNode.GetSliceToRAS())[:3, :3]


def boxMask(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, boxToWorld: npt.ArrayLike, size: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Mark the voxels (k, j, i) whose centers lie in a box or on its faces. Raises VolumeError.

    The box has edges of `size` (3,) about the origin of its own frame, which `boxToWorld` (4x4) puts into the world.
    """
    geometry = geometryOf(volumeNode)
    slices, rows, columns = geometry.shape_kji
    toBox = (
        np.linalg.inv(np.asarray(boxToWorld, dtype=np.float64))
        @ volumeToWorldMatrix(volumeNode)
        @ geometry.affine_ijk_to_ras
    )
    k, j = np.ogrid[:slices, :rows]
    # A box holds one stretch of each row, so its ends are enough: 0.8 s for a large CT, voxel by voxel 3 s.
    start, end = np.full((slices, rows), -np.inf), np.full((slices, rows), np.inf)
    for (perI, perJ, perK, offset), edge in zip(toBox[:3], np.asarray(size, dtype=np.float64), strict=True):
        middle, half = -(perJ * j + perK * k + offset), edge / 2 + _SAME
        with np.errstate(divide="ignore"):  # rows along a face have no ends: all of such a row is in, or nothing
            ends = (middle - half) / perI, (middle + half) / perI
        start, end = np.maximum(start, np.minimum(*ends)), np.minimum(end, np.maximum(*ends))
    i = np.arange(columns)
    return (i >= start[..., None]) & (i <= end[..., None])


def sameFrame(node: slicer.vtkMRMLTransformableNode, other: slicer.vtkMRMLTransformableNode) -> bool:
    """Whether two nodes are moved in the world by the same transform, whatever the nodes that hold it."""
    first, second = node.GetParentTransformNode(), other.GetParentTransformNode()
    if first is second:
        return True
    if not all(one is None or one.IsTransformToWorldLinear() for one in (first, second)):
        return False
    return bool(np.allclose(_toWorld(first), _toWorld(second), rtol=0, atol=_SAME))


def mapped(matrix: npt.NDArray[np.floating], points: npt.ArrayLike) -> Float:
    """Return points (n, 3) as a matrix (4x4) maps them."""
    array = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    mapped: Float = array @ matrix[:3, :3].T + matrix[:3, 3]
    return mapped


def _toWorld(transformNode: slicer.vtkMRMLTransformNode | None) -> Float:
    """The matrix (4x4) of a linear transform and all above it."""
    matrix = vtk.vtkMatrix4x4()
    if transformNode is not None:
        transformNode.GetMatrixTransformToWorld(matrix)
    return _array(matrix)


def _array(matrix: vtk.vtkMatrix4x4) -> Float:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _triple(values: npt.ArrayLike) -> Triple:
    first, second, third = (float(value) + 0.0 for value in np.asarray(values))  # + 0.0 makes -0.0 an ordinary zero
    return first, second, third
