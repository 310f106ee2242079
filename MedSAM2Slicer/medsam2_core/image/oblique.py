"""Parallel slices across a volume at any angle: what they show of it, and which of its voxels each one stands for.

A voxel belongs to the slice whose plane lies nearest to its center. So the slices share the volume out: what is drawn
on one of them changes its own voxels only, and drawing on all of them reaches every voxel once.
"""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Block, Mask, block_of
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float, Geometry, Triple

Gray = npt.NDArray[np.uint8]
Labels = npt.NDArray[Any]
Places = npt.NDArray[np.intp]
Voxels = tuple[Places, Places, Places]
Pixels = tuple[Places, Places]

_LARGEST = 512  # pixels along the longer side of a slice, as a CT has
_DECIMALS = 6  # of a slice or pixel: what is a whole number but for noise counts as one
_ROWS = 32  # of a slice at a time: arrays that stay in the processor's cache
_SINGULAR = 1e-9  # sine of the angle between directions that still span a plane
_SAME = 1e-4  # of unit vectors: 0.03 mm at the end of 300 mm


class ObliqueSlices:
    """Slices parallel to a plane, one of them in it, that together hold all of a volume.

    stored: the volume's own grid. plane: 4x4 as a slice view has it, in RAS mm of the volume's frame: columns are the
    directions of x, y and the normal, of any length, and a point of the plane. These two alone say what the slices
    are, so a run that kept them can be repeated. Raises VolumeError for directions that span no plane.

    `geometry` is the slices' grid; its axis 0 counts them. Pixels are squares as fine as the volume's finest spacing,
    as far as `_LARGEST` allows. Slices are as far apart as the stored ones seen at this angle: the root of the sum of
    (spacing * cosine)^2, which in a plane of stored slices is their very spacing. Then each column of voxels that a
    slice crosses at its steepest holds one or two of its voxels.
    """

    def __init__(self, stored: Geometry, plane: npt.ArrayLike) -> None:
        self.stored, self.plane = stored, np.array(plane, dtype=np.float64)
        self.geometry = _grid(stored, _axes(self.plane), self.plane[:3, 3])
        self._to_stored = np.linalg.inv(stored.affine_ijk_to_ras) @ self.geometry.affine_ijk_to_ras
        self._from_stored = np.linalg.inv(self._to_stored)
        self._steep = int(np.abs(self._from_stored[2, 2::-1]).argmax())  # the stored axis, k j i, steepest to slices

    def is_parallel(self, plane: npt.ArrayLike) -> bool:
        """Whether another plane has the same directions: moved along or within itself, it has the same slices."""
        return bool(np.abs(_axes(np.asarray(plane, dtype=np.float64)) - _axes(self.plane)).max() <= _SAME)

    def resample(self, gray: Gray) -> Gray:
        """Show a stored volume (k, j, i) on the slices: linear between voxels, 0 outside, (slices, rows, columns)."""
        shown = np.zeros(self.geometry.shape_kji, dtype=np.uint8)
        with ThreadPoolExecutor() as pool:  # numpy lets go of the interpreter, so slices share the processor
            for _ in pool.map(lambda index: self.show(index, gray, shown[index]), range(len(shown))):
                pass
        return shown

    def indexes(self, voxels: Voxels) -> Places:
        """Return the slice that each voxel, given as k, j, i, belongs to."""
        k, j, i = voxels
        to_i, to_j, to_k, offset = self._from_stored[2]
        indexes: Places = np.floor(((k * to_k + j * to_j) + i * to_i) + (offset + 0.5)).astype(np.intp)
        return indexes

    def voxels(self, index: int, box: Block) -> Voxels:
        """Return the voxels k, j, i within a box of the volume that belong to a slice."""
        across = [axis for axis in range(3) if axis != self._steep]
        first, second = (np.arange(box[axis].start, box[axis].stop) for axis in across)
        columns = list(np.meshgrid(first, second, indexing="ij"))
        nearest, next_one = self._crossing(index, across, columns)
        candidates = np.stack([nearest, next_one])
        voxels = _ordered(self._steep, candidates, across, [np.broadcast_to(one, candidates.shape) for one in columns])
        side = box[self._steep]
        own = (self.indexes(voxels) == index) & (candidates >= side.start) & (candidates < side.stop)
        k, j, i = (one[own] for one in voxels)
        return k, j, i

    def pixels(self, voxels: Voxels) -> Pixels:
        """Return row and column of the pixel nearest to each voxel."""
        k, j, i = voxels
        to_xy = self._from_stored[:2]
        x, y = (row[0] * i + row[1] * j + row[2] * k + row[3] for row in to_xy)
        _, rows, columns = self.geometry.shape_kji
        return _nearest(y, rows), _nearest(x, columns)

    def box(self, index: int, mask: Mask) -> Block | None:
        """Return a box of the volume that holds all voxels which a slice's mask marks; None if it marks none."""
        rows, columns = block_of(mask)
        if not rows.stop:
            return None
        edges = ((side.start - 0.5, side.stop - 0.5) for side in (columns, rows, slice(index, index + 1)))
        corners = itertools.product(*edges)
        low, high = _bounds(_mapped(self._to_stored, np.array(list(corners))))
        sides = zip(low[::-1], high[::-1], self.stored.shape_kji, strict=True)
        k, j, i = (slice(max(0, math.floor(a)), min(size, math.ceil(b) + 1)) for a, b, size in sides)
        return None if any(side.start >= side.stop for side in (k, j, i)) else (k, j, i)

    def read(self, index: int, marked: Mask, start: tuple[int, int, int] = (0, 0, 0)) -> Mask:
        """Read the mask (rows, columns) that marked voxels make on a slice, from its own voxels alone.

        `marked` is a block (k, j, i) of the volume whose first voxel is `start`; beyond it nothing is marked. A pixel
        takes the voxel through which the volume's column there crosses the slice.
        """
        _, rows, columns = self.geometry.shape_kji
        x, y = np.arange(columns), np.arange(rows)[:, None]
        i, j, k = (row[0] * x + row[1] * y + (row[2] * index + row[3]) for row in self._to_stored[:3])
        across = [axis for axis in range(3) if axis != self._steep]
        column = [np.floor((k, j, i)[axis] + 0.5).astype(np.intp) for axis in across]
        voxels = _ordered(self._steep, self._crossing(index, across, column)[0], across, column)
        within = [one - first for one, first in zip(voxels, start, strict=True)]
        inside = np.logical_and.reduce([(one >= 0) & (one < n) for one, n in zip(within, marked.shape, strict=True)])
        mask = np.zeros((rows, columns), dtype=np.bool_)
        mask[inside] = marked[tuple(one[inside] for one in within)]
        return mask

    def read_all(self, marked: Mask) -> Mask:
        """Read the masks (slices, rows, columns) that marked voxels of the whole volume (k, j, i) make."""
        masks = np.zeros(self.geometry.shape_kji, dtype=np.bool_)
        for index in np.unique(self.indexes(_nonzero(marked))):
            masks[index] = self.read(int(index), marked)
        return masks

    def stored_labels(self, labels: Labels) -> Labels:
        """Map labels (slices, rows, columns) to the volume (k, j, i): to each voxel that of its slice's pixel there."""
        volume = np.zeros(self.stored.shape_kji, dtype=labels.dtype)
        for index, slice_labels in enumerate(labels):
            box = self.box(index, slice_labels != 0)
            if box is not None:
                voxels = self.voxels(index, box)
                volume[voxels] = slice_labels[self.pixels(voxels)]
        return volume

    def _crossing(self, index: int, across: list[int], columns: list[Places]) -> tuple[Places, Places]:
        """Where columns of voxels along the steepest axis, at places on the two others, cross a slice.

        The voxel nearest to the slice, and the next one, on its other side: no further one can belong to the slice,
        since a voxel is more than half as high as slices are apart.
        """
        row = self._from_stored[2]
        level = columns[0] * row[2 - across[0]] + columns[1] * row[2 - across[1]] + row[3]
        crossing = (index - level) / row[2 - self._steep]
        nearest = np.rint(crossing).astype(np.intp)
        return nearest, nearest + np.where(crossing < nearest, -1, 1)

    def show(self, index: int, gray: Gray, shown: Gray) -> None:
        """As `resample` for one slice, into `shown` (rows, columns), which holds zeros."""
        matrix = self._to_stored.astype(np.float32)
        x = np.arange(shown.shape[1], dtype=np.float32)
        for top in range(0, len(shown), _ROWS):
            part = shown[top : top + _ROWS]
            y = np.arange(top, top + len(part), dtype=np.float32)[:, None]
            points = [row[0] * x + (row[1] * y + (row[2] * np.float32(index) + row[3])) for row in matrix[2::-1]]
            sides = zip(points, gray.shape, strict=True)
            inside = np.logical_and.reduce([(one >= -0.5) & (one < size - 0.5) for one, size in sides])
            part[inside] = _interpolated(gray, [one[inside] for one in points])


def _grid(stored: Geometry, axes: Float, point: Float) -> Geometry:
    """The grid of the slices through and parallel to a plane."""
    between = float(np.linalg.norm(axes[:, 2] @ stored.affine_ijk_to_ras[:3, :3]))
    corners = list(itertools.product(*((-0.5, size - 0.5) for size in stored.shape_kji[::-1])))
    low, high = _bounds((stored.ijk_to_ras(corners) - point) @ axes)
    pixel = max(*((high - low)[:2] / _LARGEST), min(stored.spacing_ijk))
    columns, rows = (max(1, math.ceil(round(size / pixel, _DECIMALS))) for size in (high - low)[:2])
    first = math.floor(round(low[2] / between, _DECIMALS) + 0.5)
    last = math.ceil(round(high[2] / between, _DECIMALS) - 0.5)
    x, y = (low + high)[:2] / 2 - pixel * np.array([columns - 1, rows - 1]) / 2
    origin = point + axes @ np.array([x, y, first * between])
    lps = np.array([-1.0, -1.0, 1.0])
    first_row, second_row, third_row = (_triple(row) for row in lps[:, None] * axes)
    return Geometry(
        (max(last - first, 0) + 1, rows, columns),
        (pixel, pixel, between),
        _triple(lps * origin),
        (first_row, second_row, third_row),
    )


def _axes(plane: Float) -> Float:
    """Unit vectors along x, y and the normal of a plane, as columns, at right angles."""
    lengths = np.linalg.norm(plane[:3, :2], axis=0)
    x, y = (plane[:3, :2] / np.where(lengths > 0, lengths, 1)).T
    normal = np.cross(x, y)
    size = float(np.linalg.norm(normal))
    if not size > _SINGULAR:  # NaN too
        raise VolumeError(
            "The slice view's directions span no plane: reset its orientation, or give the run file another plane."
        )
    normal *= math.copysign(1 / size, float(normal @ plane[:3, 2]))
    y = y - (y @ x) * x
    return np.stack([x, y / np.linalg.norm(y), normal], axis=1)


def _interpolated(gray: Gray, points: list[npt.NDArray[np.float32]]) -> Gray:
    """Values at points k, j, i (n,) up to half a voxel beyond the outermost centers, where those count."""
    place = np.zeros(points[0].shape, dtype=np.intp)
    steps, parts = [], []
    stride = 1
    for one, size in zip(reversed(points), reversed(gray.shape), strict=True):
        inner = np.clip(one, 0, size - 1)
        base = np.minimum(inner.astype(np.intp), max(size - 2, 0))
        place += base * stride
        parts.append(inner - base.astype(np.float32))
        steps.append(stride if size > 1 else 0)
        stride *= size
    flat = gray.ravel()
    values = [flat.take(place + offset).astype(np.float32) for offset in _offsets(steps)]
    for part in parts:  # along i, then j, then k: neighbors become one
        values = [a + (b - a) * part for a, b in zip(values[::2], values[1::2], strict=True)]
    return np.rint(values[0]).astype(np.uint8)


def _offsets(steps: list[int]) -> list[int]:
    """Offsets to the eight voxels around a point; the first step varies fastest."""
    return [a + b + c for c, b, a in itertools.product(*((0, step) for step in reversed(steps)))]


def _ordered(steep: int, along: Places, across: list[int], columns: list[Any]) -> Voxels:
    """Voxels as k, j, i."""
    k, j, i = (along if axis == steep else columns[across.index(axis)] for axis in range(3))
    return k, j, i


def _nonzero(marked: Mask) -> Voxels:
    k, j, i = np.nonzero(marked)
    return k, j, i


def _nearest(places: Float, size: int) -> Places:
    nearest: Places = np.clip(np.floor(places + 0.5).astype(np.intp), 0, size - 1)
    return nearest


def _mapped(matrix: Float, points: Float) -> Float:
    mapped: Float = points @ matrix[:3, :3].T + matrix[:3, 3]
    return mapped


def _bounds(points: Float) -> tuple[Float, Float]:
    return points.min(axis=0), points.max(axis=0)


def _triple(values: Float) -> Triple:
    first, second, third = (float(value) + 0.0 for value in values)
    return first, second, third
