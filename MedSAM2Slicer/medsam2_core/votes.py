"""What three axes say of each voxel of one object, and the one mask that comes of it (Zhu et al., section 3.3).

The first axis is the one that the object was prompted along: its slices are those of the session. The paper aggregates
"voxel by voxel", by mean or majority.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from medsam2_core.answers import LOGIT_LIMIT, Answer
from medsam2_core.arrays import Mask
from medsam2_core.directions import THREE
from medsam2_core.image.region import Box, Region, mask_box
from medsam2_core.propagation import DrawnSlice

Floats = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float16]

SURE = 0.5
"""A probability above it is the object's."""

_MARGIN = 0.15  # of the object's extent, on each side: how far the other axes may draw beyond the first one's mask
_LEAST_MARGIN = 2  # voxels
_NOTHING = 4.5e-5  # a probability that no threshold lets through, as `answers.LOGIT_LIMIT`


@dataclass(frozen=True)
class Block:
    """A box of voxels: slices first <= index < last of a stack, `part` of each."""

    first: int
    last: int
    part: Region

    @staticmethod
    def around(answers: Mapping[int, Answer], shape: tuple[int, int]) -> Block | None:
        """The box around the masks on slices of `shape` rows and columns, with a margin; None if all are empty."""
        boxes = {index: [one.box for one in answer.drawn if one.box is not None] for index, answer in answers.items()}
        present = [index for index, found in boxes.items() if found]
        if not present:
            return None
        x0, y0, x1, y1 = np.array([box for found in boxes.values() for box in found]).T
        left, right = _widened(x0.min(), x1.max(), 0, shape[1])
        top, bottom = _widened(y0.min(), y1.max(), 0, shape[0])
        first, last = _widened(min(present), max(present), min(answers), max(answers) + 1)
        return Block(first, last, Region(left, top, right - left, bottom - top))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        return self.last - self.first, self.part.height, self.part.width

    def across(self, axis: int) -> Region:
        """The box's part of the slices along the rows (1) or columns (2), whose own rows are the stack's slices."""
        x0, width = ((self.part.x0, self.part.width), (self.part.y0, self.part.height))[axis - 1]
        return Region(x0, self.first, width, self.last - self.first)


class Votes:
    """Probabilities of an object's voxels: of the first axis, then summed over the others as their planes come.

    They take 7 bytes for each voxel of the block. `own` is (slices, rows, columns), 0 where nothing was drawn.
    """

    def __init__(self, answers: Mapping[int, Answer], block: Block, pixel_mm2: float) -> None:
        self.block, self._pixel_mm2 = block, pixel_mm2
        self.own: Probabilities = np.zeros(block.shape, np.float16)
        for index in range(block.first, block.last):
            if index in answers:
                self.own[index - block.first] = answers[index].logits_in(block.part).sigmoid().float().cpu().numpy()
        self._sum = np.zeros(block.shape, np.float32)  # over the other axes
        self._for = np.zeros(block.shape, np.uint8)  # of these, those that call a voxel the object's
        self._axes = 1

    def add(self, axis: int, planes: Mapping[int, Floats]) -> None:
        """Add what another axis says: planes (slices, what is left) by their place in the block along axis 1 or 2.

        Places between two planes get what lies between them; beyond the last ones nothing is said to be there.
        """
        for low, high in itertools.pairwise(sorted(planes)):
            for place in range(low, high):
                share = (place - low) / (high - low)
                self._count(axis, place, (1 - share) * planes[low] + share * planes[high])
        last = max(planes)
        self._count(axis, last, planes[last])
        self._axes += 1

    def _count(self, axis: int, place: int, plane: Floats) -> None:
        np.moveaxis(self._sum, axis, 0)[place] += plane
        np.moveaxis(self._for, axis, 0)[place] += plane > SURE

    def holds(self, index: int) -> bool:
        """Whether several axes have said something of a slice of the stack."""
        return self._axes > 1 and self.block.first <= index < self.block.last

    def answer(self, index: int, alone: Answer) -> Answer:
        """What the axes say together of a slice of the block, of which the first axis `alone` said this.

        It is the mean of their probabilities: mean Dice 0.523, by majority 0.521 (12 structures of a training CT).
        """
        place = index - self.block.first
        own = self.own[place].astype(np.float32)
        mean = (own + self._sum[place]) / self._axes
        mask = mean > SURE
        differing = self.differing(index, mask)
        seen = (own > SURE) | (self._for[place] > 0) | mask
        disagreement = float(differing[seen].mean()) if seen.any() else 0.0
        return Answer((self._drawn(mean, mask, alone, disagreement, differing),))

    def differing(self, index: int, mask: Mask) -> Floats:
        """For each pixel of a slice's mask (rows, columns of the block), the share of axes that say otherwise."""
        place = index - self.block.first
        agreeing = (self.own[place] > SURE) + self._for[place].astype(np.float32)
        differing: Floats = np.where(mask, self._axes - agreeing, agreeing) / np.float32(self._axes)
        return differing

    def _drawn(self, mean: Floats, mask: Mask, alone: Answer, disagreement: float, differing: Floats) -> DrawnSlice:
        """The mean as an answer, of the smallest region that holds all of it."""
        first, part = alone.drawn[0], self.block.part
        x0, y0, x1, y1 = (int(edge) for edge in mask_box(mean > _NOTHING) or (0, 0, 0, 0))
        shown = slice(y0, y1 + 1), slice(x0, x1 + 1)
        logits = torch.from_numpy(mean[shown].copy()).logit().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        return replace(
            first,
            logits=logits.to(first.logits.device),
            region=Region(part.x0 + x0, part.y0 + y0, x1 - x0 + 1, y1 - y0 + 1),
            confidence=alone.confidence,
            object_score=alone.object_score,
            direction=THREE,
            area_mm2=int(mask.sum()) * self._pixel_mm2,
            box=_moved(mask_box(mask), part),
            disagreement=disagreement,
            differing=(100 * differing[shown]).round().astype(np.uint8),
            views=tuple(region for one in alone.drawn for region in one.encoded_in),
        )


def _moved(box: Box | None, part: Region) -> Box | None:
    """A box counted from the corner of a part, counted from that of its slice."""
    return None if box is None else (box[0] + part.x0, box[1] + part.y0, box[2] + part.x0, box[3] + part.y0)


def _widened(low: float, high: float, least: int, end: int) -> tuple[int, int]:
    """Both ends of an extent low <= x <= high, with a margin, half-open and within least <= x < end."""
    margin = max(round(_MARGIN * (high - low + 1)), _LEAST_MARGIN)
    return max(int(low) - margin, least), min(int(high) + 1 + margin, end)
