"""Volume of a segment; its long and short axis as RECIST measures a lesion: both on the slice with the longest axis.

Lengths are between pixel centers, in mm. Both axes of ellipses of 6 to 60 mm, drawn on pixels of 0.7 mm, come out
0.2 to 0.3 mm too short on average; between the pixels' edges they would be 0.4 to 0.5 mm too long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Mask
from medsam2_core.image.geometry import Float

# Directions in which all slices are measured before one is measured exactly: the longest axis lies within half a step
# of one of them, so no slice's is more than 0.5 % longer than its largest extent.
_DIRECTIONS = 16
_EXCESS = 1 / math.cos(math.pi / (2 * _DIRECTIONS))


@dataclass(frozen=True)
class Axes:
    """The longest diameter on a slice, and the extent perpendicular to it on the same slice, in mm.

    Holes and gaps do not count: of two parts on the slice, both axes reach over both.
    """

    long_mm: float
    short_mm: float
    slice_index: int


def volume_ml(mask: Mask, spacing: Sequence[float]) -> float:
    """Volume of what a mask marks in mL; `spacing` is in mm, in any order."""
    return int(np.count_nonzero(mask)) * math.prod(map(float, spacing)) / 1000


def largest_axes(mask: Mask, spacing: Sequence[float], axis: int = 0) -> Axes | None:
    """Axes of the slice along an array axis (0, 1, 2 for k, j, i) whose long axis is the longest; None if it is empty.

    `spacing` is in mm along k, j, i.
    """
    order = (axis, *(other for other in range(3) if other != axis))
    slices = np.ascontiguousarray(mask.transpose(order))
    index, ends = _row_ends(slices, (spacing[order[1]], spacing[order[2]]))
    if not index.size:
        return None
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    extents = _extents(ends, starts)
    best: Axes | None = None
    for place in np.argsort(-extents, kind="stable"):
        if best is not None and extents[place] * _EXCESS <= best.long_mm:
            break
        stop = starts[place + 1] if place + 1 < len(starts) else len(ends)
        long_mm, short_mm = _axes(ends[starts[place] : stop].reshape(-1, 2))
        if best is None or long_mm > best.long_mm:
            best = Axes(long_mm, short_mm, int(index[starts[place]]))
    return best


def _row_ends(slices: Mask, pixel: tuple[float, float]) -> tuple[npt.NDArray[np.intp], Float]:
    """Every row with marked pixels: its slice (n,), ascending, and its first and last such pixel (n, 2, 2) in mm.

    They hold the corners of each slice's convex hull.
    """
    first = slices.argmax(axis=2)
    index, row = np.nonzero(np.take_along_axis(slices, first[..., None], axis=2)[..., 0])
    first = first[index, row]
    last = slices.shape[2] - 1 - slices[index, row, ::-1].argmax(axis=1)
    ends = np.stack([np.stack([row, first], axis=1), np.stack([row, last], axis=1)], axis=1)
    return index, ends * np.array(pixel)


def _extents(ends: Float, starts: npt.NDArray[np.intp]) -> Float:
    """Largest extent of each slice's pixels over a few directions; its rows begin at `starts`."""
    angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    along = ends @ np.stack([np.sin(angles), np.cos(angles)])
    highest = np.maximum.reduceat(along.max(axis=1), starts)
    lowest = np.minimum.reduceat(along.min(axis=1), starts)
    extents: Float = (highest - lowest).max(axis=1)
    return extents


def _axes(points: Float) -> tuple[float, float]:
    """Longest distance between points (n, 2) in mm, and their extent perpendicular to it."""
    hull = _hull(points)
    between = hull[:, None] - hull[None]
    lengths = np.hypot(between[..., 0], between[..., 1])
    start, end = np.unravel_index(lengths.argmax(), lengths.shape)
    long_mm = float(lengths[start, end])
    if not long_mm:
        return 0.0, 0.0
    row, column = between[start, end] / long_mm
    return long_mm, float(np.ptp(hull @ np.array([-column, row])))


def _hull(points: Float) -> Float:
    """Corners of the convex hull of points (n, 2): Andrew's monotone chain."""
    unique: list[list[float]] = np.unique(points, axis=0).tolist()
    return np.array(unique if len(unique) < 3 else _chain(unique)[:-1] + _chain(unique[::-1])[:-1])


def _chain(points: list[list[float]]) -> list[list[float]]:
    """One side of the hull of sorted points, its ends included."""
    chain: list[list[float]] = []
    for x, y in points:
        while len(chain) > 1:
            (x0, y0), (x1, y1) = chain[-2:]
            if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
                break
            chain.pop()
        chain.append([x, y])
    return chain
