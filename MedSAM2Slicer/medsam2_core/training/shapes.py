"""Shapes that the parts of the body are built from: vertebral drums, sacs, hollow tubes, vessel trees, wanderings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsam2_core.training.canvas import CAVITY, SOFT, Canvas, Generator, Point, Tissue


def cylinder(
    c: Canvas, label: int, center: Point, radius: float, half: float, over: Iterable[int] | None = None
) -> None:
    """Paint an upright drum with a slight waist, flatter from front to back than across."""
    z, y, x = center
    box = c.box(np.array([z - half, y - radius, x - radius]), np.array([z + half, y + radius, x + radius]))
    if box is not None:
        high, deep, wide = (c.world[axis][box] - np.float32(center[axis]) for axis in range(3))
        waist = np.float32(radius) * (np.float32(0.88) + np.float32(0.12) * (high / np.float32(half)) ** 2)
        c.fill(box, (np.abs(high) < half) & (1.3 * deep * deep + wide * wide < waist * waist), label, over)


def shell(c: Canvas, center: Point, radii: Point, wall: Tissue, content: Tissue) -> None:
    """A closed thin-walled sac, sometimes half full of gas."""
    found = c.ellipsoid(center, radii, lumps=0.12)
    if found is None:
        return
    box, value = found
    outer = c.add(wall)
    c.fill(box, value > 0, outer, [CAVITY, *c.of(*SOFT)])
    inside = value > c.rng.uniform(1.2, 3) * c.pixel / min(radii)
    inner = c.add(content, outer)
    c.fill(box, inside, inner, (outer,))
    if content == Tissue.FLUID and c.rng.random() < 0.35:
        level = center[1] + c.rng.normal(0, 0.4) * radii[1]
        c.fill(box, c.world[1][box] < level, c.add(Tissue.AIR, outer), (inner,))


def hollow(
    c: Canvas,
    path: NDArray[Any],
    radii: NDArray[Any],
    wall: float,
    outer: Tissue,
    inner: Tissue,
    over: Iterable[int] | None = None,
) -> None:
    """A thin-walled tube; a fluid-filled one may hold gas in front, with a level."""
    shell = c.add(outer)
    c.tube(shell, path, radii, over)
    lumen = c.add(inner, shell)
    c.tube(lumen, path, radii - wall, (shell,))
    if inner == Tissue.FLUID and c.rng.random() < 0.5:
        level = float(np.median(path[:, 1])) + c.rng.normal(0, 0.05)
        c.tube(c.add(Tissue.AIR, shell), path, radii - wall, (lumen,), before=level)


def wander(rng: Generator, limits: NDArray[Any], count: int, length: float) -> NDArray[Any]:
    """A winding path of `count` points inside a world box (2, 3), `length` apart."""
    point, heading = rng.uniform(limits[0], limits[1]), rng.normal(0, 1, 3)
    path = [point]
    for _ in range(count - 1):
        heading = heading / np.linalg.norm(heading) + rng.normal(0, 0.45, 3)
        point = point + heading / np.linalg.norm(heading) * length
        heading = np.where((point < limits[0]) | (point > limits[1]), -heading, heading)
        point = np.clip(point, limits[0], limits[1])
        path.append(point)
    return np.stack(path)


def tree(c: Canvas, label: int, root: NDArray[Any], heading: NDArray[Any], radius: float, over: Iterable[int]) -> None:
    """A branching vessel under one label: it splits and merges from slice to slice."""
    over, todo, left = list(over), [(root, heading, radius)], 40
    while todo and left:
        point, heading, radius = todo.pop(0)
        heading = heading / np.linalg.norm(heading) + c.rng.normal(0, 0.35, 3)
        heading = heading / np.linalg.norm(heading)
        tip = point + heading * radius * c.rng.uniform(2.5, 5)
        c.tube(label, np.stack([point, tip]), np.array([radius, radius * 0.85]), over)
        left -= 1
        if radius * 0.8 > 0.6 * c.pixel:
            forks = 1 if c.rng.random() < 0.45 else 2
            bends, shrink = c.rng.normal(heading, 0.6, (forks, 3)), c.rng.uniform(0.68, 0.88, forks)
            todo += [(tip, bend, radius * float(less)) for bend, less in zip(bends, shrink, strict=True)]
