"""Slices the way they are hung for reading, however the file stores them.

A model that has learned from upright slices sees another picture when rows, columns or both run the other way. So the
slices of a stored volume are turned first, and what comes of them is turned back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Array
from medsam2_core.image.geometry import Geometry

if TYPE_CHECKING:
    from medsam2_core.image.region import Region  # brings torch

Pixels = TypeVar("Pixels", bound=Array)

# By plane: the planes along whose slices rows and columns count, so axial rows count coronal slices.
_ROWS_AND_COLUMNS = {
    "axial": ("coronal", "sagittal"),
    "coronal": ("axial", "sagittal"),
    "sagittal": ("axial", "coronal"),
}
# By plane: the place among L, P, S of the direction its slices are stacked along, and which way a reader counts it.
_READING = {"sagittal": (0, 1), "coronal": (1, 1), "axial": (2, -1)}


@dataclass(frozen=True)
class Hanging:
    """How slices across turned ones hang: as (slices, what is left), its order flipped first, then swapped."""

    flip: bool = False
    swap: bool = False

    def turn(self, planes: Array, axis: int = 0) -> Array:
        """View (..., slices, what is left, ...), the slices along `axis`, as rows and columns to look at."""
        flipped = np.flip(planes, axis) if self.flip else planes
        return flipped.swapaxes(axis, axis + 1) if self.swap else flipped

    def turn_back(self, plane: Array) -> Array:
        """Undo `turn` for one plane."""
        swapped = plane.T if self.swap else plane
        return np.flip(swapped, 0) if self.flip else swapped

    def turn_region(self, region: Region, slices: int) -> Region:
        """Turn a rectangle whose rows count `slices` slices."""
        y0 = slices - region.y0 - region.height if self.flip else region.y0
        if self.swap:
            return replace(region, x0=y0, y0=region.x0, width=region.height, height=region.width)
        return replace(region, y0=y0)


@dataclass(frozen=True)
class SliceOrientation:
    """How the slices along an array axis are turned: rows and columns swapped first, then flipped.

    `axis` is the one slices are stacked along, 0, 1, 2 for k, j, i; their order stays as stored. `shape` is rows and
    columns of a turned slice.
    """

    axis: int
    swap: bool
    flip_rows: bool
    flip_columns: bool
    shape: tuple[int, int]
    across: tuple[Hanging, Hanging] = (Hanging(), Hanging())
    """How slices along the rows, and along the columns, of the turned ones hang upright."""

    @staticmethod
    def upright(geometry: Geometry, axis: int) -> SliceOrientation:
        """Axial slices with rows to the back and columns to the left, the others with the head up."""
        plane = next(plane for plane in _ROWS_AND_COLUMNS if geometry.anatomical_axis(plane) == axis)
        rows, columns = (geometry.anatomical_axis(across) for across in _ROWS_AND_COLUMNS[plane])
        flip_rows, flip_columns = (_runs_against(geometry, across) for across in _ROWS_AND_COLUMNS[plane])
        shape = (geometry.shape_kji[rows], geometry.shape_kji[columns])
        across = [
            Hanging(_runs_against(geometry, plane), _ROWS_AND_COLUMNS[other][0] != plane)
            for other in _ROWS_AND_COLUMNS[plane]
        ]
        return SliceOrientation(axis, rows > columns, flip_rows, flip_columns, shape, (across[0], across[1]))

    def turn(self, volume: Array) -> Array:
        """View a stored volume (k, j, i) as turned slices (slices, rows, columns)."""
        slices = np.moveaxis(volume, self.axis, 0)
        return self._flip(slices.swapaxes(1, 2) if self.swap else slices)

    def turn_back(self, slices: Array) -> Array:
        """Undo `turn`: (slices, rows, columns) as stored, (k, j, i)."""
        flipped = self._flip(slices)
        stored = np.moveaxis(flipped.swapaxes(1, 2) if self.swap else flipped, 0, self.axis)
        return np.ascontiguousarray(stored)

    def turn_slice_back(self, pixels: Pixels) -> Pixels:
        """Undo `turn` for one slice (rows, columns)."""
        stored: Pixels = np.take(self.turn_back(pixels[None]), 0, self.axis)
        return stored

    def turn_spacing(self, spacing_kji: tuple[float, float, float]) -> tuple[float, float, float]:
        """Spacing (mm) of the stored axes k, j, i as that of slices, rows, columns."""
        rows, columns = (spacing_kji[axis] for axis in range(3) if axis != self.axis)
        across = (columns, rows) if self.swap else (rows, columns)
        return spacing_kji[self.axis], *across

    def turn_mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Turn a mask (rows, columns) of a stored slice."""
        return np.ascontiguousarray(self._flip((mask.T if self.swap else mask)[None])[0])

    def turn_point(self, xy: tuple[float, float]) -> tuple[float, float]:
        """Turn a point (x, y) in pixels of a stored slice."""
        x, y = xy[::-1] if self.swap else xy
        rows, columns = self.shape
        return columns - 1 - x if self.flip_columns else x, rows - 1 - y if self.flip_rows else y

    def turn_box(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Turn a box x0, y0, x1, y1 in pixels of a stored slice; again the smaller ones come first."""
        (x0, y0), (x1, y1) = self.turn_point(box[:2]), self.turn_point(box[2:])
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    def _flip(self, slices: Array) -> Array:
        return slices[:, :: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def _runs_against(geometry: Geometry, plane: str) -> bool:
    """Whether the slices of `plane` are stored in the order opposite to the one they are read in."""
    place, sign = _READING[plane]
    return geometry.direction_lps[place][2 - geometry.anatomical_axis(plane)] * sign < 0
