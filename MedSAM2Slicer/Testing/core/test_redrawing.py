"""Masks drawn again from kept logits: another threshold, smoothing across slices, and what neither changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import medsam2_core as m2
from medsam2_core.answers import Answer
from medsam2_core.image.region import Region
from medsam2_core.propagation import DrawnSlice
from medsam2_core.redrawing import FinalSlices, draw_labels

Make = Callable[..., m2.VolumeSession]
SHAPE = (6, 8)

pytestmark = pytest.mark.usefixtures("single_thread")


def answer(value: float, region: Region | None = None) -> Answer:
    """An object drawn with one logit all over a region, on one slice."""
    region = region or Region.whole(*SHAPE)
    logits = torch.full((region.height, region.width), float(value))
    return Answer((DrawnSlice(logits, region, 0.9, value, "forward", 1, 1.0, box=None, evidence_mm2=1.0),))


def values(final: FinalSlices) -> dict[int, float]:
    """The logit of the first pixel of each slice."""
    return {index: float(logits[0, 0]) for index, logits in final.logits()}


# Smoothing


def test_without_smoothing_each_slice_is_its_own() -> None:
    answers = {2: answer(-1024), 3: answer(30), 5: answer(-2)}
    assert values(FinalSlices(answers, {}, SHAPE, 0.0)) == {2: -1024, 3: 30, 5: -2}


def test_smoothing_is_a_gaussian_over_the_known_slices() -> None:
    answers = {2: answer(4), 3: answer(-6), 4: answer(4), 7: answer(-2)}
    near, far = np.exp(-0.5), np.exp(-0.5 * 2**2)
    found = values(FinalSlices(answers, {}, SHAPE, 1.0))
    assert found[3] == pytest.approx((near * 4 - 6 + near * 4) / (1 + 2 * near), abs=1e-5)
    assert found[2] == pytest.approx((4 - near * 6 + far * 4) / (1 + near + far), abs=1e-5)
    last = np.exp(-0.5 * 3**2)
    assert found[7] == pytest.approx((last * 4 - 2) / (1 + last), abs=1e-5)  # slices 5 and 6 are unknown


def test_one_slice_that_calls_the_object_absent_is_outvoted() -> None:
    answers = {index: answer(-1024 if index == 3 else 9) for index in range(7)}
    assert values(FinalSlices(answers, {}, SHAPE, 1.0))[3] > 0


def test_a_given_mask_counts_and_comes_out_as_it_is() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 3:5] = True
    final = FinalSlices({index: answer(-3) for index in (1, 2, 3)}, {2: mask}, SHAPE, 1.0)
    masks = dict(final.masks(-6.9))
    np.testing.assert_array_equal(masks[2], mask)
    np.testing.assert_array_equal(dict(final.masks(6.9))[2], mask)
    drawn = dict(final.masks(0.0))
    np.testing.assert_array_equal(drawn[1], mask)  # -3 against a certain neighbor
    empty = FinalSlices({1: answer(3), 2: answer(9)}, {2: mask & False}, SHAPE, 1.0)
    assert values(empty)[1] < 0


def test_only_the_part_that_was_seen_is_worked_on() -> None:
    answers = {1: answer(5, Region(2, 1, 3, 2)), 2: answer(5, Region(4, -3, 9, 5))}
    final = FinalSlices(answers, {}, SHAPE, 0.0)
    assert final.part == Region(2, 0, 6, 3)
    masks = dict(final.masks(0.0))
    assert np.argwhere(masks[1]).tolist() == [[row, column] for row in (1, 2) for column in (2, 3, 4)]
    assert masks[2].sum() == 2 * 4
    assert masks[2][:2, 4:].all()


def test_the_larger_logit_gets_the_label_and_nothing_drawn_gets_none() -> None:
    labels = np.zeros((3, *SHAPE), np.uint8)
    one = FinalSlices({0: answer(2), 1: answer(1, Region(0, 0, 4, 6))}, {}, SHAPE, 0.0)
    two = FinalSlices({1: answer(3, Region(2, 0, 4, 6))}, {}, SHAPE, 0.0)
    draw_labels(labels, {5: one, 7: two, 9: FinalSlices({}, {}, SHAPE, 0.0)}, 0.0)
    assert (labels[0] == 5).all()
    assert labels[1][0].tolist() == [5, 5, 7, 7, 7, 7, 0, 0]
    assert not labels[2].any()


# In a session, with a real model


@pytest.fixture
def session(tiny: m2.model.SAM2, discs: Any) -> m2.VolumeSession:
    """Object 1 with a box on slice 2 and a mask on slice 5, propagated; slices are 2 mm apart."""
    session = m2.VolumeSession(tiny, discs.volume[:8], spacing=(2.0, 1.0, 1.0), window=discs.window)
    session.add_box(1, 2, (10, 8, 40, 40))
    session.add_mask(1, 5, discs.truth["dark"][5])
    list(session.propagate())
    return session


def drawn(session: m2.VolumeSession, *look: float) -> dict[int, np.ndarray]:
    return {step.slice_index: step.masks[1] for step in session.redraw(1, *look)}


def test_a_threshold_cuts_the_probability(session: m2.VolumeSession) -> None:
    encoded = session.encoder_runs
    probability = 1 / (1 + np.exp(-session.predict_slice(3)[1].logits.astype(float)))
    threshold = float(np.clip(np.median(probability[probability > 0]), 0.01, 0.99))
    found = drawn(session, threshold)
    np.testing.assert_array_equal(found[3], probability > threshold)
    assert sorted(found) == [0, 1, 2, 3, 4, 6, 7]
    np.testing.assert_array_equal(session.mask(1, threshold)[3], found[3])
    assert session.encoder_runs == encoded


def test_slices_come_in_order_and_say_where_they_came_from(session: m2.VolumeSession) -> None:
    steps = list(session.redraw(1, 0.3))
    results = session.results(1)
    assert [(step.slice_index, step.direction) for step in steps] == [
        (index, one.direction) for index, one in results.items() if index != 5
    ]
    assert [step.confidence[1] for step in steps] == [results[step.slice_index].confidence for step in steps]


@pytest.mark.parametrize("look", [{}, {"smoothing_mm": 3.0}, {"largest": "3d"}])
def test_the_slice_that_is_looked_at_comes_first(session: m2.VolumeSession, look: dict[str, Any]) -> None:
    plain = {step.slice_index: step.masks[1] for step in session.redraw(1, **look)}
    found = {step.slice_index: step.masks[1] for step in session.redraw(1, **look, near=4)}
    assert list(found) == [4, 0, 1, 2, 3, 6, 7]
    for index, mask in plain.items():
        np.testing.assert_array_equal(found[index], mask)
    assert list(plain) == sorted(plain)


def test_smoothing_is_in_mm_and_keeps_given_slices(session: m2.VolumeSession, discs: Any) -> None:
    given = discs.truth["dark"][5]
    plain, smooth = session.mask(1), session.mask(1, smoothing_mm=3.0)
    np.testing.assert_array_equal(smooth[5], given)
    assert (plain != smooth).any()
    np.testing.assert_array_equal(smooth[4], drawn(session, 0.5, 3.0)[4])
    known = {index: session._objects[1].answers()[index] for index in session._objects[1].answers()}
    final = FinalSlices(known, {5: given}, (64, 64), 1.5)
    np.testing.assert_array_equal(dict(final.masks(0.0))[3], smooth[3])


def test_nothing_kept_changes(session: m2.VolumeSession) -> None:
    before, results = session.mask(1), session.results(1)
    for look in ((0.9, 0.0), (0.2, 4.0), (0.5, 0.0)):
        last = drawn(session, *look)
    assert session.results(1) == results
    np.testing.assert_array_equal(session.mask(1), before)
    for index, mask in last.items():
        np.testing.assert_array_equal(mask, before[index])
    logits = session.predict_slice(4)[1].logits
    list(session.propagate())
    np.testing.assert_array_equal(session.predict_slice(4)[1].logits, logits)


def test_what_was_not_propagated_cannot_be_drawn_again(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    session.predict_slice(4)
    with pytest.raises(m2.PromptError, match="Propagate again first"):
        session.redraw(1)
    with pytest.raises(m2.PromptError, match="Object 7 has no prompt"):
        session.redraw(7)


def test_a_propagation_that_went_nowhere_can_be_drawn_again(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    list(session.propagate(first=4, last=5))
    assert [step.slice_index for step in session.redraw(1, 0.9)] == [4]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5, 2.0, float("nan"), "even"])
def test_a_threshold_that_is_no_probability(session: m2.VolumeSession, threshold: float) -> None:
    for draw in (lambda: session.redraw(1, threshold), lambda: session.mask(1, threshold)):
        with pytest.raises(m2.PromptError, match=r"give a probability from 0.001 to 0.999"):
            draw()


@pytest.mark.parametrize("smoothing", [-1.0, float("nan"), float("inf"), 1000.1, 1e9, "wide", None])
def test_a_smoothing_that_is_none(session: m2.VolumeSession, smoothing: float) -> None:
    for draw in (session.redraw, session.mask):
        with pytest.raises(m2.PromptError, match="0 mm or more, up to 1000 mm"):
            draw(1, 0.5, smoothing)
    with pytest.raises(m2.PromptError, match="0 mm or more, up to 1000 mm"):
        session.labelmap(0.5, smoothing)


def test_a_smoothing_far_beyond_the_volume_ends(make: Make, discs: Any) -> None:
    session = make(spacing=(1e-6, 1.0, 1.0))
    discs.prompt(session, "box", "dark", 4)
    list(session.propagate())
    assert len(list(session.redraw(1, smoothing_mm=1000))) == 11
