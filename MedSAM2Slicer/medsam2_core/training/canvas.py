"""The synthetic volume under construction: what its labels mean, its warped coordinates, and how to paint on it.

World coordinates are (z, y, x) in body half-widths: z to the head, y to the back, x across, 0 in the middle of
the trunk. Each volume cuts its own window out of that world and looks at it through one smooth warp, so objects
are simple implicit functions that are only evaluated inside their bounding boxes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsam2_core.arrays import Block

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]
Point = tuple[float, float, float]
Generator = np.random.Generator


class Tissue(IntEnum):
    """What a label is made of; the first four are surroundings, not objects."""

    OUTSIDE = 0
    TABLE = 1
    FAT = 2
    REMAINDER = 3
    AIR = 4
    LUNG = 5
    MUSCLE = 6
    ORGAN = 7
    WALL = 8
    VESSEL = 9
    BONE = 10
    MARROW = 11
    DISC = 12
    FLUID = 13
    LESION = 14


OUTSIDE, TABLE, SKIN_FAT, BODY_WALL, CAVITY = range(5)
_SURROUNDINGS = (Tissue.OUTSIDE, Tissue.TABLE, Tissue.FAT, Tissue.REMAINDER, Tissue.FAT)
SOFT = (Tissue.MUSCLE, Tissue.ORGAN, Tissue.FLUID, Tissue.VESSEL, Tissue.LESION, Tissue.WALL)
EVERYWHERE: Block = (slice(None), slice(None), slice(None))


def smooth_field(rng: Generator, shape: tuple[int, ...], cells: tuple[int, ...]) -> Floats:
    """Smooth noise of about unit variance: a cubic B-spline over random `cells` along each of three axes.

    As three matrix products a 48x192x192 field takes 13 ms on one core; cubic `scipy.ndimage.zoom` takes 577 ms.
    """
    field: Floats = rng.standard_normal([n + 3 for n in cells], dtype=np.float32) * np.float32(3.0)
    for size, count in zip(reversed(shape), reversed(cells), strict=True):
        matrix = _spline_matrix(size, count)
        field = np.tensordot(matrix, field, axes=(1, field.ndim - 1)).astype(np.float32, copy=False)
    return field


def _spline_matrix(size: int, cells: int) -> Floats:
    position = (np.arange(size) + 0.5) * cells / size
    knot = np.minimum(position.astype(int), cells - 1)
    t = position - knot
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    matrix = np.zeros((size, cells + 3), dtype=np.float32)
    np.put_along_axis(matrix, knot[:, None] + np.arange(4), weights.astype(np.float32), axis=1)
    return matrix


class Canvas:
    """The volume under construction: labels, warped world coordinates, and the painting primitives."""

    def __init__(self, rng: Generator, shape: tuple[int, int, int]) -> None:
        self.rng = rng
        self.shape = shape
        self.labels: Labels = np.zeros(shape, dtype=np.uint8)
        self.tissue: list[int] = [int(tissue) for tissue in _SURROUNDINGS]
        self.parent: list[int] = [0] * len(self.tissue)
        self.depth: Floats = np.zeros(shape, dtype=np.float32)  # implicit value of the organ that holds the voxel
        self._choose_window()
        self._warp()

    def _choose_window(self) -> None:
        rng = self.rng
        zoom = rng.uniform(0.75, 1.0) if rng.random() < 0.65 else rng.uniform(1.0, 1.7)
        half_width = max(self.shape[1:]) / 2 * zoom
        # Slice distance in 1/192 of the width, in a body of 36 cm about 2 mm: thick, medium or thin slabs, so that
        # objects last from 4 slices to all of them.
        low, high = ((2.4, 4.8), (1.2, 2.4), (0.35, 1.2))[rng.choice(3, p=(0.2, 0.35, 0.45))]
        slices = 48 / self.shape[0] * max(self.shape[1:]) / 192  # a smaller volume keeps the same extent
        self.step = np.array([rng.uniform(low, high) * slices, 1, 1]) / half_width
        # Array axis a shows world axis order[a]: mostly axial, some coronal and sagittal series.
        self.order = ((0, 1, 2), (1, 0, 2), (2, 0, 1))[rng.choice(3, p=(0.84, 0.08, 0.08))]
        center = np.array([rng.uniform(-1.1, 1.1), 0.0, 0.0])
        center[1:] += rng.normal(0, 1, 2) * max(0.03, 0.5 * (1 - 1 / zoom))
        extent = self.step * self.shape
        self.start = center[list(self.order)] - extent / 2
        self.pixel = 1 / half_width
        self.z_range = (center[0] - extent[self.order.index(0)] / 2, center[0] + extent[self.order.index(0)] / 2)

    def _warp(self) -> None:
        self.bend = self.rng.uniform(0.01, 0.04)
        self.world: list[Floats] = [np.empty(0, dtype=np.float32)] * 3
        for axis, name in enumerate(self.order):
            line = (self.start[axis] + self.step[axis] * np.arange(self.shape[axis])).astype(np.float32)
            grid = line.reshape([-1 if n == axis else 1 for n in range(3)])
            self.world[name] = grid + np.float32(self.bend) * smooth_field(self.rng, self.shape, (4, 5, 5))

    def add(self, tissue: Tissue, parent: int = 0) -> int:
        """A new label; once all 255 are taken, the latest of the same tissue."""
        if len(self.tissue) > 255:
            return max(self.of(tissue), default=CAVITY)
        self.tissue.append(int(tissue))
        self.parent.append(parent)
        return len(self.tissue) - 1

    def box(self, low: NDArray[Any], high: NDArray[Any]) -> Block | None:
        """Voxels whose warped coordinates may lie between two world points, or None where the volume has none."""
        pad = self.bend * 3.0
        bounds = []
        for axis, name in enumerate(self.order):
            first = int(np.floor((low[name] - pad - self.start[axis]) / self.step[axis]))
            last = int(np.ceil((high[name] + pad - self.start[axis]) / self.step[axis])) + 1
            first, last = max(first, 0), min(last, self.shape[axis])
            if first >= last:
                return None
            bounds.append(slice(first, last))
        return bounds[0], bounds[1], bounds[2]

    def fill(self, box: Block, mask: NDArray[np.bool_], label: int, over: Iterable[int] | None = None) -> None:
        """Write `label` where the mask is set and one of `over` (default: anything of the body) lay before."""
        view = self.labels[box]
        if over is None:
            mask = mask & (view > TABLE)  # nothing grows out of the skin
        else:
            table = np.zeros(256, dtype=bool)
            table[list(over)] = True
            mask = mask & table[view]
        view[mask] = label

    def of(self, *tissues: Tissue) -> list[int]:
        """All labels made of these tissues."""
        return [label for label, tissue in enumerate(self.tissue) if tissue in tissues]

    def ellipsoid(
        self, center: Point, radii: Point, tilt: float = 0.3, lumps: float = 0.1
    ) -> tuple[Block, Floats] | None:
        """Box and implicit function (1 at the center, 0 on the surface) of a tilted, lumpy ellipsoid."""
        turn = _rotation(self.rng.normal(0, tilt, 3)) / np.array(radii)[:, None]
        reach = np.linalg.norm(np.linalg.inv(turn), axis=1) * (1 + 2 * lumps)
        box = self.box(np.array(center) - reach, np.array(center) + reach)
        if box is None:
            return None
        offset = [self.world[axis][box] - np.float32(center[axis]) for axis in range(3)]
        square: Floats = np.zeros_like(offset[0])
        for row in turn.astype(np.float32):
            square += (row[0] * offset[0] + row[1] * offset[1] + row[2] * offset[2]) ** 2
        value: Floats = 1 - np.sqrt(square)
        if lumps:
            value += np.float32(lumps) * smooth_field(self.rng, value.shape, (3, 4, 4))
        return box, value

    def blob(
        self, label: int, center: Point, radii: Point, over: Iterable[int] | None = None, lumps: float = 0.1
    ) -> None:
        """Paint an ellipsoid."""
        found = self.ellipsoid(center, radii, lumps=lumps)
        if found is not None:
            self.fill(found[0], found[1] > 0, label, over)

    def organ(self, label: int, center: Point, radii: Point, lumps: float = 0.12, gap: float = 0.0) -> None:
        """Paint an ellipsoid that shares contested ground with earlier organs along their common bisector.

        Neighbors therefore touch on smooth faces, or part by a sheet of fat where `gap` is positive.
        """
        found = self.ellipsoid(center, radii, lumps=lumps)
        if found is None:
            return
        box, value = found
        depth, view = self.depth[box], self.labels[box]
        free = (view == CAVITY) | (depth > 0)
        if gap:
            view[free & (depth > 0) & (value > 0) & (np.abs(value - depth) < gap)] = CAVITY
        won = free & (value > depth + gap)
        view[won], depth[won] = label, value[won]

    def tube(
        self,
        label: int,
        path: NDArray[Any],
        radii: NDArray[Any],
        over: Iterable[int] | None = None,
        before: float | None = None,
    ) -> None:
        """Paint a chain of tapering capsules (path (n, 3), radii (n,)), if asked only in front of y = `before`."""
        for a, b, r0, r1 in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
            reach = max(r0, r1)
            box = self.box(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
            if box is None:
                continue
            along = (b - a).astype(np.float32)
            q = [self.world[axis][box] - np.float32(a[axis]) for axis in range(3)]
            t = (q[0] * along[0] + q[1] * along[1] + q[2] * along[2]) / np.float32(max(float(along @ along), 1e-9))
            np.clip(t, 0, 1, out=t)
            gone = (q[0] - t * along[0]) ** 2 + (q[1] - t * along[1]) ** 2 + (q[2] - t * along[2]) ** 2
            mask = gone < (np.float32(r0) + t * np.float32(r1 - r0)) ** 2
            if before is not None:
                mask &= self.world[1][box] < before
            self.fill(box, mask, label, over)


def _rotation(angles: NDArray[Any]) -> NDArray[Any]:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix
