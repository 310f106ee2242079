"""What three axes say together: the box they are asked in, their mean, and how far they disagree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsam2_core.answers import Answer
from medsam2_core.directions import THREE
from medsam2_core.image.region import Region, mask_box
from medsam2_core.propagation import DrawnSlice
from medsam2_core.votes import Block, Votes

ROWS, COLUMNS = 40, 50
SEEN = Region(0, 0, COLUMNS, ROWS)


def answer(mask: np.ndarray, logit: float = 5.0) -> Answer:
    """A slice on which the model draws this mask."""
    logits = torch.where(torch.from_numpy(mask), logit, -logit)
    return Answer((DrawnSlice(logits, SEEN, 0.8, 3.0, "forward", 2, float(mask.sum()), mask_box(mask), 1.0),))


def square(rows: slice = slice(10, 20), columns: slice = slice(20, 30)) -> np.ndarray:
    mask = np.zeros((ROWS, COLUMNS), dtype=bool)
    mask[rows, columns] = True
    return mask


def made(slices: int = 10) -> tuple[dict[int, Answer], Votes]:
    answers = {index: answer(square()) for index in range(slices)}
    block = Block.around(answers, (ROWS, COLUMNS))
    assert block is not None
    return answers, Votes(answers, block, pixel_mm2=2.0)


def test_the_box_has_a_margin_within_the_slices_there_are() -> None:
    answers = {3: answer(square() & False), 4: answer(square()), 5: answer(square(slice(0, 4), slice(45, 50)))}
    block = Block.around(answers, (ROWS, COLUMNS))
    assert block == Block(3, 6, Region(16, 0, 34, 23))
    assert block.shape == (3, 23, 34)
    assert block.across(1) == Region(16, 3, 34, 3)
    assert block.across(2) == Region(0, 3, 23, 3)


def test_without_a_mask_there_is_no_box() -> None:
    assert Block.around({1: answer(square() & False)}, (ROWS, COLUMNS)) is None


def test_axes_that_agree_leave_the_mask_as_it_was() -> None:
    answers, votes = made()
    for axis in (1, 2):
        own = np.moveaxis(votes.own, axis, 0).astype(np.float32)
        votes.add(axis, dict(enumerate(own)))
    together = votes.answer(4, answers[4])
    np.testing.assert_array_equal((together.logits(ROWS, COLUMNS) > 0).numpy(), square())
    (drawn,) = together.drawn
    assert (together.disagreement, together.direction, together.confidence) == (0.0, THREE, 0.8)
    assert (drawn.area_mm2, drawn.box) == (200.0, (20.0, 10.0, 29.0, 19.0))
    assert drawn.encoded_in == (SEEN,)


def test_two_sure_axes_outvote_one_and_their_disagreement_is_told() -> None:
    answers, votes = made()
    half = np.zeros(votes.own.shape, np.float32)
    place = votes.block.part
    half[:, 10 - place.y0 : 15 - place.y0, 20 - place.x0 : 30 - place.x0] = 1.0  # the upper half of the square
    for axis in (1, 2):
        votes.add(axis, dict(enumerate(np.moveaxis(half, axis, 0))))
    together = votes.answer(4, answers[4])
    np.testing.assert_array_equal((together.logits(ROWS, COLUMNS) > 0).numpy(), square(slice(10, 15)))
    assert together.disagreement == pytest.approx(0.5 / 3)  # one of three, on half of the pixels that any of them drew
    differing = votes.differing(4, square(slice(10, 15))[place.window])
    assert sorted({round(float(one), 3) for one in differing.ravel()}) == [0.0, 0.333]
    shown = together.differing(ROWS, COLUMNS)
    np.testing.assert_array_equal(shown, 33 * square(slice(15, 20)))
    assert not answers[4].differing(ROWS, COLUMNS).any()


def test_between_two_planes_lies_what_is_between_and_beyond_them_nothing() -> None:
    answers, votes = made()
    height, width = votes.block.part.height, votes.block.part.width
    low, high = (np.full((10, width), value, np.float32) for value in (1.0, 0.0))
    votes.add(1, {2: low, 6: high})
    mean = votes.answer(4, answers[4]).logits(ROWS, COLUMNS).sigmoid()
    rows = mean[votes.block.part.y0 : votes.block.part.y0 + height, votes.block.part.x0]  # outside the square
    assert rows.tolist()[1:8] == pytest.approx([0, 0.5, 0.375, 0.25, 0.125, 0, 0], abs=0.01)


def test_a_slice_outside_the_box_or_before_anybody_else_spoke_is_not_held() -> None:
    _, votes = made()
    assert not votes.holds(4)
    votes.add(1, {0: np.zeros((10, votes.block.part.width), np.float32)})
    assert votes.holds(4)
    assert not votes.holds(10)
