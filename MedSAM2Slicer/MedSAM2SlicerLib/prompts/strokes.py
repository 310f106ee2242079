"""Strokes of the mouse, and painted ones, as a few points: as far apart as the model tells places from each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medsam2_core.image.geometry import Float
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume

MOST = 16
"""Points of a stroke at most: more say nothing new, and each costs the model time."""

_CELL = 4  # pixels of the model's input, of the grid that it draws masks and given prompts on
_CORE = 1 / 3  # of a painted stroke: points lie in so much of it, away from its edge


def gridMm(volume: SlicedVolume, imageSize: int) -> float:
    """Return how far apart the cells of the model's grid are on a whole slice, in mm; `imageSize` is of its input."""
    (rows, columns), (down, across) = volume.slicing.shape, volume.slicing.pixel_mm
    return max(rows * down, columns * across) * _CELL / imageSize


def spread(points: npt.ArrayLike, spacing: float) -> Float:
    """Return points (m, 3) evenly along a stroke (n, 3), both of its ends included, at least `spacing` apart.

    There are at most `MOST`; a stroke shorter than `spacing` is one point, in its middle.
    """
    path = np.asarray(points, dtype=np.float64)
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])
    count = min(MOST, int(along[-1] / spacing) + 1)
    places = np.linspace(0.0, along[-1], count) if count > 1 else along[-1:] / 2
    return np.stack([np.interp(places, along, path[:, axis]) for axis in range(3)], axis=1)


def within(mask: Bools, pixel: tuple[float, float], spacing: float) -> list[tuple[float, float]]:
    """Return pixels (x, y) spread over a painted stroke on a slice (rows, columns), away from its edge, in its course.

    `pixel` and `spacing` are in mm. The first one lies farthest from the middle, each other farthest from those before.
    """
    places = np.argwhere(_core(mask)) * np.array(pixel)
    chosen = [int(((places - places.mean(axis=0)) ** 2).sum(axis=1).argmax())]
    distance = np.linalg.norm(places - places[chosen[0]], axis=1)
    while len(chosen) < MOST and distance.max() >= spacing:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    found = _inOrder(places[chosen]) / np.array(pixel)
    return [(float(x), float(y)) for y, x in found]


def _core(mask: Bools) -> Bools:
    """What is left of a mask when its edge is peeled off as long as enough is."""
    core = mask
    while (inner := _peeled(core)).sum() >= mask.sum() * _CORE:
        core = inner
    return core


def _peeled(mask: Bools) -> Bools:
    around = np.pad(mask, 1)
    inner: Bools = mask & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return inner


def _inOrder(places: Float) -> Float:
    """The same places (n, 2), from the first one on always to the next nearest."""
    left, order = list(range(1, len(places))), [0]
    while left:
        nearest = min(left, key=lambda one: float(((places[one] - places[order[-1]]) ** 2).sum()))
        left.remove(nearest)
        order.append(nearest)
    return places[order]
