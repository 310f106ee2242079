"""Measures of masks and confidences: known small cases, what must hold for any mask, and scipy's distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from medsam2_core.training import metrics

SPACING = (2.5, 0.7, 0.8)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape)))
MASKS = SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape))
UNIT = st.floats(0, 1, width=32)


def cube(*low: int, side: int = 4, shape: tuple[int, int, int] = (12, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, start + side) for start in low)] = True
    return mask


@given(PAIRS)
def test_overlaps_are_symmetric_shares(pair: tuple[np.ndarray, np.ndarray]) -> None:
    one, other = pair
    assert 0 <= metrics.dice(one, other) == metrics.dice(other, one) <= 1
    near = metrics.surface_dice(one, other, SPACING, 1.0)
    assert 0 <= near == metrics.surface_dice(other, one, SPACING, 1.0) <= 1
    for values in (metrics.slice_dice(one, other), metrics.slice_iou(one, other)):
        assert values.shape == (len(one),)
        assert (values >= 0).all()
        assert (values <= 1).all()
    recognized = metrics.empty_recognized(one, other)
    assert recognized is None or 0 <= recognized <= 1


@given(MASKS)
def test_a_mask_agrees_with_itself(mask: np.ndarray) -> None:
    assert metrics.dice(mask, mask) == 1
    assert metrics.surface_dice(mask, mask, SPACING, 0.0) == 1
    assert (metrics.slice_iou(mask, mask) == 1).all()
    assert metrics.empty_recognized(mask, mask) in (None, 1.0)
    if mask.any():
        assert metrics.false_slices(mask, mask, 2.5) == metrics.FalseSlices(0, 0.0)


@given(PAIRS)
def test_intersection_over_union_of_slices(pair: tuple[np.ndarray, np.ndarray]) -> None:
    union = np.maximum((pair[0] | pair[1]).sum(axis=(1, 2)), 1)
    expected = np.where((pair[0] | pair[1]).any(axis=(1, 2)), (pair[0] & pair[1]).sum(axis=(1, 2)) / union, 1)
    np.testing.assert_allclose(metrics.slice_iou(*pair), expected)


@settings(max_examples=50)
@given(MASKS, st.booleans())
def test_distances_are_those_of_scipy(mask: np.ndarray, flat: bool) -> None:
    target, spacing = (mask[0], SPACING[1:]) if flat else (mask, SPACING)
    target.flat[0] = True
    expected = ndimage.distance_transform_edt(~target, sampling=spacing)
    np.testing.assert_allclose(metrics.distance_mm(target, spacing), expected, atol=1e-4)


@settings(max_examples=50)
@given(MASKS)
def test_the_surface_is_what_erosion_takes_away(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(metrics.surface(mask), mask & ~ndimage.binary_erosion(mask))


@given(PAIRS)
def test_surface_dice_grows_with_the_tolerance(pair: tuple[np.ndarray, np.ndarray]) -> None:
    shares = [metrics.surface_dice(*pair, SPACING, tolerance) for tolerance in (0.0, 0.8, 2.5, 100.0)]
    assert shares == sorted(shares)
    assert shares[-1] == float(pair[0].any() == pair[1].any())


def test_dice_of_a_cube_moved_by_half() -> None:
    assert metrics.dice(cube(4, 4, 4), cube(4, 4, 6)) == 0.5
    assert metrics.slice_iou(cube(4, 4, 4), cube(4, 4, 6))[4] == pytest.approx(1 / 3)


def test_surface_dice_knows_the_spacing() -> None:
    one, other = cube(4, 4, 4), cube(5, 4, 4)  # a slice apart
    assert metrics.surface_dice(one, other, (3.0, 1.0, 1.0), 2.9) < 1
    assert metrics.surface_dice(one, other, (3.0, 1.0, 1.0), 3.0) == 1
    assert metrics.surface_dice(one, other, (1.0, 1.0, 1.0), 1.0) == 1


def test_surface_dice_of_planes_is_counted_by_hand() -> None:
    one, other = np.zeros((2, 6, 8, 8), dtype=bool)
    one[2] = other[2] = True
    other[2, :, 4:] = False
    other[5, :, 4:] = True  # half of the plane is three slices off
    assert metrics.surface_dice(one, other, (2.0, 1.0, 1.0), 1.0) == pytest.approx((40 + 32) / 128)


def test_empty_masks() -> None:
    empty, full = np.zeros((3, 4, 4), dtype=bool), np.ones((3, 4, 4), dtype=bool)
    assert metrics.dice(empty, empty) == metrics.surface_dice(empty, empty, SPACING, 1.0) == 1
    assert metrics.dice(empty, full) == metrics.surface_dice(empty, full, SPACING, 1.0) == 0
    assert metrics.empty_recognized(empty, full) is None


def test_slices_beyond_the_ends() -> None:
    found, wanted = cube(1, 0, 0, side=8), cube(4, 0, 0, side=3)
    assert metrics.false_slices(found, wanted, 2.5) == metrics.FalseSlices(5, 12.5)
    assert metrics.empty_recognized(found, wanted) == pytest.approx(4 / 9)
    assert metrics.false_slices(wanted, found, 2.5) == metrics.FalseSlices(0, 0.0)
    gap = wanted.copy()
    gap[5] = False
    assert metrics.false_slices(wanted, gap, 2.5).count == 0  # within its ends


def test_prompted_dice_looks_at_those_slices_only() -> None:
    found, wanted = cube(4, 4, 4), cube(4, 4, 4)
    found[5] = False
    assert metrics.prompted_dice(found, wanted, [4]) == 1
    assert metrics.prompted_dice(found, wanted, [4, 5]) == 0.5


@given(st.lists(st.tuples(UNIT, UNIT), max_size=20))
def test_confidence_measures_stay_in_range(pairs: list[tuple[float, float]]) -> None:
    confidence, iou = [one for one, _ in pairs], [other for _, other in pairs]
    correlation, misses = metrics.confidence_correlation(confidence, iou), metrics.confident_misses(confidence, iou)
    assert correlation is None or -1 <= correlation <= 1
    assert misses is None or 0 <= misses <= 1


def test_known_confidences() -> None:
    assert metrics.confidence_correlation([0.1, 0.5, 0.9], [0.2, 0.5, 0.8]) == pytest.approx(1)
    assert metrics.confidence_correlation([0.1, 0.5, 0.9], [0.8, 0.5, 0.2]) == pytest.approx(-1)
    assert metrics.confidence_correlation([0.1, 0.5], [0.8, 0.5]) is None
    assert metrics.confidence_correlation([0.5, 0.5, 0.5], [0.8, 0.5, 0.1]) is None
    assert metrics.confident_misses([0.6, 0.7, 0.5], [0.0, 0.4, 0.0]) == 0.5
    assert metrics.confident_misses([0.1], [0.0]) is None
