"""Answers of a session: what each direction drew on a slice, and the one mask that comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medsam2_core.arrays import Bytes, Mask
from medsam2_core.image.region import Region
from medsam2_core.propagation import DrawnSlice

LOGIT_LIMIT = 10.0
"""Logits of two directions, and those averaged over slices, stay within this: probabilities of 0.00005 to 0.99995."""

# An answer that calls the object absent has a confidence near 0, though it may well be right. With 0.001 in place of
# 0.05 it never counted: Dice after a correction was 0.009 lower (464 first corrections on training volumes).
_LEAST_CONFIDENCE = 0.05
_LEAST_EVIDENCE = 1e-30  # mm2, far below a pixel's of any microscope: two directions without any count alike


@dataclass(frozen=True)
class SlicePrediction:
    """One object on one slice: mask logits (rows, columns), confidence, and the logit of being there at all.

    Confidence is the predicted IoU, 0 to 1; on tracked slices less, the farther off (`ModelConfig.trust_mm`).
    """

    logits: npt.NDArray[np.float32]
    confidence: float
    object_score: float

    @property
    def mask(self) -> Mask:
        """Pixels of the object (rows, columns)."""
        return self.logits > 0


@dataclass(frozen=True)
class SliceResult:
    """What is known of one object on one slice without its pixels.

    Direction: forward, backward, both, prompt, or three where three axes were asked. Their disagreement is the share of
    them that say otherwise, mean over all pixels that any of them calls the object's: 0 to 1, None if one was asked.
    """

    confidence: float
    object_score: float
    direction: str
    area_mm2: float
    disagreement: float | None = None


@dataclass(frozen=True)
class Answer:
    """All that was drawn of one object on one slice: once, or once from each of two prompted slices."""

    drawn: tuple[DrawnSlice, ...]

    def with_other(self, other: DrawnSlice) -> Answer:
        """Add what the other direction drew."""
        return Answer((*self.drawn, other))

    def without(self, direction: str) -> Answer:
        """What the other direction drew, if anything."""
        return Answer(tuple(one for one in self.drawn if one.direction != direction))

    @property
    def confidence(self) -> float:
        """Predicted IoU, the directions weighted as in `logits`."""
        return sum(share * one.confidence for share, one in zip(self._shares(), self.drawn, strict=True))

    @property
    def object_score(self) -> float:
        """Logit of being there, the directions weighted as in `logits`."""
        return sum(share * one.object_score for share, one in zip(self._shares(), self.drawn, strict=True))

    @property
    def disagreement(self) -> float | None:
        """How far the axes that gave the answer together disagree; None if it is that of one."""
        return self.drawn[0].disagreement if len(self.drawn) == 1 else None

    def differing(self, rows: int, columns: int) -> Bytes:
        """For each pixel (rows, columns) the percent of the axes that say otherwise; 0 if the answer is that of one."""
        whole = np.zeros((rows, columns), np.uint8)
        for one in self.drawn:
            if one.differing is not None:
                whole[one.region.window] = one.differing
        return whole

    @property
    def direction(self) -> str:
        """Where the answer came from."""
        return self.drawn[0].direction if len(self.drawn) == 1 else "both"

    def logits(self, rows: int, columns: int) -> Tensor:
        """Mask logits (rows, columns); of two directions those of the mean probability.

        A direction counts the more, the nearer its prompted slice is, the larger an area that one tells of, and the
        surer the model is. Without the area, a mask given where an organ thins out undid much of it (on a training CT
        1 of 26 first corrections lowered Dice by more than 0.01, with it none, and the mean rose by another 0.01).
        The mean is one of probabilities, since that of logits let a sure "outside" of one direction, right or wrong,
        erase what the other drew (11 of 464 first corrections on training volumes lowered Dice by more than 0.01, now
        8).
        """
        return self.logits_in(Region.whole(rows, columns))

    def logits_in(self, part: Region) -> Tensor:
        """As `logits`, of a part of the slice only."""
        pasted = [one.logits_in(part) for one in self.drawn]
        if len(pasted) == 1:
            return pasted[0]
        shares = zip(self._shares(), pasted, strict=True)
        probability = torch.stack([share * logits.sigmoid() for share, logits in shares]).sum(dim=0)
        return probability.logit().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)

    def predict(self, rows: int, columns: int) -> SlicePrediction:
        """Return the answer with its pixels."""
        logits = self.logits(rows, columns).float().cpu().numpy()
        return SlicePrediction(logits, self.confidence, self.object_score)

    def result(self, shape: tuple[int, int], spacing: tuple[float, float]) -> SliceResult:
        """Return the answer without its pixels, measured on a slice of that shape and spacing (mm)."""
        if len(self.drawn) == 1:
            area = self.drawn[0].area_mm2
        else:
            area = int((self.logits(*shape) > 0).sum()) * math.prod(spacing)
        return SliceResult(self.confidence, self.object_score, self.direction, area, self.disagreement)

    def _shares(self) -> Sequence[float]:
        if len(self.drawn) == 1:
            return (1.0,)
        weights = [_weight(one) for one in self.drawn]
        return [weight / sum(weights) for weight in weights]


def _weight(one: DrawnSlice) -> float:
    return max(one.confidence, _LEAST_CONFIDENCE) * max(one.evidence_mm2, _LEAST_EVIDENCE) / max(one.distance, 1)
