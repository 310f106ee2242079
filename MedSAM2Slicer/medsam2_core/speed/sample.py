"""A volume to measure speed on, when none is at hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]


def ellipsoid(slices: int, side: int) -> npt.NDArray[np.uint8]:
    """A bright ellipsoid in noise that all slices show, (slices, side, side)."""
    k, j, i = np.ogrid[:slices, :side, :side]
    middle, radius = (side - 1) / 2, side / 4
    along = (k - (slices - 1) / 2) / slices
    inside = ((j - middle) / radius) ** 2 + ((i - middle) / radius) ** 2 + along**2 < 1
    noise = np.random.default_rng(0).integers(0, 60, (slices, side, side), np.uint8)
    return noise + 120 * inside.astype(np.uint8)


def ellipsoid_box(side: int) -> Box:
    """x0, y0, x1, y1 around the ellipsoid on its middle slice, in pixels."""
    low, high = (side - 1) / 2 - side / 4, (side - 1) / 2 + side / 4
    return low, low, high, high
