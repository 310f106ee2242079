"""Prompts drawn as a mask."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from medsam2_core.model.dense_prompts import DENSE_LIMIT, carry_mask, draw_prompts
from medsam2_core.model.prompt_encoder import BOX_END, BOX_START, EXCLUDE, INCLUDE, PADDING

SIZE = 96
SIDE = SIZE // 4
places = st.tuples(st.floats(0, SIZE - 1), st.floats(0, SIZE - 1))
clicks = st.lists(st.tuples(places, st.sampled_from((INCLUDE, EXCLUDE, PADDING))), min_size=1, max_size=4)


def drawn(rows: list[tuple[tuple[float, float], int]], base: torch.Tensor | None = None) -> torch.Tensor:
    points = torch.tensor([[place for place, _ in rows]])
    return draw_prompts(points, torch.tensor([[label for _, label in rows]]), SIZE, base)[0, 0]


def cell(place: tuple[float, float]) -> tuple[int, int]:
    """Row and column of the drawing that a place in the model's image falls into."""
    return min(int((place[1] + 0.5) / 4), SIDE - 1), min(int((place[0] + 0.5) / 4), SIDE - 1)


def test_no_prompt_is_unknown_everywhere() -> None:
    assert not drawn([((0.0, 0.0), PADDING)]).any()


@given(places, st.sampled_from((INCLUDE, EXCLUDE)))
def test_a_click_is_sure_near_its_place_and_unknown_far_off(place: tuple[float, float], label: int) -> None:
    image = drawn([(place, label)]) * (1 if label == INCLUDE else -1)
    assert (image >= 0).all()
    assert float(image[cell(place)]) > 0.75 * DENSE_LIMIT
    assert float(image[cell(place)]) >= float(image.max()) - 0.3
    y, x = torch.meshgrid(torch.arange(SIDE) * 4 + 1.5, torch.arange(SIDE) * 4 + 1.5, indexing="ij")
    far = (x - place[0]) ** 2 + (y - place[1]) ** 2 > (SIZE / 4) ** 2
    assert float(image[far].max()) < 0.01


@given(places, places)
def test_a_box_is_half_sure_inside_and_surely_outside(a: tuple[float, float], b: tuple[float, float]) -> None:
    low, high = (min(a[0], b[0]), min(a[1], b[1])), (max(a[0], b[0]), max(a[1], b[1]))
    image = drawn([(low, BOX_START), (high, BOX_END)])
    center = torch.arange(SIDE) * 4 + 1.5
    inside = ((center >= low[1]) & (center <= high[1]))[:, None] & ((center >= low[0]) & (center <= high[0]))[None]
    assert (image[inside] == DENSE_LIMIT / 2).all()
    assert (image[~inside] == -DENSE_LIMIT).all()


@given(clicks, st.booleans(), st.booleans())
def test_every_drawing_stays_within_its_limits(
    rows: list[tuple[tuple[float, float], int]], boxed: bool, based: bool
) -> None:
    corners = [((10.0, 20.0), BOX_START), ((70.0, 60.0), BOX_END)] if boxed else []
    base = torch.full((1, SIDE, SIDE), -DENSE_LIMIT) if based else None
    image = drawn([*corners, *rows], base)
    assert torch.isfinite(image).all()
    assert float(image.abs().max()) <= DENSE_LIMIT


@given(places)
def test_a_click_corrects_an_earlier_answer_and_leaves_the_rest(place: tuple[float, float]) -> None:
    base = torch.full((1, SIDE, SIDE), DENSE_LIMIT)
    image = drawn([(place, EXCLUDE)], base)
    assert float(image[cell(place)]) < 0
    y, x = torch.meshgrid(torch.arange(SIDE) * 4 + 1.5, torch.arange(SIDE) * 4 + 1.5, indexing="ij")
    far = (x - place[0]) ** 2 + (y - place[1]) ** 2 > (SIZE / 4) ** 2
    torch.testing.assert_close(image[far], base[0][far], atol=0.02, rtol=0)


def test_a_batch_is_drawn_row_by_row() -> None:
    one = [((20.0, 30.0), INCLUDE), ((70.0, 80.0), EXCLUDE)]
    two = [((10.0, 20.0), BOX_START), ((70.0, 60.0), BOX_END)]
    points = torch.tensor([[place for place, _ in rows] for rows in (one, two)])
    labels = torch.tensor([[label for _, label in rows] for rows in (one, two)])
    together = draw_prompts(points, labels, SIZE)
    assert together.shape == (2, 1, SIDE, SIDE)
    torch.testing.assert_close(together[0, 0], drawn(one))
    torch.testing.assert_close(together[1, 0], drawn(two))


def test_carried_masks_keep_their_shape_within_the_limits() -> None:
    logits = torch.tensor([[[-1024.0, -3.0], [0.5, 40.0]]])
    assert carry_mask(logits).tolist() == [[[[-DENSE_LIMIT, -3.0], [0.5, DENSE_LIMIT]]]]
