"""The strongest classical answer to one box that was found: a random walker in 3D (Grady, TPAMI 2006; scikit-image).

It lives here because the product depends neither on scikit-image nor on scipy.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from skimage.segmentation import random_walker

from medsam2_core.arrays import Mask
from medsam2_core.image.region import Box
from medsam2_core.image.window import Window
from medsam2_core.training.baselines import mean_side_mm
from medsam2_core.training.cases import Case, Structure

_OBJECT, _BACKGROUND = 1, 2
_FEWEST = 3  # voxels along a side of the working grid

Triple = tuple[float, float, float]
"""Along slices, rows, columns."""


@dataclass(frozen=True)
class RandomWalker:
    """Settings of `walk`; `core`, `margin` and `reach` are shares of the box's sides.

    The defaults had the best mean Dice of 58 settings tried, two rounds of one setting at a time, on the 125 structures
    of 5 mL and more of the six training volumes: 0.526 from one box, where copying the true mask of the slice had
    0.506 and region growing 0.431. GrabCut (OpenCV 5.0), carried from slice to slice with the mask before as prior and
    stopped by its area, overlap and depth, had 0.462 there after 45 settings and is not kept.
    """

    core: float = 0.8  # axes of the seeded ellipse in the box
    margin: float = 0.1  # background beyond each side of the box
    reach: float = 0.8  # slices up and down, of the box's mean side
    beta: float = 3000.0  # how much an edge in the image holds the walker up
    level: float = 0.2  # least probability of the object
    smoothing: float = 0.5  # standard deviation, in voxels of the working grid
    largest: int = 64  # voxels along the longest side of the working grid
    tolerance: float = 0.01  # of the solver; a closer solution is a worse mask: 0.512 with 0.001


@dataclass(frozen=True)
class _Grid:
    """A working grid over a block of the image: coarser where the block is large, its voxels nearly cubes.

    Lengths are in mm; places count from the center of the block's first voxel.
    """

    shape: tuple[int, int, int]
    spacing: Triple
    origin: Triple

    @staticmethod
    def over(shape: tuple[int, ...], spacing: Triple, largest: int) -> _Grid:
        extent = [count * step for count, step in zip(shape, spacing, strict=True)]
        side = max(max(extent) / largest, min(spacing))
        counts = [max(round(length / side), _FEWEST) for length in extent]
        steps = [length / count for length, count in zip(extent, counts, strict=True)]
        first = [(new - old) / 2 for new, old in zip(steps, spacing, strict=True)]
        return _Grid(tuple(counts), tuple(steps), tuple(first))

    def places(self, axis: int) -> npt.NDArray[np.float64]:
        """Centers of the voxels along an axis."""
        return self.origin[axis] + self.spacing[axis] * np.arange(self.shape[axis])

    def image(self, values: npt.NDArray[np.float32]) -> sitk.Image:
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.spacing[::-1])
        image.SetOrigin(self.origin[::-1])
        return image


def draw(case: Case, _: Structure, index: int, box: Box) -> Mask:
    """Answer a box as a baseline of `training.baselines`, on the image as the window `auto` shows it."""
    return walk(Window.auto(case.image).to_uint8(case.image), index, box, case.spacing, RandomWalker())


def walk(image: npt.NDArray[np.uint8], index: int, box: Box, spacing: Triple, how: RandomWalker) -> Mask:
    """Return the mask (slices, rows, columns) where a walker meets the box's core on slice `index` before its outside.

    Seeds of the object are an ellipse in the box on that slice; those of the background lie outside the box on every
    slice that is reached.
    """
    block = _block(image.shape, index, box, spacing, how)
    given = _Grid(tuple(part.stop - part.start for part in block), spacing, (0.0, 0.0, 0.0))
    grid = _Grid.over(given.shape, spacing, how.largest)
    seeds = _seeds(grid, _in_block(block, index, box, spacing), how.core)
    fine = given.image(image[block].astype(np.float32))
    coarse = sitk.GetArrayFromImage(_resampled(_smoothed(fine, how.smoothing, grid), grid)) / np.float32(255)
    chance = _chance_of_object(coarse, seeds, grid.spacing, how)
    found = np.zeros(image.shape, dtype=bool)
    found[block] = sitk.GetArrayFromImage(_resampled(grid.image(chance), given)) > how.level
    return found


def _block(
    shape: tuple[int, ...], index: int, box: Box, spacing: Triple, how: RandomWalker
) -> tuple[slice, slice, slice]:
    """Part of an image of that shape that is looked at: the box with a margin, some slices up and down."""
    reach = how.reach * mean_side_mm(box, spacing) / spacing[0] + 1
    wide, high = (max(how.margin * (box[end] - box[end - 2] + 1), 2) for end in (2, 3))
    ends = ((index - reach, index + reach), (box[1] - high, box[3] + high), (box[0] - wide, box[2] + wide))
    slices, rows, columns = (
        slice(max(int(np.floor(low)), 0), min(int(np.ceil(top)) + 1, size))
        for (low, top), size in zip(ends, shape, strict=True)
    )
    return slices, rows, columns


def _in_block(block: tuple[slice, ...], index: int, box: Box, spacing: Triple) -> tuple[float, Box]:
    """Place of the slice and of the box, which covers whole pixels, in mm from the block's first voxel."""
    top, left = block[1].start, block[2].start
    (_, row, column) = spacing
    x0, y0, x1, y1 = box
    edges = (x0 - 0.5 - left) * column, (y0 - 0.5 - top) * row, (x1 + 0.5 - left) * column, (y1 + 0.5 - top) * row
    return (index - block[0].start) * spacing[0], edges


def _seeds(grid: _Grid, place: tuple[float, Box], core: float) -> npt.NDArray[np.int32]:
    slice_mm, (x0, y0, x1, y1) = place
    z, y, x = (grid.places(axis) for axis in range(3))
    seeds = np.zeros(grid.shape, dtype=np.int32)
    seeds[:, (y < y0) | (y > y1), :] = _BACKGROUND
    seeds[:, :, (x < x0) | (x > x1)] = _BACKGROUND
    if not seeds.any():  # the box is the slice
        seeds[:, [0, -1], :] = seeds[:, :, [0, -1]] = _BACKGROUND
    off_y, off_x = (2 * y - y0 - y1) / (y1 - y0), (2 * x - x0 - x1) / (x1 - x0)
    inside = off_y[:, None] ** 2 + off_x[None] ** 2 <= core**2
    inside[np.abs(off_y).argmin(), np.abs(off_x).argmin()] = True
    seeds[np.abs(z - slice_mm).argmin(), inside] = _OBJECT
    return seeds


def _smoothed(image: sitk.Image, voxels: float, grid: _Grid) -> sitk.Image:
    return sitk.DiscreteGaussian(image, [(voxels * max(grid.spacing)) ** 2] * 3)


def _resampled(image: sitk.Image, grid: _Grid) -> sitk.Image:
    """Sample an image on a grid over the same block; beyond its outermost voxel centers it goes on as it is there."""
    return sitk.Resample(
        image, grid.shape[::-1], sitk.Transform(), sitk.sitkLinear, grid.origin[::-1], grid.spacing[::-1],
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), 0.0, sitk.sitkFloat32, True,
    )  # fmt: skip


def _chance_of_object(
    image: npt.NDArray[np.float32], seeds: npt.NDArray[np.int32], spacing: Triple, how: RandomWalker
) -> npt.NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seeds enclosed by others, a faster solver that could be installed
        relative = np.array(spacing) / min(spacing)
        chances = random_walker(
            image, seeds, how.beta, mode="cg_j", tol=how.tolerance, return_full_prob=True, spacing=relative
        )
    return chances[_OBJECT - 1].astype(np.float32)
