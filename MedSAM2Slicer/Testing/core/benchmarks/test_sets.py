"""Shuffled slices as sets of images, and what the document says of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import sets
from medsam2_core.training.cases import Case

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def case() -> Case:
    """A bright ball on slices 2 to 8 of 14."""
    k, j, i = np.indices((14, 64, 64))
    ball = ((k - 5) / 4) ** 2 + ((j - 30) / 14) ** 2 + ((i - 30) / 14) ** 2 < 1
    image = np.where(ball, 200, 100).astype(np.int16)
    image[:, 0, :40] = np.linspace(0, 200, 40)  # so that the window is what the fake model expects
    return Case("test", image, ball.astype(np.uint8), (2.0, 1.0, 1.0), {1: "ball"})


@pytest.mark.parametrize("absent", [False, True])
def test_a_set_is_shuffled_slices_of_one_organ(case: Case, absent: bool) -> None:
    one = sets.make_set(case, "ball", absent, seed=1)
    there = [bool(truth.any()) for truth in one.truths]
    assert there.count(True) == 7
    assert there.count(False) == (3 if absent else 0)
    assert list(one.places) != sorted(one.places)
    assert all(np.array_equal(image, case.image[place]) for image, place in zip(one.images, one.places, strict=True))
    assert one.places[one.prompted] == 5
    assert one.box == pytest.approx((17, 17, 43, 43), abs=1)


def test_every_way_is_scored_by_image(fakes: ModuleType, case: Case) -> None:
    one = sets.make_set(case, "ball", absent=True, seed=1)
    scores = {name: sets.score(way, fakes.FakeModel(), one) for name, way in sets.WAYS.items()}
    for name in ("any order", "a box on each image", "sorted as a volume", "arrival, recency"):
        assert scores[name].dice > 0.8, name
        assert scores[name].empty == 1.0, name
    assert scores["a box on each image"].boxes == 7
    assert scores["any order"].boxes == 1


def test_a_way_that_draws_nothing_is_told_so(case: Case) -> None:
    def nothing(_model: Any, one: sets.Set) -> tuple[list[Any], list[float]]:
        return [np.zeros(truth.shape, bool) for truth in one.truths], [0.5] * len(one.truths)

    found = sets.score(nothing, None, sets.make_set(case, "ball", absent=True, seed=1))
    assert (found.dice, found.empty) == (0.0, 1.0)
    assert np.isnan(found.honesty)


def test_the_document_has_a_table_for_each_kind_of_set() -> None:
    score = sets.Score(0.8, float("nan"), 1, 0.5)
    scores = {
        task: {name: sets.Score(0.7 if task.organ == "liver" else 0.9, 0.5, 1, 0.5) for name in sets.WAYS}
        for task in sets.tasks(quick=False)
        if task.case is None
    }
    text = sets.document(scores, "m", "0" * 64, quick=False)
    assert text.count("| any order |") == 2
    assert "0.860 | 0.700 (liver) | 50% | 0.50 | 1 |" in text
    alone = next(task for task in scores if not task.absent)
    assert "0.800 | 0.800 (spleen) |  | 0.50 |" in sets.document(
        {alone: dict.fromkeys(sets.WAYS, score)}, "m", "0", quick=True
    )
