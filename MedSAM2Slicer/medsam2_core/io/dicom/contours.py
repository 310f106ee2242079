"""Contours of a DICOM structure set (RTSTRUCT), filled on the slices of a volume that they lie in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.counting import counted
from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Float, Geometry
from medsam2_core.image.polygon import filled
from medsam2_core.notices import tell

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.5  # voxels; what a contour may leave the slice that it lies in


def contour_names(data: Any) -> dict[int, str]:
    """The names of the structures that have contours, by their numbers."""
    contours = data.get("ROIContourSequence") or []  # some leave it out where nothing is drawn
    drawn = {int(item.ReferencedROINumber) for item in contours if item.get("ContourSequence")}
    structures = data.get("StructureSetROISequence") or []
    return {int(item.ROINumber): str(item.ROIName).strip() for item in structures if int(item.ROINumber) in drawn}


def fill_contours(data: Any, number: int, geometry: Geometry) -> Mask:
    """The voxels (k, j, i) whose center is within the contours; a contour within another one is a hole.

    Raises PromptError for a contour outside the volume, or across its slices.
    """
    planes: dict[tuple[int, int, float], Mask] = {}
    for points in _contours(data, number):
        _turn(planes, geometry.lps_to_ijk(points), geometry)
    mask = np.zeros(geometry.shape_kji, bool)
    for (through, index, _), within in planes.items():
        np.moveaxis(mask, 2 - through, 0)[index] |= within
    return mask


def _contours(data: Any, number: int) -> Iterator[Float]:
    """The points (n, 3) of each closed contour, LPS mm; it is told that others are left out."""
    (item,) = (one for one in data.ROIContourSequence if int(one.ReferencedROINumber) == number)
    contours = item.ContourSequence
    closed = [one for one in contours if str(one.ContourGeometricType) in _CLOSED and one.get("ContourData")]
    if len(closed) < len(contours):
        name, left_out = contour_names(data)[number], len(contours) - len(closed)
        tell(
            f"{left_out} of {counted(len(contours), 'contour')} of {name!r} left out: points and open lines "
            "hold no voxel."
        )
    for contour in closed:
        yield np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)


def _turn(planes: dict[tuple[int, int, float], Mask], points: Float, geometry: Geometry) -> None:
    """Turn what is within a contour, of voxels i, j, k (n, 3), from outside to inside or back, in its own plane.

    A plane is known by the axis across it, the slice that is nearest, and where it lies.
    """
    through = int(np.ptp(points, axis=0).argmin())
    height = float(points[:, through].mean())
    index = round(height)
    if np.abs(points[:, through] - index).max() > _FLAT or not 0 <= index < geometry.shape_kji[2 - through]:
        raise PromptError(
            f"A contour lies outside the volume, which has {geometry.describe()}, or across its slices: give the "
            "series that it was drawn on."
        )
    x, y = (place for place in range(3) if place != through)
    shape = [geometry.shape_kji[2 - place] for place in (y, x)]
    plane = planes.setdefault((through, index, round(height, 3)), np.zeros(shape, bool))
    plane ^= filled(points[:, [x, y]], plane.shape)
