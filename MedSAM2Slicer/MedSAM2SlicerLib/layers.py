"""Boxes of a segmentation's label layers as numpy arrays: read, grown and written without copies of the whole.

Several segments can share a layer (an image in which each has its own label value). A box is three slices of the
volume's array (k, j, i); a layer covers only part of the volume, its extent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
import vtk.util.numpy_support

BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()

Box = tuple[slice, slice, slice]
Labels = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]

# Voxels that a layer grows by beyond what is needed: a mask that creeps outwards slice by slice copies it less often.
_MARGIN = 16


def layerOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> slicer.vtkOrientedImageData | None:
    """Return the label layer of a segment; None for a segment that is not a binary labelmap."""
    return segmentationNode.GetSegmentation().GetSegment(segmentId).GetRepresentation(BINARY_LABELMAP)


def labelOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> int:
    """Return the value of a segment's voxels in its layer."""
    return int(segmentationNode.GetSegmentation().GetSegment(segmentId).GetLabelValue())


def sharing(segmentationNode: slicer.vtkMRMLSegmentationNode, layer: slicer.vtkOrientedImageData) -> list[str]:
    """List the IDs of the segments in a layer."""
    ids = segmentationNode.GetSegmentation().GetSegmentIDs()
    return [segmentId for segmentId in ids if layerOf(segmentationNode, segmentId) is layer]


def boxOf(image: vtk.vtkImageData) -> Box:
    """Return the box that an image covers; slices of no length for an empty one."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    return slice(k0, k1 + 1), slice(j0, j1 + 1), slice(i0, i1 + 1)


def extentOf(box: Box) -> tuple[int, int, int, int, int, int]:
    """Write a box as VTK does: first and last voxel along i, j, k."""
    k, j, i = box
    return i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1


def isEmpty(box: Box) -> bool:
    """Whether a box holds no voxel."""
    return any(side.start >= side.stop for side in box)


def voxels(image: vtk.vtkImageData) -> npt.NDArray[Any]:
    """View an image's voxels as (k, j, i), first voxel of its extent first."""
    scalars = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return scalars.reshape([side.stop - side.start for side in boxOf(image)])


def labelsIn(layer: slicer.vtkOrientedImageData, box: Box) -> Labels:
    """Copy the labels in a box; 0 where the layer does not reach."""
    covered, shape = boxOf(layer), [side.stop - side.start for side in box]
    common = _common(covered, box)
    if isEmpty(common):
        return np.zeros(shape, dtype=np.uint8)
    values = voxels(layer)
    found = np.zeros(shape, dtype=values.dtype)
    found[_within(box, common)] = values[_within(covered, common)]
    return found


def writeLabels(layer: slicer.vtkOrientedImageData, box: Box, where: Bools, label: int) -> None:
    """Set the voxels of a box (inside the layer) that `where` marks to `label`, with no event of the layer's.

    The layer's own ModifiedEvent would drop all closed surfaces of the segmentation; the caller tells who must know.
    """
    voxels(layer)[_within(boxOf(layer), box)][where] = label
    layer.GetPointData().GetScalars().Modified()


def clip(layer: slicer.vtkOrientedImageData, box: Box) -> Box:
    """Return the part of a box that a layer covers."""
    return _common(boxOf(layer), box)


def cut(where: Bools, box: Box, part: Box) -> Bools:
    """Return what `where`, which covers `box`, holds in a part of that box."""
    return where[_within(box, part)]


def grown(
    layer: slicer.vtkOrientedImageData, box: Box, grid: tuple[int, int, int], ijkToRas: vtk.vtkMatrix4x4
) -> slicer.vtkOrientedImageData:
    """Return `layer` if it covers `box`, else a larger copy that does, within the volume's `grid` (k, j, i)."""
    covered = boxOf(layer)
    empty = isEmpty(covered)
    if not empty and _common(covered, box) == box:
        return layer
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(ijkToRas)
    image.SetExtent(*extentOf(box if empty else _union(covered, box, grid)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR if empty else layer.GetScalarType(), 1)
    voxels(image).fill(0)
    if not empty:
        voxels(image)[_within(boxOf(image), covered)] = voxels(layer)
    return image


def bounds(where: Bools) -> Box:
    """Return the smallest box around the marked voxels of an array (k, j, i) that marks at least one."""
    sides = []
    for axis in range(3):
        marked = np.flatnonzero(where.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(int(marked[0]), int(marked[-1]) + 1))
    return sides[0], sides[1], sides[2]


def shifted(box: Box, origin: Box) -> Box:
    """Return a box that counts from the start of `origin` in the volume's voxels."""
    k, j, i = (slice(side.start + by.start, side.stop + by.start) for side, by in zip(box, origin, strict=True))
    return k, j, i


def _common(first: Box, second: Box) -> Box:
    k, j, i = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return k, j, i


def _union(covered: Box, box: Box, grid: tuple[int, int, int]) -> Box:
    """A box around both, with a margin where the covered one does not reach, as far as the grid goes."""
    k, j, i = (_stretched(a, b, size) for a, b, size in zip(covered, box, grid, strict=True))
    return k, j, i


def _stretched(covered: slice, needed: slice, size: int) -> slice:
    start, stop = covered.start, covered.stop
    if needed.start < start:
        start = min(start, max(0, needed.start - _MARGIN))
    if needed.stop > stop:
        stop = max(stop, min(size, needed.stop + _MARGIN))
    return slice(start, stop)


def _within(outer: Box, inner: Box) -> Box:
    """The inner box counted from the start of the outer one."""
    k, j, i = (slice(b.start - a.start, b.stop - a.start) for a, b in zip(outer, inner, strict=True))
    return k, j, i
