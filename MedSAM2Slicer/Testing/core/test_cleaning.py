"""Parts that stay and holes that are filled, when masks are drawn from kept logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import medsam2_core as m2
from medsam2_core.answers import Answer
from medsam2_core.cleaning import Cleaning, CleanSlices
from medsam2_core.image.region import Region
from medsam2_core.prompts import SlicePrompt
from medsam2_core.propagation import DrawnSlice
from medsam2_core.redrawing import FinalSlices, draw_labels

SHAPE = (7, 12)
BIG, SMALL, TINY = np.s_[1:6, 1:6], np.s_[2:5, 8:11], np.s_[6:7, 0:1]

pytestmark = pytest.mark.usefixtures("single_thread")


def answer(*places: Any) -> Answer:
    """An object that is in these places of a slice, with a hole in the middle of the big one."""
    logits = torch.full(SHAPE, -4.0)
    for place in places:
        logits[place] = 4.0
    logits[3, 3] = -4.0
    return Answer((DrawnSlice(logits, Region.whole(*SHAPE), 0.9, 4.0, "forward", 1, 1.0, box=None, evidence_mm2=1.0),))


ANSWERS = {2: answer(BIG, SMALL), 3: answer(BIG), 4: answer(SMALL, TINY)}


def final(given: dict[int, Any] | None = None) -> FinalSlices:
    return FinalSlices(ANSWERS, given or {}, SHAPE, 0.0)


def shown(cleaning: Cleaning, prompts: dict[int, SlicePrompt] | None = None) -> dict[int, tuple[bool, bool, bool]]:
    """Whether the big, the small and the tiny part are there, by slice."""
    masks = dict(CleanSlices(final(), 0.0, cleaning, prompts or {}).masks())
    return {index: (bool(mask[1, 1]), bool(mask[2, 8]), bool(mask[6, 0])) for index, mask in masks.items()}


def test_all_parts_stay() -> None:
    assert shown(Cleaning()) == {2: (True, True, False), 3: (True, False, False), 4: (False, True, True)}


def test_the_largest_part_of_each_slice() -> None:
    assert shown(Cleaning("slice")) == {2: (True, False, False), 3: (True, False, False), 4: (False, True, False)}


def test_the_largest_part_of_all_slices() -> None:
    assert shown(Cleaning("3d")) == {2: (True, False, False), 3: (True, False, False), 4: (False, False, False)}


@pytest.mark.parametrize(
    ("prompt", "kept"),
    [
        (SlicePrompt(points=((9.2, 3.0, 1),)), (False, True)),
        (SlicePrompt(points=((2.0, 2.0, 1), (9.2, 3.0, 0))), (True, False)),
        (SlicePrompt(box=(0.0, 0.0, 5.0, 5.0)), (True, False)),
        (SlicePrompt(points=((7.0, 0.0, 1),)), (True, True)),  # beside all parts: nothing to choose by
        (SlicePrompt(points=((11.5, 3.0, 1), (2.0, 2.0, 1))), (True, False)),  # the first on the slice's very edge
    ],
)
def test_the_parts_with_a_prompt(prompt: SlicePrompt, kept: tuple[bool, bool]) -> None:
    assert shown(Cleaning("prompt"), {2: prompt})[2] == (*kept, False)


def test_a_mask_as_prompt_keeps_the_parts_it_touches() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2, 9] = True
    assert shown(Cleaning("prompt"), {2: SlicePrompt(mask=mask)})[2] == (False, True, False)


def test_holes() -> None:
    masks = dict(CleanSlices(final(), 0.0, Cleaning(fill_holes="on")).masks())
    assert [bool(mask[3, 3]) for mask in masks.values()] == [True, True, False]  # on slice 4 it is not inside anything


def test_given_masks_count_and_come_out_as_they_are() -> None:
    given = np.zeros(SHAPE, bool)
    given[0, 11] = given[2, 9] = True
    masks = dict(CleanSlices(final({3: given}), 0.0, Cleaning("3d", "on")).masks())
    np.testing.assert_array_equal(masks[3], given)
    assert [bool(masks[index][2, 9]) for index in (2, 4)] == [False, False]
    assert masks[2][1, 1]


def test_labels_are_those_of_the_cleaned_masks() -> None:
    clean = CleanSlices(final(), 0.0, Cleaning("3d", "on"))
    labels = np.zeros((6, *SHAPE), np.uint8)
    draw_labels(labels, {5: clean}, 0.0)
    for index, mask in clean.masks():
        np.testing.assert_array_equal(labels[index] == 5, mask)


def test_a_filled_hole_is_the_object_s_that_is_there() -> None:
    hole = torch.full(SHAPE, -4.0)
    hole[3, 3] = 2.0
    other = DrawnSlice(hole, Region.whole(*SHAPE), 0.9, 4.0, "forward", 1, 1.0, box=None, evidence_mm2=1.0)
    inside = CleanSlices(FinalSlices({2: Answer((other,))}, {}, SHAPE, 0.0), 0.0, Cleaning())
    labels = np.zeros((6, *SHAPE), np.uint8)
    draw_labels(labels, {5: CleanSlices(final(), 0.0, Cleaning(fill_holes="on")), 6: inside}, 0.0)
    assert labels[2, 3, 3] == 6
    assert labels[3, 3, 3] == 5


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(m2.PromptError, match="choose off, slice, 3d, prompt"):
        Cleaning("biggest")
    with pytest.raises(m2.PromptError, match="choose off, on"):
        Cleaning(fill_holes="yes")


def test_a_session_draws_cleaned_masks_everywhere(tiny: m2.model.SAM2, discs: Any) -> None:
    session = m2.VolumeSession(tiny, discs.volume[:8], window=discs.window)
    session.add_box(1, 2, (10, 8, 40, 40))
    list(session.propagate())
    plain, looks = session.mask(1), {"largest": "3d", "fill_holes": "on"}
    clean = session.mask(1, **looks)
    assert (plain != clean).any()
    np.testing.assert_array_equal(session.labelmap(**looks) == 1, clean)
    for step in session.redraw(1, **looks):
        np.testing.assert_array_equal(step.masks[1], clean[step.slice_index])
