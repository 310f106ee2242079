"""Prompt policies: what a user would show of a structure, made from its true mask and nothing else.

Slices are (rows, columns); points are (x, y) and boxes (x0, y0, x1, y1) in pixels, centers at integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from medsam2_core.arrays import Mask, block_of
from medsam2_core.errors import PromptError
from medsam2_core.image.region import Box
from medsam2_core.session import VolumeSession
from medsam2_core.training.metrics import distance_mm, slice_dice

Point = tuple[float, float]

_JITTER = 0.03  # of the box's sides, each edge on its own
_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class PolicyPrompt:
    """A box or points to include, on one slice."""

    slice_index: int
    box: Box | None = None
    points: tuple[Point, ...] = ()

    def give(self, session: VolumeSession, object_id: int) -> None:
        """Add it to a session along whose slices it was made."""
        if self.box is not None:
            session.add_box(object_id, self.slice_index, self.box)
        if self.points:
            session.add_points(object_id, self.slice_index, self.points, [1] * len(self.points))


@dataclass(frozen=True)
class Policy:
    """A way to prompt: boxes or clicks at first, then up to `corrections` rounds at the worst slice."""

    name: str
    kind: str  # box or click
    prompts: int = 1
    corrections: int = 0
    percent: int | None = None  # of the structure's slices that get a box, in place of `prompts`

    @staticmethod
    def parse(text: str) -> Policy:
        """Read "box", "click", "3-clicks", "3-boxes", "box+N" with N corrections or "N%-boxes" on that many slices.

        Raises PromptError for others.
        """
        simple = {"box": ("box", 1), "click": ("click", 1), "3-clicks": ("click", 3), "3-boxes": ("box", 3)}
        if text in simple:
            return Policy(text, *simple[text])
        share = re.fullmatch(r"([1-9][0-9]?)%-boxes", text)
        if share is not None:
            return Policy(text, "box", percent=int(share[1]))
        corrected = re.fullmatch(r"box\+([1-9])", text)
        if corrected is None:
            raise PromptError(
                f"Policy '{text}' is unknown: choose box, click, 3-clicks, 3-boxes, box+1 to box+9, or 1%-boxes to "
                "99%-boxes."
            )
        return Policy(text, "box", 1, int(corrected[1]))

    def after(self, corrections: int) -> str:
        """Name of the policy that ends after this many corrections."""
        first = self.name.partition("+")[0]
        return f"{first}+{corrections}" if corrections else first

    def prompts_for(self, mask: Mask, spacing: tuple[float, float], rng: np.random.Generator) -> list[PolicyPrompt]:
        """First prompts of the structure with this mask (slices, rows, columns), which is not empty.

        `spacing` is that of rows and columns in mm.
        """
        if self.kind == "click":
            index = largest_slice(mask)
            return [PolicyPrompt(index, points=inner_points(mask[index], spacing, self.prompts))]
        if self.percent is not None:
            indexes = share_of_slices(mask, self.percent)
        else:
            indexes = [largest_slice(mask)] if self.prompts == 1 else spread_slices(mask)
        return [PolicyPrompt(index, box=jittered_box(mask[index], rng)) for index in indexes]


def largest_slice(mask: Mask) -> int:
    """Index of the slice with the largest area of a mask (slices, rows, columns)."""
    return int(mask.sum(axis=(1, 2)).argmax())


def spread_slices(mask: Mask) -> list[int]:
    """Slices at a quarter, half and three quarters of the object's extent, the nearest ones where it is."""
    present = np.flatnonzero(mask.any(axis=(1, 2)))
    wanted = present[0] + np.array(_QUARTERS) * (present[-1] - present[0])
    return sorted({int(present[np.abs(present - place).argmin()]) for place in wanted})


def share_of_slices(mask: Mask, percent: int) -> list[int]:
    """Every so manyth of the slices that the object is on, in the middle of its part of them; at least one."""
    present = np.flatnonzero(mask.any(axis=(1, 2)))
    count = max(round(len(present) * percent / 100), 1)
    return [int(present[int((place + 0.5) * len(present) / count)]) for place in range(count)]


def tight_box(mask: Mask) -> Box:
    """Smallest box around the true pixels of a mask (rows, columns), which is not empty."""
    y, x = block_of(mask)
    return float(x.start), float(y.start), float(x.stop - 1), float(y.stop - 1)


def jittered_box(mask: Mask, rng: np.random.Generator) -> Box:
    """Box around a mask (rows, columns) as a hand draws it: edges off by up to 3 % of its sides, within the slice."""
    x0, y0, x1, y1 = tight_box(mask)
    width, height = x1 - x0 + 1, y1 - y0 + 1
    off = rng.uniform(-_JITTER, _JITTER, 4) * (width, height, width, height)
    rows, columns = mask.shape
    left, right = _side(x0 + off[0], x1 + off[2], columns)
    top, bottom = _side(y0 + off[1], y1 + off[3], rows)
    return left, top, right, bottom


def inner_points(mask: Mask, spacing: tuple[float, float], count: int) -> tuple[Point, ...]:
    """Points (x, y), each as far as can be from the border of a mask and from the points before it.

    The mask (rows, columns) is not empty; spacing is its row and column spacing in mm. There are fewer points if the
    mask has fewer pixels.
    """
    free = np.pad(mask, 1)
    points: list[Point] = []
    while free.any() and len(points) < count:
        depth = distance_mm(~free, spacing)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((float(x) - 1, float(y) - 1))
        free[y, x] = False
    return tuple(points)


def worst_slice(found: Mask, wanted: Mask, exact: set[int]) -> int | None:
    """Slice of the lowest Dice, of several the one with most wrong pixels; None if all are right.

    Masks are (slices, rows, columns). Slices in `exact` were given their true mask before and are left out.
    """
    wrong = (found ^ wanted).sum(axis=(1, 2))
    open_slices = [int(index) for index in np.flatnonzero(wrong) if int(index) not in exact]
    agreement = slice_dice(found, wanted)
    return min(open_slices, key=lambda index: (agreement[index], -wrong[index]), default=None)


def _side(low: float, high: float, size: int) -> tuple[float, float]:
    """Keep the two ends of a box's side on the slice, and a pixel apart."""
    low, high = max(low, 0.0), min(high, size - 1.0)
    if high - low >= 1:
        return low, high
    low = float(min(int(low), size - 2))
    return low, low + 1
