"""What is measured about a segmentation: pure functions of masks, and of confidences beside what they promise.

Masks are boolean arrays (slices, rows, columns) of one shape; spacing is in mm along the same axes. A measure that has
nothing to measure, such as recognized empty slices where no slice is empty, is None.
"""

# SimpleITK ships without type annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from medsam2_core.arrays import Mask, block_of

Floats = npt.NDArray[np.float64]

CONFIDENT = 0.5
"""A predicted IoU above this says that the mask can be used."""


def dice(found: Mask, wanted: Mask) -> float:
    """Dice of two masks of any one shape, 0 to 1; two empty ones agree fully."""
    return _share(2 * np.count_nonzero(found & wanted), np.count_nonzero(found) + np.count_nonzero(wanted))


def slice_dice(found: Mask, wanted: Mask) -> Floats:
    """Dice of each slice, (slices,)."""
    return np.array([dice(one, other) for one, other in zip(found, wanted, strict=True)])


def slice_iou(found: Mask, wanted: Mask) -> Floats:
    """Intersection over union of each slice, (slices,); 1 where both are empty."""
    half = slice_dice(found, wanted) / 2
    return half / (1 - half)


def prompted_dice(found: Mask, wanted: Mask, prompted: Sequence[int]) -> float:
    """Mean Dice of the slices with these indexes: what a prompt gives where it was put."""
    return float(slice_dice(found[list(prompted)], wanted[list(prompted)]).mean())


def surface_dice(found: Mask, wanted: Mask, spacing: tuple[float, float, float], tolerance_mm: float) -> float:
    """Share of both surfaces that lies within `tolerance_mm` of the other one, 0 to 1; two empty masks agree fully.

    A surface is the voxels of a mask that touch, by a face, a voxel outside it or the volume's edge; distances go from
    voxel center to voxel center. Each voxel counts once, whatever the area of its faces.
    """
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    frame = block_of(found | wanted)  # distances between their parts need no more
    one, other = surface(found[frame]), surface(wanted[frame])
    near_other = one & (distance_mm(other, spacing) <= tolerance_mm)
    near_one = other & (distance_mm(one, spacing) <= tolerance_mm)
    near = np.count_nonzero(near_other) + np.count_nonzero(near_one)
    return _share(near, np.count_nonzero(one) + np.count_nonzero(other))


def surface(mask: Mask) -> Mask:
    """Pixels or voxels of a mask of any dimension that touch, by a face, one outside it or the array's edge."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for shift in (-1, 1):
            around = np.roll(padded, shift, axis)
            inner &= around[(slice(1, -1),) * mask.ndim]
    return mask & ~inner


def distance_mm(target: Mask, spacing: Sequence[float]) -> npt.NDArray[np.float32]:
    """Distance in mm of every pixel or voxel center to the nearest one of `target` (2D or 3D), which is not empty.

    Spacing is in mm along the array's axes.
    """
    image = sitk.GetImageFromArray(target.astype(np.uint8))
    image.SetSpacing([float(step) for step in reversed(spacing)])
    signed: npt.NDArray[np.float32] = sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    )
    return np.where(target, np.float32(0), signed)


def empty_recognized(found: Mask, wanted: Mask) -> float | None:
    """Share of the slices without the object that were left empty, 0 to 1."""
    empty = ~_present(wanted)
    return _share(np.count_nonzero(empty & ~_present(found)), np.count_nonzero(empty)) if empty.any() else None


@dataclass(frozen=True)
class FalseSlices:
    """Slices with a mask before the object's first or after its last slice, and how many mm of the volume they fill."""

    count: int
    mm: float


def false_slices(found: Mask, wanted: Mask, step_mm: float) -> FalseSlices:
    """Count the slices drawn beyond the ends of an object, which is not empty; slices are `step_mm` apart."""
    ends = np.flatnonzero(_present(wanted))[[0, -1]]
    drawn = np.flatnonzero(_present(found))
    count = int(np.count_nonzero((drawn < ends[0]) | (drawn > ends[1])))
    return FalseSlices(count, count * step_mm)


def confidence_correlation(confidence: npt.ArrayLike, iou: npt.ArrayLike) -> float | None:
    """Pearson correlation, -1 to 1, of predicted with true IoU (n,); None for fewer than three or for constants."""
    promised, true = np.asarray(confidence, dtype=np.float64), np.asarray(iou, dtype=np.float64)
    if len(promised) < 3 or min(promised.std(), true.std()) < 1e-9:
        return None
    return float(np.clip(np.corrcoef(promised, true)[0, 1], -1, 1))


def confident_misses(confidence: npt.ArrayLike, iou: npt.ArrayLike) -> float | None:
    """Share of the confident slices, 0 to 1, on which the true IoU is 0; `confidence` and `iou` are (n,)."""
    sure = np.asarray(confidence, dtype=np.float64) > CONFIDENT
    missed = np.asarray(iou, dtype=np.float64) == 0
    return _share(np.count_nonzero(sure & missed), np.count_nonzero(sure)) if sure.any() else None


def _share(part: int | np.signedinteger[Any], whole: int | np.signedinteger[Any]) -> float:
    return float(part / whole) if whole else 1.0


def _present(mask: Mask) -> npt.NDArray[np.bool_]:
    return np.asarray(mask.any(axis=(1, 2)))
