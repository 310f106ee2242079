"""What a person checks after a propagation: how sure the model was of each slice, and which to look at next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from medsam2_core.worker.results import ObjectAnswer, ObjectRecord

DOUBTFUL = 0.7
"""Slices of a lower confidence (predicted IoU) are worth a look."""


@dataclass(frozen=True)
class SliceReview:
    """One slice of a segment: confidence is the predicted IoU (0 to 1); state is prompted or propagated.

    The area is None while a propagation is still running.
    """

    sliceIndex: int
    confidence: float
    state: str
    areaMm2: float | None
    direction: str

    @property
    def doubtful(self) -> bool:
        """Whether the model itself would have it checked: not what the user prompted, nor a slice left empty."""
        return self.state == "propagated" and self.areaMm2 != 0 and self.confidence < DOUBTFUL


def reviewAnswer(sliceIndex: int, answer: ObjectAnswer, direction: str) -> SliceReview:
    """One object's answer on a slice; the direction is forward, backward or prompt."""
    return _review(sliceIndex, answer.confidence, direction, None)


def reviewRecord(record: ObjectRecord) -> dict[int, SliceReview]:
    """All slices of an object at the end of a propagation, by index."""
    return {
        one.slice_index: _review(one.slice_index, one.confidence, one.direction, one.area_mm2) for one in record.slices
    }


def nextDoubtful(slices: Mapping[int, SliceReview], after: int) -> int | None:
    """Return the next doubtful slice behind `after`, from the start again at the end; None if there is none."""
    doubtful = sorted(index for index, one in slices.items() if one.doubtful)
    return next((index for index in doubtful if index > after), doubtful[0] if doubtful else None)


def _review(index: int, confidence: float, direction: str, areaMm2: float | None) -> SliceReview:
    state = "prompted" if direction == "prompt" else "propagated"
    return SliceReview(index, confidence if math.isfinite(confidence) else 0.0, state, areaMm2, direction)
