"""Polygons filled on pixels: as a test of points says, holes left out, each pixel once."""

from __future__ import annotations

import numpy as np

from medsam2_core.image.polygon import filled


def test_a_curve_that_winds_twice_leaves_its_middle_out() -> None:
    outer, inner = [(0.5, 0.5), (8.5, 0.5), (8.5, 8.5), (0.5, 8.5)], [(2.5, 2.5), (6.5, 2.5), (6.5, 6.5), (2.5, 6.5)]
    expected = np.zeros((10, 10), bool)
    expected[1:9, 1:9] = True
    expected[3:7, 3:7] = False
    np.testing.assert_array_equal(filled(np.array([*outer, outer[0], *inner, inner[0]]), (10, 10)), expected)


def test_polygons_are_filled_as_a_point_in_polygon_test_says() -> None:
    from matplotlib.path import Path

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:20, :25]
    for _ in range(50):
        corners = rng.uniform(-5, 30, (rng.integers(3, 12), 2))
        angle = np.argsort(np.arctan2(*(corners - corners.mean(axis=0)).T))
        corners = corners[angle]  # a star around the middle, so that it does not cross itself
        expected = Path([*corners, corners[0]]).contains_points(np.stack([columns.ravel(), rows.ravel()], 1))
        found = filled(corners, (20, 25))
        assert (found.ravel() != expected).mean() < 0.005


def test_polygons_side_by_side_share_no_pixel_and_leave_none_out() -> None:
    chance = np.random.default_rng(0)
    for _ in range(30):
        middle = chance.uniform(2, 8, 2).round(1)
        corners = np.array([(-1.0, -1.0), (11.0, -1.0), (11.0, 11.0), (-1.0, 11.0)])
        parts = [filled(np.array([middle, corners[n], corners[(n + 1) % 4]]), (10, 10)) for n in range(4)]
        np.testing.assert_array_equal(np.sum(parts, axis=0), np.ones((10, 10)))
