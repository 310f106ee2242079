"""Prompts of one object on one slice, checked before anything else sees them.

In-slice points are (x, y) in pixels, pixel centers at integers, so a slice of C columns spans -0.5 <= x <= C - 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import size_text
from medsam2_core.image.region import Box, Region
from medsam2_core.model.prompt_encoder import BOX_END, BOX_START, EXCLUDE, INCLUDE

SURE_LOGIT = 10.0  # logit of a pixel of a given mask, as the model takes it


@dataclass(frozen=True)
class SlicePrompt:
    """All prompts of one object on one slice: points with labels and perhaps a box, or a mask.

    `before` is what was there when the first prompt came, drawn by a propagation or given as a mask: the prompts
    correct it.
    """

    points: tuple[tuple[float, float, int], ...] = ()
    box: Box | None = None
    mask: Mask | None = None
    before: Tensor | None = None  # mask logits (rows, columns)

    def with_points(self, points: npt.ArrayLike, labels: Sequence[int], shape: tuple[int, int]) -> SlicePrompt:
        """Add points (n, 2) with labels (n,), 1 include and 0 exclude, on a slice of `shape` rows and columns."""
        added = _checked_points(points, labels, shape)
        return replace(self, points=self.points + added, mask=None, before=self._drawn())

    def with_box(self, box: Sequence[float], shape: tuple[int, int]) -> SlicePrompt:
        """Set the box x0, y0, x1, y1, corners in any order; a later box replaces an earlier one."""
        return replace(self, box=_checked_box(box, shape), mask=None, before=self._drawn())

    def _drawn(self) -> Tensor | None:
        """What further prompts correct: a mask given before them, else what a propagation had drawn."""
        if self.mask is None or not self.mask.any():
            return self.before
        return torch.where(torch.from_numpy(self.mask), SURE_LOGIT, -SURE_LOGIT)

    def model_points(self, region: Region, image_size: int) -> tuple[Tensor, Tensor]:
        """Points (1, P, 2) and labels (1, P) for the model, which sees `region`; a box comes first, as two points."""
        corners = [] if self.box is None else [(*self.box[:2], BOX_START), (*self.box[2:], BOX_END)]
        rows = [*corners, *self.points]
        points = torch.tensor([row[:2] for row in rows], dtype=torch.float32)
        return region.points_to_model(points, image_size)[None], torch.tensor([[row[2] for row in rows]])


def mask_prompt(mask: npt.ArrayLike, shape: tuple[int, int]) -> SlicePrompt:
    """Take a mask (rows, columns) as the truth on its slice; an empty one says that the object is not there.

    All that is not 0 is the object. Fractions, NaN and infinite numbers are refused.
    """
    values = _array(mask, "The mask is not an array of numbers: give one, (rows, columns).")
    if values.shape != shape:
        raise PromptError(
            f"The mask has {size_text(values.shape)} pixels but the slice {size_text(shape)}: give one on the slice's "
            "grid."
        )
    # Some readers give label maps as floats. Probabilities or logits would count as the object everywhere.
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and np.array_equal(values, np.floor(values))):
        raise PromptError("The mask holds fractions or NaN: cut it at a threshold first, such as mask > 0.5.")
    return SlicePrompt(mask=values.astype(bool))


def _checked_points(
    points: npt.ArrayLike, labels: Sequence[int], shape: tuple[int, int]
) -> tuple[tuple[float, float, int], ...]:
    places = _array(points, "Points must be pairs of numbers: give x and y of each.")
    kinds = _array(labels, "Point labels must be numbers: use 1 to include and 0 to exclude.")
    if places.shape != (kinds.size, 2) or kinds.ndim != 1 or not kinds.size:
        raise PromptError(
            f"Points of shape {places.shape} with labels of shape {kinds.shape} do not match: give (n, 2) points and "
            "n labels."
        )
    unknown = kinds[(kinds != INCLUDE) & (kinds != EXCLUDE)]
    if unknown.size:
        raise PromptError(f"Point label {unknown[0]} is unknown: use 1 to include and 0 to exclude.")
    for x, y in places:
        _check_inside(x, y, shape)
    return tuple((float(x), float(y), int(label)) for (x, y), label in zip(places, kinds, strict=True))


def _checked_box(box: Sequence[float], shape: tuple[int, int]) -> Box:
    corners = _array(box, "A box needs four numbers: give x0, y0, x1, y1.")
    if corners.shape != (4,):
        raise PromptError(f"A box needs four numbers, not those of shape {corners.shape}: give x0, y0, x1, y1.")
    x0, x1 = sorted((float(corners[0]), float(corners[2])))
    y0, y1 = sorted((float(corners[1]), float(corners[3])))
    _check_inside(x0, y0, shape)
    _check_inside(x1, y1, shape)
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise PromptError(f"The box {x0:g}, {y0:g}, {x1:g}, {y1:g} is empty: make it at least 2 pixels wide and high.")
    return x0, y0, x1, y1


def _array(values: npt.ArrayLike, problem: str) -> npt.NDArray[Any]:
    """Booleans or real numbers as an array. Raises PromptError, which says the problem, for anything else."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise PromptError(problem) from error
    if array.dtype.kind not in "biuf":
        raise PromptError(problem)
    return array


def _check_inside(x: float, y: float, shape: tuple[int, int]) -> None:
    rows, columns = shape
    if not (-0.5 <= x <= columns - 0.5 and -0.5 <= y <= rows - 0.5):
        raise PromptError(
            f"The prompt at x {x:g}, y {y:g} is outside the slice: x goes from 0 to {columns - 1}, y to {rows - 1}."
        )
