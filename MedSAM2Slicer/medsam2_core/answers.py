"""Answers of a session: what each direction drew on a slice, and the one mask that comes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medsam2_core.propagation import DrawnSlice

Mask = npt.NDArray[np.bool_]

# Logits are blended within these bounds, so that a slice one direction calls absent (-1024) can still be outvoted.
_BLEND_LIMIT = 10.0


@dataclass(frozen=True)
class SlicePrediction:
    """One object on one slice: mask logits (rows, columns), predicted IoU, and the logit of being there at all."""

    logits: npt.NDArray[np.float32]
    confidence: float
    object_score: float

    @property
    def mask(self) -> Mask:
        """Pixels of the object (rows, columns)."""
        return self.logits > 0


@dataclass(frozen=True)
class SliceResult:
    """What is known of one object on one slice without its pixels. Direction: forward, backward, both or prompt."""

    confidence: float
    object_score: float
    direction: str
    area_mm2: float


@dataclass(frozen=True)
class Answer:
    """All that was drawn of one object on one slice: once, or once from each of two prompted slices."""

    drawn: tuple[DrawnSlice, ...]

    def with_other(self, other: DrawnSlice) -> Answer:
        """Add what the other direction drew."""
        return Answer((*self.drawn, other))

    @property
    def confidence(self) -> float:
        """Predicted IoU, the directions weighted as in `logits`."""
        return sum(share * one.confidence for share, one in zip(self._shares(), self.drawn, strict=True))

    @property
    def object_score(self) -> float:
        """Logit of being there, the directions weighted as in `logits`."""
        return sum(share * one.object_score for share, one in zip(self._shares(), self.drawn, strict=True))

    @property
    def direction(self) -> str:
        """Where the answer came from."""
        return self.drawn[0].direction if len(self.drawn) == 1 else "both"

    def logits(self, rows: int, columns: int) -> Tensor:
        """Mask logits (rows, columns). The nearer its prompted slice and the surer, the more a direction counts."""
        pasted = [one.region.paste(one.logits, rows, columns) for one in self.drawn]
        if len(pasted) == 1:
            return pasted[0]
        shares = zip(self._shares(), pasted, strict=True)
        return torch.stack([share * logits.clamp(-_BLEND_LIMIT, _BLEND_LIMIT) for share, logits in shares]).sum(dim=0)

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
        return SliceResult(self.confidence, self.object_score, self.direction, area)

    def _shares(self) -> Sequence[float]:
        if len(self.drawn) == 1:
            return (1.0,)
        weights = [max(one.confidence, 1e-3) / max(one.distance, 1) for one in self.drawn]
        return [weight / sum(weights) for weight in weights]
