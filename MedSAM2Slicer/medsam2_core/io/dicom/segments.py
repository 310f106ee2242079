"""Segments of a DICOM segmentation (SEG) of any kind, put voxel by voxel where their frames lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from medsam2_core.arrays import Array, Mask
from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Float, Geometry
from medsam2_core.image.terminology import Code, Terminology

_TOLERANCE = 0.1  # voxels, as between any two grids
_LABELMAP, _FRACTIONAL = "LABELMAP", "FRACTIONAL"


def segment_names(data: Any) -> dict[int, str]:
    """The labels of the segments, by their numbers."""
    return {int(item.SegmentNumber): str(item.get("SegmentLabel") or "") for item in data.SegmentSequence}


def segment_terminology(data: Any, number: int) -> Terminology | None:
    """What a segment is; None where that is not said."""
    (item,) = (one for one in data.SegmentSequence if int(one.SegmentNumber) == number)
    category = _code(item, "SegmentedPropertyCategoryCodeSequence")
    kind = _code(item, "SegmentedPropertyTypeCodeSequence")
    if category is None or kind is None:
        return None
    modifier = _code(item.SegmentedPropertyTypeCodeSequence[0], "SegmentedPropertyTypeModifierCodeSequence")
    region = _code(item, "AnatomicRegionSequence")
    side = None if region is None else _code(item.AnatomicRegionSequence[0], "AnatomicRegionModifierSequence")
    return Terminology(category, kind, modifier, region, side)


def _code(item: Any, keyword: str) -> Code | None:
    found = item.get(keyword)
    if not found or not found[0].get("CodeValue"):
        return None
    return Code(str(found[0].CodeValue), str(found[0].CodingSchemeDesignator), str(found[0].CodeMeaning))


def fill_segment(data: Any, number: int, geometry: Geometry) -> Mask:
    """The voxels (k, j, i) of a segment; of fractions those of at least a half.

    Raises PromptError for frames whose pixels are not voxels of `geometry`.
    """
    mask = np.zeros(geometry.shape_kji, bool)
    for pixels, places in _frames(data, number):
        rows, columns = np.nonzero(pixels)
        if rows.size:
            i, j, k = _voxels(places, geometry, rows, columns)
            mask[k, j, i] = True
    return mask


def _frames(data: Any, number: int) -> Iterator[tuple[Array, list[Any]]]:
    """The pixels of each frame that may show the segment, and the items that say where it lies."""
    kind = str(data.get("SegmentationType") or "")
    pixels = np.asarray(data.pixel_array).reshape(-1, int(data.Rows), int(data.Columns))
    shared = data.SharedFunctionalGroupsSequence[0]
    for frame, group in zip(pixels, data.PerFrameFunctionalGroupsSequence, strict=True):
        places = [group, shared]
        if kind == _LABELMAP:
            yield frame == number, places
        elif int(_item(places, "SegmentIdentificationSequence").ReferencedSegmentNumber) == number:
            yield frame >= (float(data.MaximumFractionalValue) / 2 if kind == _FRACTIONAL else 1), places


def _item(places: list[Any], keyword: str) -> Any:
    """What is said of a frame, or of all."""
    return next(place[keyword][0] for place in places if keyword in place)


def _voxels(places: list[Any], geometry: Geometry, rows: Array, columns: Array) -> Array:
    """The voxels i, j, k (3, n) of pixels of a frame. Raises PromptError."""
    position = _numbers(_item(places, "PlanePositionSequence").ImagePositionPatient)
    cosines = _numbers(_item(places, "PlaneOrientationSequence").ImageOrientationPatient)
    between_rows, between_columns = _numbers(_item(places, "PixelMeasuresSequence").PixelSpacing)
    lps = position + np.outer(columns, cosines[:3] * between_columns) + np.outer(rows, cosines[3:] * between_rows)
    exact = geometry.lps_to_ijk(lps)
    voxels = np.rint(exact).astype(int)
    sizes = np.array(geometry.shape_kji[::-1])
    if (np.abs(exact - voxels) > _TOLERANCE).any() or (voxels < 0).any() or (voxels >= sizes).any():
        raise PromptError(
            f"The segment lies on other pixels than those of the volume, which has {geometry.describe()}: give the "
            "series that it was drawn on, or save it from Slicer as .seg.nrrd, which --from-segmentation takes on any "
            "grid, also beside --resample."
        )
    found: Array = voxels.T
    return found


def _numbers(values: Any) -> Float:
    return np.array([float(value) for value in values])
