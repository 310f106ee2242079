"""Prompts of one slice: what is accepted, what is not, and where the model sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medsam2_core.errors import PromptError
from medsam2_core.image.region import Region
from medsam2_core.model.prompt_encoder import BOX_END, BOX_START
from medsam2_core.prompts import SlicePrompt, mask_prompt

SHAPE = (30, 50)  # rows, columns
inside = st.tuples(st.floats(-0.5, 49.5), st.floats(-0.5, 29.5))
outside = st.one_of(
    st.tuples(st.floats(max_value=-0.51), st.floats(0, 29)),
    st.tuples(st.floats(min_value=49.51), st.floats(0, 29)),
    st.tuples(st.floats(0, 49), st.floats(max_value=-0.51)),
    st.tuples(st.floats(0, 49), st.floats(min_value=29.51)),
    st.just((float("nan"), 1.0)),
    st.just((1.0, float("nan"))),
)


@given(st.lists(st.tuples(inside, st.integers(0, 1)), min_size=1, max_size=4), st.integers(1, 3))
def test_points_add_up_in_order(rows: list[tuple[tuple[float, float], int]], parts: int) -> None:
    prompt = SlicePrompt()
    for start in range(0, len(rows), parts):
        chunk = rows[start : start + parts]
        prompt = prompt.with_points([place for place, _ in chunk], [label for _, label in chunk], SHAPE)
    assert prompt.points == tuple((x, y, label) for (x, y), label in rows)


@given(outside, st.integers(0, 1))
def test_points_outside_the_slice_are_refused(place: tuple[float, float], label: int) -> None:
    with pytest.raises(PromptError, match="outside the slice: x goes from 0 to 49, y to 29"):
        SlicePrompt().with_points([(3, 3), place], [1, label], SHAPE)


@given(inside, inside)
def test_a_box_has_its_corners_in_order_or_is_refused_as_empty(a: tuple[float, float], b: tuple[float, float]) -> None:
    wide, high = abs(a[0] - b[0]) >= 1, abs(a[1] - b[1]) >= 1
    if not (wide and high):
        with pytest.raises(PromptError, match="is empty"):
            SlicePrompt().with_box((*a, *b), SHAPE)
        return
    box = SlicePrompt().with_box((*a, *b), SHAPE).box
    assert box == (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
    assert SlicePrompt().with_box((*b, *a), SHAPE).box == box


@given(outside)
def test_boxes_outside_the_slice_are_refused(place: tuple[float, float]) -> None:
    with pytest.raises(PromptError):
        SlicePrompt().with_box((20, 20, *place), SHAPE)


def test_a_later_box_replaces_an_earlier_one_and_points_stay() -> None:
    prompt = SlicePrompt().with_points([(1, 2)], [0], SHAPE).with_box((1, 1, 9, 9), SHAPE)
    prompt = prompt.with_box((2, 2, 8, 8), SHAPE)
    assert prompt.box == (2, 2, 8, 8)
    assert prompt.points == ((1, 2, 0),)


@given(st.lists(st.tuples(inside, st.integers(0, 1)), min_size=1, max_size=4), st.booleans())
def test_the_model_gets_the_box_first_then_the_points(rows: list[tuple[tuple[float, float], int]], boxed: bool) -> None:
    prompt = SlicePrompt().with_points([place for place, _ in rows], [label for _, label in rows], SHAPE)
    if boxed:
        prompt = prompt.with_box((4, 5, 14, 25), SHAPE)
    points, labels = prompt.model_points(Region(-10, 5, 100, 50), 200)
    assert labels.tolist() == [[BOX_START, BOX_END] * boxed + [label for _, label in rows]]
    wanted = [(4, 5), (14, 25)] * boxed + [place for place, _ in rows]
    expected = [((x + 10) * 2, (y - 5) * 4) for x, y in wanted]
    torch.testing.assert_close(points[0], torch.tensor(expected, dtype=torch.float32), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_a_mask_of_any_type_is_taken_as_a_copy(dtype: type) -> None:
    mask = np.zeros(SHAPE, dtype)
    mask[3:9, 4:8] = 2
    prompt = mask_prompt(mask, SHAPE)
    mask[:] = 0
    assert prompt.mask is not None
    assert prompt.mask.dtype == bool
    assert prompt.mask.sum() == 24


@pytest.mark.parametrize("outside", [np.nan, np.inf, -np.inf, 0.1, -0.5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_mask_of_fractions_is_to_be_cut_first(outside: float, dtype: type) -> None:
    mask = np.full(SHAPE, outside, dtype)
    mask[3:9, 4:8] = 1
    with pytest.raises(PromptError, match=r"fractions or NaN: cut it at a threshold first, such as mask > 0.5"):
        mask_prompt(mask, SHAPE)


def test_lists_are_taken_too() -> None:
    prompt = mask_prompt([[0, 1, 0], [0, 1, 1]], (2, 3))
    assert prompt.mask.tolist() == [[False, True, False], [False, True, True]]
    assert SlicePrompt().with_points([[1, 2]], np.array([True]), SHAPE).points == ((1, 2, 1),)
    assert SlicePrompt().with_box(np.array([9, 8, 2, 3], np.uint8), SHAPE).box == (2, 3, 9, 8)


@pytest.mark.parametrize("mask", [None, "mask", [[1], [1, 2]], np.full(SHAPE, None), np.full(SHAPE, 1j)])
def test_what_is_no_mask_is_refused(mask: Any) -> None:
    with pytest.raises(PromptError, match="not an array of numbers"):
        mask_prompt(mask, SHAPE)


@pytest.mark.parametrize(
    ("points", "labels", "problem"),
    [
        ([(1, 2)], 1, r"labels of shape \(\) do not match"),
        ([(1, 2)], [[1]], r"labels of shape \(1, 1\) do not match"),
        ([(1, 2)], None, "labels must be numbers"),
        ([(1, 2)], ["1"], "labels must be numbers"),
        ([(1, 2), (3, 4)], [1, [0]], "labels must be numbers"),
        ([(1, 2)], [0.5], "Point label 0.5 is unknown"),
        ([(1, 2)], [np.nan], "Point label nan is unknown"),
        ((1, 2), [1], r"Points of shape \(2,\)"),
        ([("a", 2)], [1], "pairs of numbers"),
        (None, [1], "pairs of numbers"),
    ],
)
def test_what_are_no_points_is_refused(points: Any, labels: Any, problem: str) -> None:
    with pytest.raises(PromptError, match=problem):
        SlicePrompt().with_points(points, labels, SHAPE)


@pytest.mark.parametrize("box", [None, 5, "abcd", ("a", 1, 2, 3), (1, 2, 3), [[1, 2, 9, 9]], [1, 2, 3, [4]]])
def test_what_is_no_box_is_refused(box: Any) -> None:
    with pytest.raises(PromptError, match="A box needs four numbers"):
        SlicePrompt().with_box(box, SHAPE)


@given(st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_masks_of_another_size_are_refused(shape: tuple[int, int]) -> None:
    if shape == SHAPE:
        return
    with pytest.raises(PromptError, match="but the slice 30 x 50"):
        mask_prompt(np.zeros(shape, bool), SHAPE)


def test_points_after_a_mask_correct_the_mask() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[3:9, 4:8] = True
    prompt = mask_prompt(mask, SHAPE).with_points([(5, 5)], [0], SHAPE)
    assert prompt.mask is None
    assert prompt.before is not None
    np.testing.assert_array_equal((prompt.before > 0).numpy(), mask)
    empty = mask_prompt(np.zeros(SHAPE, bool), SHAPE).with_points([(5, 5)], [1], SHAPE)
    assert empty.before is None
