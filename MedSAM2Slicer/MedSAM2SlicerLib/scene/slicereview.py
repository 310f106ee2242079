"""One slice of a segment: where its mask comes from, how sure the model is of it, and what the user said of it."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from typing import Any

from medsam2_core.worker.results import ObjectAnswer, ObjectRecord

PROMPTED, EDITED, PROPAGATED = "prompted", "edited", "propagated"
ACCEPTED, LOCKED = "accepted", "locked"
STALE = "stale"
STATES = (PROMPTED, EDITED, PROPAGATED, ACCEPTED, LOCKED, STALE)

_ORIGINS, _MARKS = (PROMPTED, EDITED, PROPAGATED), ("", ACCEPTED, LOCKED)

# A slice is in doubt if the model is this much less sure of it than of the segment's middle slice (predicted IoU; a
# model's own level differs from model to model), or if its mask shares less than half with its neighbor's (Dice).
CONFIDENCE_DROP = 0.15
LARGE_CHANGE = 0.5
# Or if the axes of a run along all three disagree on this share of it. Of the slices that confidence leaves alone 54 %
# were wrong (Dice under 0.7), of those among them with so much disagreement 83 % (16 structures of a training CT).
LARGE_DISAGREEMENT = 0.25


@dataclass(frozen=True)
class SliceReview:
    """One slice of a segment.

    `confidence` is the predicted IoU, 0 to 1. `origin` says where the mask comes from: prompted, edited (by another
    tool) or propagated. `mark` is what the user said: accepted, locked or nothing. The area (mm2) is None while a
    propagation is still running. `change` is 1 - Dice with the mask of the slice the propagation came from.
    `disagreement` is that of three axes, None if one was followed; see `medsam2_core.answers.SliceResult`.
    """

    sliceIndex: int
    confidence: float
    origin: str
    areaMm2: float | None
    direction: str
    change: float = 0.0
    mark: str = ""
    stale: bool = False
    disagreement: float | None = None

    @property
    def state(self) -> str:
        """The one word to show, of `STATES`."""
        return self.mark or (STALE if self.stale else self.origin)

    @property
    def isAnchor(self) -> bool:
        """Whether propagations start and end here."""
        return self.isKept or self.origin == PROMPTED

    @property
    def isKept(self) -> bool:
        """Whether the mask is the user's, which no propagation may change."""
        return bool(self.mark) or self.origin == EDITED


def reviewAnswer(sliceIndex: int, answer: ObjectAnswer, direction: str, change: float = 0.0) -> SliceReview:
    """One object's answer on a slice; the direction is forward, backward or prompt."""
    return SliceReview(sliceIndex, _finite(answer.confidence), _origin(direction), None, direction, change)


def reviewRecord(record: ObjectRecord) -> dict[int, SliceReview]:
    """All slices of an object at the end of a propagation, by index."""
    return {
        one.slice_index: SliceReview(
            one.slice_index,
            _finite(one.confidence),
            _origin(one.direction),
            one.area_mm2,
            one.direction,
            disagreement=one.disagreement,
        )
        for one in record.slices
    }


def doubt(review: SliceReview, typical: float) -> float:
    """How doubtful a slice is; from 1 on it is worth a look."""
    disagreement = review.disagreement or 0.0
    drop = (typical - review.confidence) / CONFIDENCE_DROP
    return max(drop, review.change / LARGE_CHANGE, disagreement / LARGE_DISAGREEMENT)


def _origin(direction: str) -> str:
    return PROMPTED if direction == "prompt" else PROPAGATED


def _finite(confidence: float) -> float:
    return confidence if math.isfinite(confidence) else 0.0


def readReview(stored: Any) -> SliceReview:
    """Read a slice from JSON. Raises ValueError, TypeError or KeyError for anything else."""
    names = [field.name for field in fields(SliceReview) if field.name in stored or field.default is MISSING]
    review = SliceReview(**{name: stored[name] for name in names})
    fine = (
        isinstance(review.sliceIndex, int)
        and review.origin in _ORIGINS
        and review.mark in _MARKS
        and isinstance(review.direction, str)
        and isinstance(review.stale, bool)
        and all(isinstance(value, int | float) for value in (review.confidence, review.change))
        and all(one is None or isinstance(one, int | float) for one in (review.areaMm2, review.disagreement))
    )
    if not fine:
        raise ValueError(f"not a slice: {stored!r}")
    return review
