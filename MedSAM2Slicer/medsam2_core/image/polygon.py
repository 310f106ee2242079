"""Polygons filled on a grid of pixels."""

from __future__ import annotations

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.image.geometry import Float

_DECIMALS = 6  # of a pixel: a crossing at a center but for noise is at the center


def filled(points_xy: Float, shape: tuple[int, ...]) -> Mask:
    """The pixels (rows, columns) whose center is within a closed polygon of points (n, 2); even and odd count as usual.

    A center on an edge belongs to the pixel right of it or below, so that polygons side by side share none.
    """
    rows, columns = shape
    turns = np.zeros((rows, columns + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(points_xy, np.roll(points_xy, -1, axis=0), strict=True):
        if y0 > y1:  # so that two polygons with this edge reckon alike
            x0, y0, x1, y1 = x1, y1, x0, y0
        crossed = np.arange(max(0, int(np.ceil(y0))), min(rows, int(np.ceil(y1))))
        if crossed.size:
            x = x0 + (crossed - y0) * (x1 - x0) / (y1 - y0)
            turns[crossed, np.clip(np.ceil(x.round(_DECIMALS)), 0, columns).astype(int)] += 1
    inside: Mask = turns[:, :-1].cumsum(axis=1) % 2 == 1
    return inside
