"""One axis or three: what is measured, how wrong slices are found, and what the document says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import directions
from ablation import Volume
from direction_costs import STEPS, Cost
from measuring import Source
from medsam2_core.directions import ONE, THREE
from medsam2_core.training.cases import Structure
from medsam2_core.training.evaluation import Row, SliceScore

VOLUME = Volume("Chest CT, never trained on", Source("starter"), tuple(Structure(n, str(n), n) for n in range(1, 19)))


def cost(slices: int, seconds: float) -> Cost:
    return Cost(dict.fromkeys(STEPS, slices), seconds)


COSTS = [{ONE: cost(10, 2.0), THREE: cost(28, 6.0)}, {ONE: cost(20, 1.0), THREE: cost(50, 2.0)}]


def told(row: Row, seconds: float, *slices: SliceScore) -> Row:
    return replace(row, seconds=seconds, slices=slices)


def test_both_ways_take_turns_on_structures_of_all_sizes() -> None:
    jobs = directions.make_jobs(VOLUME)
    assert [job.settings.directions for job in jobs] == [ONE, THREE] * 3
    assert [one.label for one in jobs[0].structures] == [1, 4, 7, 10, 13, 16]
    assert all(one.structures == other.structures for one, other in zip(jobs[::2], jobs[1::2], strict=True))
    measured = [[(job, one.label) for one in job.structures] for job in jobs]
    rows = directions.by_way(VOLUME, jobs, measured)  # type: ignore[arg-type]
    assert sorted(label for _, label in rows[ONE]) == [one.label for one in VOLUME.structures]
    assert [label for _, label in rows[ONE]] == [label for _, label in rows[THREE]]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_probability_to_tell_a_pair_apart(slices: list[tuple[int, bool]]) -> None:
    doubt, wrong = np.array([d for d, _ in slices], float), np.array([w for _, w in slices])
    if not wrong.any() or wrong.all():
        return
    pairs = [(one > other) + (one == other) / 2 for one in doubt[wrong] for other in doubt[~wrong]]
    assert directions.area_under_curve(doubt, wrong) == pytest.approx(np.mean(pairs))


def test_equal_values_share_their_ranks() -> None:
    assert directions.ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_wrong_slices_are_told_by_confidence_disagreement_and_both(row: Callable[..., Row]) -> None:
    slices = [
        SliceScore(0, 0.9, 0.8, 0.0),
        SliceScore(1, 0.8, 0.9, 0.3),
        SliceScore(2, 0.2, 0.1, 0.2),
        SliceScore(3, 0.1, 0.5, 0.4),
        SliceScore(4, 0.0, 0.0),  # prompted: nobody else was asked
    ]
    found = directions.find_wrong([told(row("a", 0.5), 1.0, *slices[:2]), told(row("b", 0.5), 1.0, *slices[2:])])
    assert found == directions.Finding(1.0, 0.75, 0.875, wrong=2, right=2)
    assert directions.find_wrong([told(row("a", 0.5), 1.0, *slices[:2])]) is None


def test_the_strip_marks_by_confidence_first(row: Callable[..., Row]) -> None:
    confident = [SliceScore(n, 0.9, 0.9, 0.1) for n in range(3)]
    unsure, divided = SliceScore(4, 0.7, 0.1, 0.4), SliceScore(5, 0.9, 0.2, 0.3)
    found = directions.marks([told(row("a", 0.5), 1.0, *confident, unsure, divided), told(row("b", 0.5), 1.0)])
    assert found == directions.Marks([True], [True], [False] * 3)


def test_the_document(row: Callable[..., Row]) -> None:
    one = [told(row(name, dice), 1.0) for name, dice in (("a", 0.5), ("b", 0.6), ("c", 0.7), ("d", 0.8))]
    right, wrong = SliceScore(0, 0.5, 0.9, 0.1), SliceScore(1, 0.5, 0.1, 0.4)
    three = [
        told(row(name, dice), 2.5, right, wrong) for name, dice in (("a", 0.6), ("b", 0.6), ("c", 0.66), ("d", 0.9))
    ]
    text = directions.document("origin", [VOLUME], {VOLUME.title: {ONE: one, THREE: three}}, COSTS)
    assert "| one | 0.650 | 0.650 |  |  |  |" in text
    assert "| three | 0.690 | 0.690 | +0.040 | 2 | 1 |" in text
    assert "Best 2 with three axes: d (0.80 to 0.90), a (0.50 to 0.60)." in text
    assert "Worst 2: c (0.70 to 0.66), b (0.60 to 0.60)." in text
    assert "| three axes | 0.500 | 1.000 | 1.000 | 4 | 4 |" in text
    assert "+0.040 (Chest CT), for 2.0 to 3.0 times the processor time (2 structures of the last volume)." in text
    assert "| processor time | 2.00 | 2.50 | 3.00 |" in text
    assert "Three axes are worth that." in text
    assert "ranks wrong slices better than confidence alone" in text
    assert "| further ones by disagreement | 4 | 100% |" in text
    assert "| not marked | 4 | 0% |" in text


def test_what_does_not_help_is_said_not_to(row: Callable[..., Row]) -> None:
    one = [told(row("a", 0.5), 1.0)]
    slices = SliceScore(0, 0.9, 0.9, 0.3), SliceScore(1, 0.1, 0.1, 0.2)
    text = directions.conclusion({"V, x": {ONE: one, THREE: [told(row("a", 0.5), 3.0, *slices)]}}, COSTS)
    assert "One axis stays the default." in text
    assert "does not rank wrong slices better on both volumes than confidence alone" in text
