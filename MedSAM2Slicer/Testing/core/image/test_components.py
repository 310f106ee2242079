"""Connected parts and holes of masks, against SimpleITK's."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core.image.components import filled, largest_part, largest_parts, parts_with


def labeled(mask: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))


def sizes(mask: np.ndarray) -> list[int]:
    return sorted(np.bincount(labeled(mask).ravel())[1:].tolist())


@pytest.fixture(params=range(40))
def mask(request: pytest.FixtureRequest) -> np.ndarray:
    """Random pixels, sparse to dense, of any shape."""
    rng = np.random.default_rng(request.param)
    found: np.ndarray = rng.random(rng.integers(1, 10, 3)) < rng.uniform(0.1, 0.9)
    return found


def test_the_largest_part_of_all_slices(mask: np.ndarray) -> None:
    kept = largest_part(mask)
    assert sizes(kept) == sizes(mask)[-1:]
    assert not (kept & ~mask).any()


def test_the_largest_part_of_each_slice(mask: np.ndarray) -> None:
    kept = largest_parts(mask)
    for before, after in zip(mask, kept, strict=True):
        assert sizes(after) == sizes(before)[-1:]
    assert not (kept & ~mask).any()


def test_holes_of_each_slice(mask: np.ndarray) -> None:
    expected = [
        sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(one.astype(np.uint8)))) for one in mask
    ]
    np.testing.assert_array_equal(filled(mask), np.array(expected).astype(bool))


def test_the_parts_that_hold_a_seed(mask: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    index = int(rng.integers(len(mask)))
    seed = rng.random(mask.shape[1:]) < 0.1
    labels = labeled(mask)
    wanted = set(np.unique(labels[index][seed & mask[index]]).tolist())
    expected = np.isin(labels, list(wanted)) if wanted else mask
    np.testing.assert_array_equal(parts_with(mask, {index: seed}), expected)


def test_of_equal_parts_the_first_stays() -> None:
    mask = np.zeros((1, 1, 5), bool)
    mask[0, 0, [1, 3]] = True
    assert np.flatnonzero(largest_part(mask)).tolist() == [1]
    assert np.flatnonzero(largest_parts(mask)).tolist() == [1]
