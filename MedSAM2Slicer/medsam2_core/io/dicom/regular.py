"""Slices that lie on no regular grid, such as those of a tilted gantry, put on one, and masks brought back to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Array
from medsam2_core.counting import are, counted
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float, Geometry, grid_from_columns
from medsam2_core.io.dicom.grid import Slices
from medsam2_core.io.nifti import Place
from medsam2_core.notices import tell

_MOST_NEW = 4  # regular slices for each stored one; more would be made up by far the most


@dataclass(frozen=True, eq=False)
class StoredSlices:
    """Where parallel slices (rows, columns) of one spacing lie on the regular grid that they were put on.

    `shifts` (slice, 2) are those along columns and rows in pixels, `heights` (slice,) in slices of the grid.
    """

    slices: Slices
    grid: Geometry
    shifts: Float
    heights: Float

    @property
    def shape_kji(self) -> tuple[int, int, int]:
        """Stored slices, rows, columns."""
        return (len(self.slices.frames), *self.slices.shape)

    @cached_property
    def place(self) -> Place:
        """The straight line nearest to all slices, which for a tilted gantry is where they lie."""
        origin, _ = self.slices.line
        return Place(self.slices.columns, origin)

    def to_lps(self, ijk: npt.ArrayLike) -> Float:
        """Points (n, 3) in stored voxels, which are columns, rows and slices, in LPS mm."""
        points = np.asarray(ijk, dtype=np.float64).reshape(-1, 3)
        nearest = np.floor(points[:, 2] + 0.5).astype(int)
        count = len(self.heights)
        if ((nearest < 0) | (nearest >= count)).any():
            raise VolumeError(f"There {are(count)} {counted(count, 'stored slice')}: give one from 0 to {count - 1}.")
        lps: Float = self.slices.positions[nearest] + points[:, :2] @ self.place.columns[:, :2].T
        return lps

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The slices of the grid (half-open) around stored ones from `first` to before `last`."""
        low, high = self.heights[max(first, 0)], self.heights[min(last, len(self.heights)) - 1]
        return math.floor(float(low) + 1e-6), math.ceil(float(high) - 1e-6) + 1

    def labels(self, labelmap: Array) -> Array:
        """A label map (k, j, i) of the regular grid on the stored slices, each voxel's from the nearest one."""
        rows, columns = self.slices.shape
        found = np.empty(self.shape_kji, labelmap.dtype)
        for index, (height, (x, y)) in enumerate(zip(self.heights, self.shifts, strict=True)):
            row, column = round(float(y)), round(float(x))
            found[index] = labelmap[round(float(height)), row : row + rows, column : column + columns]
        return found

    def tell_deviation(self) -> None:
        """Tell how far slices lie from the one line that a file can say, if that is more than a hundredth of a mm."""
        _, step = self.slices.line
        if self.slices.deviation > self.slices.tolerance(float(np.linalg.norm(step))):
            tell(
                "The series is unevenly spaced, which the file cannot express: its slices are the stored ones in "
                f"order, but up to {self.slices.deviation:.3g} mm from where its header puts them."
            )


def put_on_grid(slices: Slices, values: Array) -> tuple[Array, Geometry, StoredSlices]:
    """The values (slice, row, column) on a regular grid (k, j, i) around all slices, by linear interpolation.

    What no slice covers gets the lowest value. Raises VolumeError for a single slice, or where most would be made up.
    """
    stored = _placed(slices)
    lowest = values.min()
    array = np.empty(stored.grid.shape_kji, values.dtype)
    for index in range(len(array)):
        before = min(int(np.searchsorted(stored.heights, index + 1e-9)) - 1, len(values) - 2)
        share = float(index - stored.heights[before]) / float(stored.heights[before + 1] - stored.heights[before])
        share = min(1.0, max(0.0, share))
        mixed = sum(
            weight * _shifted(values[place].astype(np.float64), stored.shifts[place], array.shape[1:], float(lowest))
            for place, weight in ((before, 1 - share), (before + 1, share))
            if weight
        )
        array[index] = mixed if array.dtype.kind == "f" else np.rint(mixed)
    return array, stored.grid, stored


def _placed(slices: Slices) -> StoredSlices:
    """A grid around the slices, with their own pixels and most of their heights."""
    count = len(slices.frames)
    if count < 2:
        raise VolumeError("A single slice cannot be resampled: give the whole series.")
    heights = slices.heights - slices.heights[0]
    total = round(float(heights[-1] / np.median(np.diff(heights)))) + 1
    if total > _MOST_NEW * count:
        raise VolumeError(
            f"The slices lie so unevenly that {total - count} of {total} would have to be made up: export the series "
            "again, or give one part of it."
        )
    step = float(heights[-1]) / (total - 1)
    pixel = np.array([slices.spacing[1], slices.spacing[0]])
    from_first = slices.positions - slices.positions[0]
    shifts = np.stack([from_first @ slices.row, from_first @ slices.column], axis=1) / pixel
    first = np.floor(shifts.min(axis=0) + 1e-6)
    columns, rows = (np.array(slices.shape[::-1]) + np.ceil(shifts.max(axis=0) - first - 1e-6)).astype(int).tolist()
    axes = np.column_stack([slices.row * pixel[0], slices.column * pixel[1], slices.normal * step])
    origin = slices.positions[0] + axes[:, :2] @ first
    return StoredSlices(slices, grid_from_columns((total, rows, columns), axes, origin), shifts - first, heights / step)


def _shifted(image: Float, shift: Float, shape: tuple[int, ...], fill: float) -> Float:
    """An image (rows, columns) on a larger one, moved by (columns, rows); `fill` around it."""
    in_rows = _moved(image, float(shift[1]), shape[0], fill)
    moved: Float = _moved(in_rows.T, float(shift[0]), shape[1], fill).T
    return moved


def _moved(image: Float, by: float, size: int, fill: float) -> Float:
    """The rows of an image moved by a number of rows that may be a fraction, on an image of `size` rows."""
    whole = math.floor(by + 1e-9)
    part = max(0.0, by - whole)
    part = 0.0 if part < 1e-6 else part
    padded = np.full((size + 2, image.shape[1]), fill)
    padded[whole + 1 : whole + 1 + len(image)] = image
    moved: Float = (1 - part) * padded[1:-1] + part * padded[:-2]
    return moved
