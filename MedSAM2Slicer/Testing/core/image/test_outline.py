"""Outlines of masks as SVG paths."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medsam2_core.image.outline import resized, svg_path


def test_a_square_has_four_sides() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    assert svg_path(mask) == "M2 1h3M2 3h3M2 1v2M5 1v2"
    assert svg_path(np.zeros((3, 3), bool)) == ""


@given(arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_the_outline_encloses_the_mask(mask: np.ndarray) -> None:
    """Crossing an odd number of vertical edges from the left leads inside."""
    edges = np.zeros((mask.shape[0], mask.shape[1] + 1), int)
    for x, y, length in re.findall(r"M(\d+) (\d+)v(\d+)", svg_path(mask)):
        edges[int(y) : int(y) + int(length), int(x)] += 1
    assert np.array_equal(edges.cumsum(axis=1)[:, :-1] % 2 == 1, mask)


def test_a_thumbnail_keeps_what_lies_at_the_centers() -> None:
    mask = np.zeros((100, 60), bool)
    mask[20:80, 30:] = True
    small = resized(mask, (10, 6))
    assert np.array_equal(np.argwhere(small).min(axis=0), (2, 3))
    assert small.sum() == 6 * 3
