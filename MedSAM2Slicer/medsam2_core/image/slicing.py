"""Which slices of a volume a run goes through, stored ones along an array axis or oblique ones, and where they lie."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.oblique import ObliqueSlices

XY = tuple[float, float]
Plane = tuple[tuple[float, ...], ...]
"""4x4, row by row, in RAS mm of the volume's frame: see `image.oblique.ObliqueSlices`."""

PLANES = ("sagittal", "coronal", "axial")  # by the anatomical axis they are stacked along: R, A, S


@dataclass(frozen=True)
class Slicing:
    """The slices of a volume along one array axis (0, 1, 2 for k, j, i), and where their pixels lie."""

    geometry: Geometry
    axis: int

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.geometry.shape_kji[self.axis]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        rows, cols = (size for axis, size in enumerate(self.geometry.shape_kji) if axis != self.axis)
        return rows, cols

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Height and width of a pixel."""
        height, width = (mm for axis, mm in enumerate(self.geometry.spacing_kji) if axis != self.axis)
        return height, width

    @property
    def plane(self) -> str:
        """The anatomical plane that lies closest: "axial", "coronal" or "sagittal"."""
        return next(plane for plane in PLANES if self.geometry.anatomical_axis(plane) == self.axis)

    def split(self, ijk: Sequence[float]) -> tuple[int, XY]:
        """The slice nearest to voxel (i, j, k), and (x, y) in it."""
        x, y = _in_plane(self._through)
        return math.floor(ijk[self._through] + 0.5), (float(ijk[x]), float(ijk[y]))

    def join(self, slice_index: int, xy: XY) -> tuple[float, float, float]:
        """The voxel (i, j, k) of pixel (x, y) of a slice."""
        return joined(self._through, xy, slice_index)

    @property
    def _through(self) -> int:
        """The place among (i, j, k) that counts slices."""
        return 2 - self.axis


def choose_axis(text: str, geometry: Geometry) -> int:
    """The array axis for "0", "1", "2" or an anatomical plane. Raises VolumeError for others."""
    return int(text) if text in ("0", "1", "2") else geometry.anatomical_axis(text)


def joined(through: int, xy: XY, along: float) -> tuple[float, float, float]:
    """Coordinates with `along` at the place `through` and x, y at the two others."""
    x, y = _in_plane(through)
    coordinates = {x: xy[0], y: xy[1], through: float(along)}
    return coordinates[0], coordinates[1], coordinates[2]


@dataclass(frozen=True)
class SliceStack:
    """Stored slices along `axis` (0, 1, 2 for k, j, i); with a `plane` those parallel to it, whose axis is 0."""

    axis: int = 0
    plane: Plane | None = None

    @property
    def name(self) -> str:
        """The axis, for oblique slices with 16 hexadecimal digits: short, and the same for equal stacks anywhere."""
        digits = "" if self.plane is None else f"-{hashlib.sha256(repr(self.plane).encode()).hexdigest()[:16]}"
        return f"{self.axis}{digits}"

    def to_json(self) -> dict[str, Any]:
        """Return "axis" and, if there is one, "plane", in JSON's own types; as `from_json` reads them."""
        plane = {} if self.plane is None else {"plane": [list(row) for row in self.plane]}
        return {"axis": self.axis, **plane}

    @staticmethod
    def from_json(settings: Mapping[str, Any]) -> SliceStack:
        """Read what `to_json` gave, from settings that may be anything. Raises PromptError."""
        axis, rows = settings.get("axis", 0), settings.get("plane")
        if type(axis) is not int or not 0 <= axis <= 2:
            raise PromptError(f"settings.axis holds {axis!r:.40}: give a whole number from 0 to 2.")
        if rows is None:
            return SliceStack(axis)
        if axis or not _is_matrix(rows):
            raise PromptError("settings.plane is not a plane across axis 0: give four rows of four numbers.")
        return SliceStack(0, tuple(tuple(float(value) for value in row) for row in rows))

    def oblique(self, geometry: Geometry) -> ObliqueSlices | None:
        """Return the slices parallel to the plane in a volume; None for stored slices. Raises VolumeError."""
        return None if self.plane is None else _oblique(geometry, self.plane)

    def slicing(self, geometry: Geometry) -> Slicing:
        """Return the slices of a volume, and where their pixels lie. Raises VolumeError."""
        oblique = self.oblique(geometry)
        return Slicing(geometry if oblique is None else oblique.geometry, self.axis)


def _is_matrix(rows: Any) -> bool:
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 4 for row in rows):
        return False
    values = [value for row in rows for value in row]
    return len(values) == 16 and all(type(value) in (int, float) and abs(value) < 1e30 for value in values)


@lru_cache(maxsize=4)
def _oblique(geometry: Geometry, plane: Plane) -> ObliqueSlices:
    return ObliqueSlices(geometry, plane)


def _in_plane(through: int) -> tuple[int, int]:
    x, y = (place for place in range(3) if place != through)
    return x, y
