"""Answers of two directions on one slice, and the one mask that comes of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medsam2_core.answers import Answer
from medsam2_core.image.region import Region
from medsam2_core.propagation import DrawnSlice

pytestmark = pytest.mark.usefixtures("single_thread")


def drawn(value: float, distance: int, confidence: float, evidence_mm2: float = 16.0) -> DrawnSlice:
    logits, region, box = torch.full((4, 4), float(value)), Region.whole(4, 4), (0.0, 0.0, 3.0, 3.0)
    return DrawnSlice(logits, region, confidence, value, "forward", distance, 16.0, box, evidence_mm2)


def test_two_directions_are_blended_by_distance_confidence_and_evidence() -> None:
    def blended(*parts: DrawnSlice) -> float:
        return float(Answer(parts).logits(4, 4)[0, 0].sigmoid())

    def mean(share: float, one: float, other: float) -> Any:
        probability = torch.tensor([one, other]).sigmoid()
        return pytest.approx(float(share * probability[0] + (1 - share) * probability[1]))

    assert blended(drawn(6, 1, 0.8), drawn(-2, 1, 0.8)) == mean(0.5, 6, -2)
    assert blended(drawn(6, 1, 0.8), drawn(-2, 3, 0.8)) == mean(0.75, 6, -2)
    assert blended(drawn(6, 2, 0.9), drawn(-2, 2, 0.3)) == mean(0.75, 6, -2)
    assert blended(drawn(6, 2, 0.8, 90.0), drawn(-2, 2, 0.8, 30.0)) == mean(0.75, 6, -2)
    assert blended(drawn(6, 2, 0.8, 90e-12), drawn(-2, 2, 0.8, 30e-12)) == mean(0.75, 6, -2)
    assert blended(drawn(6, 2, 0.8, 0.0), drawn(-2, 2, 0.8, 0.0)) == mean(0.5, 6, -2)
    assert blended(drawn(8, 1, 0.9), drawn(-1024, 3, 0.9)) == mean(0.75, 8, -1024)
    answer = Answer((drawn(6, 1, 0.8), drawn(-2, 3, 0.4)))
    assert answer.confidence == pytest.approx((0.8 * 6 + 0.4) / 7)
    assert answer.object_score == pytest.approx((6 * 6 - 2) / 7)
    assert answer.result((4, 4), (2.0, 0.5)).area_mm2 == 16.0


def test_a_sure_outside_far_away_does_not_erase_what_a_near_direction_is_moderately_sure_of() -> None:
    near, far = drawn(2, 1, 0.8), drawn(-1024, 4, 0.8)
    assert (Answer((near, far)).logits(4, 4) > 0).all()  # four fifths of 0.88


def test_an_absence_counts_though_its_confidence_is_near_zero() -> None:
    near, far = drawn(-1024, 1, 0.0), drawn(6, 30, 0.3)
    assert (Answer((near, far)).logits(4, 4) < 0).all()


def test_answers_of_one_kind_stay_finite_when_they_are_blended() -> None:
    for value in (-1024, 1024):
        assert Answer((drawn(value, 1, 0.8), drawn(value, 1, 0.8))).logits(4, 4).unique().tolist() == [
            10 * (-1 if value < 0 else 1)
        ]
    assert (Answer((drawn(-1024, 3, 0.9),)).logits(4, 4) == -1024).all()  # one answer stays as the model gave it
