"""Which slices of a volume a run goes through: the stored ones along an array axis, or oblique ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from medsam2_core.image.geometry import Geometry
from medsam2_core.image.oblique import ObliqueSlices
from medsam2_core.run.prompts import Slicing

Plane = tuple[tuple[float, ...], ...]
"""4x4, row by row, in RAS mm of the volume's frame: see `image.oblique.ObliqueSlices`."""


@dataclass(frozen=True)
class SliceStack:
    """Stored slices along `axis` (0, 1, 2 for k, j, i); with a `plane` those parallel to it, whose axis is 0."""

    axis: int = 0
    plane: Plane | None = None

    def to_json(self) -> dict[str, Any]:
        """Return "axis" and, if there is one, "plane", in JSON's own types; `run.file.read_stack` reads them."""
        plane = {} if self.plane is None else {"plane": [list(row) for row in self.plane]}
        return {"axis": self.axis, **plane}

    def oblique(self, geometry: Geometry) -> ObliqueSlices | None:
        """Return the slices parallel to the plane in a volume; None for stored slices. Raises VolumeError."""
        return None if self.plane is None else _oblique(geometry, self.plane)

    def slicing(self, geometry: Geometry) -> Slicing:
        """Return the slices of a volume, and where their pixels lie. Raises VolumeError."""
        oblique = self.oblique(geometry)
        return Slicing(geometry if oblique is None else oblique.geometry, self.axis)


@lru_cache(maxsize=4)
def _oblique(geometry: Geometry, plane: Plane) -> ObliqueSlices:
    return ObliqueSlices(geometry, plane)
