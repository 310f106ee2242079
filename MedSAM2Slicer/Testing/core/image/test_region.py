"""Which part of a slice the model sees, and the way there and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medsam2_core.image.region import OUTSIDE_LOGIT, Region, WholeView, ZoomView, mask_box

ROWS, COLUMNS = 24, 36
SLICE = (ROWS, COLUMNS, (1.0, 1.0))
ZOOM = ZoomView(smallest=8)


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand((ROWS, COLUMNS), generator=torch.Generator().manual_seed(seed)) + 0.5


@st.composite
def regions(draw: st.DrawFn, square: bool = False) -> Region:
    """A region that holds at least one pixel of the slice and may reach outside."""
    width = draw(st.integers(2, 60))
    height = width if square else draw(st.integers(2, 60))
    x0, y0 = draw(st.integers(1 - width, COLUMNS - 1)), draw(st.integers(1 - height, ROWS - 1))
    return Region(x0, y0, width, height)


boxes = st.tuples(st.integers(0, COLUMNS - 2), st.integers(0, ROWS - 2), st.integers(1, 20), st.integers(1, 16)).map(
    lambda b: (float(b[0]), float(b[1]), float(min(b[0] + b[2], COLUMNS - 1)), float(min(b[1] + b[3], ROWS - 1)))
)


def inside(region: Region) -> torch.Tensor:
    """The pixels of the slice that a region covers."""
    y, x = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    across = (x >= region.x0) & (x < region.x0 + region.width)
    return across & (y >= region.y0) & (y < region.y0 + region.height)


@given(regions(square=True))
def test_pasting_what_was_cut_at_its_own_size_gives_it_back(region: Region) -> None:
    image = picture()
    pasted = region.paste(region.cut(image, region.width), ROWS, COLUMNS)
    seen = inside(region)
    torch.testing.assert_close(pasted[seen], image[seen], atol=1e-5, rtol=0)
    assert (pasted[~seen] == OUTSIDE_LOGIT).all()


@given(regions())
def test_outside_the_slice_is_black_and_outside_the_region_unseen(region: Region) -> None:
    bright = torch.ones(ROWS, COLUMNS)
    seen = inside(region)
    cut = region.cut(bright, 32)
    assert cut.shape == (32, 32)
    assert float(cut.mean()) == pytest.approx(float(seen.sum()) / (region.width * region.height), abs=0.12)
    assert float(cut.min()) >= 0
    assert float(cut.max()) <= 1 + 1e-5
    pasted = region.paste(torch.full((16, 16), 3.0), ROWS, COLUMNS)
    torch.testing.assert_close(pasted[seen], torch.full((int(seen.sum()),), 3.0))
    assert (pasted[~seen] == OUTSIDE_LOGIT).all()


@given(st.integers(0, COLUMNS - 1), st.integers(0, ROWS - 1), regions(), st.sampled_from((16, 64)))
def test_points_land_where_their_pixel_is_seen(x: int, y: int, region: Region, size: int) -> None:
    """SAM 2's rule scales pixel indexes; within the half pixel it leaves aside, the place is that of the picture."""
    from_edge = (x - region.x0, y - region.y0, region.x0 + region.width - 1 - x, region.y0 + region.height - 1 - y)
    if min(from_edge) < 2:  # bilinear weights are cut off there
        return
    image = torch.zeros(ROWS, COLUMNS)
    image[y, x] = 1.0
    seen = region.cut(image, size)
    rows, columns = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    center = torch.stack([(columns * seen).sum(), (rows * seen).sum()]) / seen.sum()
    placed = region.points_to_model(torch.tensor([[float(x), float(y)]]), size)[0]
    scale = torch.tensor([size / region.width, size / region.height])
    torch.testing.assert_close(placed + scale / 2, center, atol=0.6, rtol=0.01)


def test_the_whole_slice_is_stretched_to_a_square() -> None:
    region = Region.whole(ROWS, COLUMNS)
    points = torch.tensor([[0.0, 0.0], [COLUMNS, ROWS], [9.0, 6.0]])
    assert region.points_to_model(points, 72).tolist() == [[0, 0], [72, 72], [18, 18]]
    view = WholeView()
    assert view.around((3, 3, 5, 5), *SLICE) == region
    assert view.around((3, 3, 5, 5), *SLICE, Region(0, 0, 9, 9), [Region(0, 0, 9, 9)]) == region


# Zoom


@given(boxes, st.floats(0.4, 3), st.floats(0.4, 3))
def test_the_view_is_a_square_in_mm_around_the_object(box: tuple, row_mm: float, column_mm: float) -> None:
    region = ZOOM.around(box, ROWS, COLUMNS, (row_mm, column_mm))
    x0, y0, x1, y1 = box
    longest = max((x1 - x0 + 1) * column_mm, (y1 - y0 + 1) * row_mm)
    side = max(2 * longest, 8 * min(row_mm, column_mm))
    assert region.width * column_mm == pytest.approx(side, abs=2 * column_mm)
    assert region.height * row_mm == pytest.approx(side, abs=2 * row_mm)
    assert region.x0 + region.width / 2 == pytest.approx((x0 + x1 + 1) / 2, abs=1)
    assert region.y0 + region.height / 2 == pytest.approx((y0 + y1 + 1) / 2, abs=1)


@given(boxes)
def test_a_view_made_for_a_box_stays_for_that_box(box: tuple) -> None:
    region = ZOOM.around(box, *SLICE)
    assert ZOOM.around(box, *SLICE, region) == region


@given(boxes, boxes)
def test_the_next_view_holds_the_object_with_room_around_it(before: tuple, box: tuple) -> None:
    region = ZOOM.around(box, *SLICE, ZOOM.around(before, *SLICE))
    x0, y0, x1, y1 = box
    room = min(x0 - region.x0, y0 - region.y0, region.x0 + region.width - x1 - 1, region.y0 + region.height - y1 - 1)
    assert room >= 0.1 * region.width - 1
    fills = max((x1 - x0 + 1) / region.width, (y1 - y0 + 1) / region.height)
    assert fills >= 0.3 or region.width <= 8


def test_without_an_object_the_view_stays_or_is_whole() -> None:
    region = Region(3, 4, 10, 10)
    assert ZOOM.around(None, *SLICE, region) == region
    assert ZOOM.around(None, *SLICE, Region(0, 0, 9, 9), [region]) == region
    assert ZOOM.around(None, *SLICE) == Region.whole(ROWS, COLUMNS)


@pytest.mark.parametrize(
    ("box", "moves"),
    [
        ((10, 10, 19, 19), False),
        ((12, 12, 17, 17), False),  # a little smaller, still 30 %
        ((13, 13, 16, 16), True),  # too small for its view
        ((7, 10, 16, 19), False),  # two pixels from the edge: a tenth
        ((6, 10, 15, 19), True),
        ((10, 15, 19, 23), True),
    ],
)
def test_the_view_moves_only_when_it_must(box: tuple, moves: bool) -> None:
    region = Region(5, 5, 20, 20)
    assert (ZOOM.around(box, *SLICE, region) != region) == moves


def test_a_view_the_slice_was_encoded_in_serves_longer() -> None:
    """Three hundredths of its side free and a fifth of it filled, in place of a tenth and three tenths."""
    region, last = Region(5, 5, 20, 20), Region(4, 4, 22, 22)
    for box, serves in (((6, 10, 15, 19), True), ((12, 13, 16, 17), True), ((5, 10, 14, 19), False)):
        assert (ZOOM.around(box, *SLICE, None, [region]) == region) == serves
    assert ZOOM.around((12, 13, 16, 17), *SLICE, region) != region
    assert ZOOM.around((10, 10, 19, 19), *SLICE, last, [region]) == region


def test_the_first_view_that_serves_is_used_again() -> None:
    box = (10.0, 10.0, 19.0, 19.0)
    far, wide, close = Region(20, 5, 20, 20), Region(-15, -15, 60, 60), Region(10, 10, 11, 11)
    good, other = Region(6, 7, 18, 18), Region(5, 5, 20, 20)
    assert ZOOM.around(box, *SLICE, other, [far, wide, close, good]) == good
    assert ZOOM.around(box, *SLICE, good, [far, wide, close]) == good
    assert ZOOM.around(box, *SLICE, far, [far, wide, close]) == ZOOM.around(box, *SLICE)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.02))
def test_the_box_of_a_mask_is_the_smallest_around_it(seed: int, share: float) -> None:
    mask = torch.rand((ROWS, COLUMNS), generator=torch.Generator().manual_seed(seed)) < share
    box = mask_box(mask.numpy())
    if not mask.any():
        assert box is None
        return
    assert box is not None
    x0, y0, x1, y1 = (int(value) for value in box)
    assert int(mask[y0 : y1 + 1, x0 : x1 + 1].sum()) == int(mask.sum())
    assert all(edge.any() for edge in (mask[y0], mask[y1], mask[:, x0], mask[:, x1]))
