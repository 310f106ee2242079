"""What a user has without a model: the same box, and either a copied mask or classical region growing.

All answer one box on one slice; none knows where the structure begins or ends.
"""

# SimpleITK ships without type annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from medsam2_core.arrays import Mask
from medsam2_core.image.region import Box
from medsam2_core.training.cases import Case, Structure
from medsam2_core.training.evaluation import Effort, Row, Settings, Way, first_prompts, score
from medsam2_core.training.policies import Policy

_MOST_SEEDS = 400
_SEED_LABEL = 1
_REFERENCE_POLICY = Policy.parse("box")


@dataclass(frozen=True)
class RegionGrowing:
    """Settings of `grow_region`; `core` and `reach` are shares of the box's sides.

    The defaults had the best mean Dice of those tried, one setting at a time, on the 125 structures of 5 mL and more of
    the six training volumes: 0.431 from one box, where copying the true mask of the slice had 0.506.
    """

    core: float = 0.55  # side of the seeded rectangle, of the box's
    reach: float = 0.4  # slices up and down, of the box's mean side
    multiplier: float = 2.0  # standard deviations around the mean of the seeds
    iterations: int = 0  # after which mean and deviation are computed again
    smoothing_mm: float = 5.0


def copy_mask(mask: Mask, index: int, box: Box, spacing: tuple[float, float, float]) -> Mask:
    """Copy a mask's slice `index` to the slices within half the box's mean side of it, in mm.

    The mask is the true one (slices, rows, columns), so that the prompted slice is perfect; the object is taken to be
    as deep as it is wide, for its true depth is not known.
    """
    near = np.abs(np.arange(len(mask)) - index) * spacing[0] <= mean_side_mm(box, spacing) / 2
    return near[:, None, None] & mask[index][None]


def grow_region(
    image: npt.NDArray[Any], index: int, box: Box, spacing: tuple[float, float, float], how: RegionGrowing
) -> Mask:
    """Grow a mask (slices, rows, columns) from the middle of a box on slice `index` of an image of that shape.

    ITK's ConfidenceConnected on the smoothed image, with a grid of seeds in the box's core, within the box and some
    slices up and down; of what it finds the part that holds most seeds is kept and its holes are filled.
    """
    block = _neighborhood(image.shape, index, box, spacing, how)
    seeds = _seeds(block, index, box, how)
    part = sitk.GetImageFromArray(image[block].astype(np.float32))
    part.SetSpacing([float(step) for step in reversed(spacing)])
    smooth = sitk.DiscreteGaussian(part, [how.smoothing_mm**2] * 3)
    grown = sitk.ConfidenceConnected(
        smooth, seeds, numberOfIterations=how.iterations, multiplier=how.multiplier, replaceValue=_SEED_LABEL
    )
    found = np.zeros(image.shape, dtype=bool)
    found[block] = sitk.GetArrayFromImage(_tidied(grown, seeds)).astype(bool)
    return found


def mean_side_mm(box: Box, spacing: tuple[float, float, float]) -> float:
    """Mean of a box's width and height in mm; spacing is of slices, rows, columns."""
    x0, y0, x1, y1 = box
    return ((x1 - x0 + 1) * spacing[2] + (y1 - y0 + 1) * spacing[1]) / 2


Baseline = Callable[[Case, Structure, int, Box], Mask]
"""Answers a box on the slice with this index by a mask (slices, rows, columns); only `copy` looks at the truth."""

BASELINES: Mapping[str, Baseline] = {
    "copy": lambda case, structure, index, box: copy_mask(case.mask(structure), index, box, case.spacing),
    "region growing": lambda case, _, index, box: grow_region(case.image, index, box, case.spacing, RegionGrowing()),
}


def evaluate_baselines(
    case: Case,
    settings: Settings,
    structures: Sequence[Structure] | None = None,
    baselines: Mapping[str, Baseline] = BASELINES,
) -> Iterator[Row]:
    """Measure baselines on structures of a case, with the boxes that `evaluation.evaluate` gives the model."""
    for structure in case.structures(settings.min_ml) if structures is None else structures:
        (prompt,) = first_prompts(case, structure, _REFERENCE_POLICY, settings.seed)
        index, box = prompt.slice_index, prompt.box
        if box is None:
            continue
        for method, draw in baselines.items():
            started = time.perf_counter()
            found = draw(case, structure, index, box)
            effort = Effort(time.perf_counter() - started, len(found))
            way = Way(method, _REFERENCE_POLICY.name)
            yield score(case, structure, found, way, [index], settings.tolerance_mm, effort)


def _neighborhood(
    shape: tuple[int, ...], index: int, box: Box, spacing: tuple[float, float, float], how: RegionGrowing
) -> tuple[slice, slice, slice]:
    """Block of an image of that shape (slices, rows, columns) that the region may fill."""
    reach = how.reach * mean_side_mm(box, spacing) / spacing[0]
    slices, rows, columns = (
        slice(max(round(low), 0), min(round(high) + 1, size))
        for low, high, size in zip((index - reach, box[1], box[0]), (index + reach, box[3], box[2]), shape, strict=True)
    )
    return slices, rows, columns


def _seeds(block: tuple[slice, slice, slice], index: int, box: Box, how: RegionGrowing) -> list[tuple[int, int, int]]:
    """Voxels (column, row, slice) of the block, on a grid in the middle of the box."""
    lines = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        middle, half = (low + high) / 2, how.core * (high - low) / 2
        count = max(min(round(2 * half) + 1, int(_MOST_SEEDS**0.5)), 1)
        lines.append(np.unique(np.linspace(middle - half, middle + half, count).round().astype(int)))
    slices, rows, columns = block
    return [(int(x) - columns.start, int(y) - rows.start, index - slices.start) for y in lines[1] for x in lines[0]]


def _tidied(grown: sitk.Image, seeds: Sequence[tuple[int, int, int]]) -> sitk.Image:
    parts = sitk.ConnectedComponent(grown)
    held = [label for label in (parts[seed] for seed in seeds) if label]
    return sitk.BinaryFillhole(parts == max(set(held), key=held.count)) if held else grown
