"""The parts of a synthetic body, each painted on the canvas in its place with random size, course and contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsam2_core.training.canvas import (
    BODY_WALL,
    CAVITY,
    EVERYWHERE,
    SKIN_FAT,
    SOFT,
    TABLE,
    Canvas,
    Floats,
    Point,
    Tissue,
    smooth_field,
)
from medsam2_core.training.shapes import cylinder, hollow, shell, tree, wander

_UNDER_SKIN = (CAVITY, BODY_WALL, SKIN_FAT)


@dataclass(frozen=True)
class Body:
    """Where the main walls of this body lie, in body half-widths."""

    flat: float  # depth over width
    cavity: float  # normalized radius of the inner wall
    spine: float  # y of the vertebral bodies
    dome: float  # z of the diaphragm
    rho: Floats  # normalized body radius of each voxel: 1 on the skin


def make_body(c: Canvas) -> Body:
    rng = c.rng
    flat, skin = rng.uniform(0.6, 0.85), rng.uniform(0.03, 0.16)
    cavity = 1 - skin - rng.uniform(0.06, 0.13)
    _, y, x = c.world
    dents = np.float32(rng.uniform(0.01, 0.06)) * smooth_field(rng, c.shape, (3, 4, 4))
    rho = np.sqrt(x * x + y * y / np.float32(flat**2)) * (1 + dents)
    if rng.random() < 0.5:
        bed = y - np.float32(rng.uniform(0, 0.15)) * (1 - x * x)
        c.labels[(np.abs(bed - np.float32(flat * 1.02)) < 0.02) & (np.abs(x) < 0.75)] = TABLE
    c.labels[rho < 1] = SKIN_FAT
    c.labels[rho < 1 - skin] = BODY_WALL
    c.labels[rho < cavity] = CAVITY
    if rng.random() < 0.15:  # a lean body: organs lie in tissue of their own brightness, not in fat
        c.tissue[CAVITY] = int(Tissue.REMAINDER)
    return Body(flat, cavity, cavity * flat - rng.uniform(0.08, 0.18), rng.uniform(-0.15, 0.15), rho)


def _lungs(c: Canvas, body: Body) -> None:
    rng = c.rng
    z, y, x = c.world
    room = np.minimum(np.float32(body.cavity - 0.02) - body.rho, (np.float32(body.dome + 0.95) - z) * 0.6)
    for side in (-1, 1):
        top = np.float32(body.dome + rng.normal(0, 0.04))
        bulge = np.float32(rng.uniform(0.5, 2.5)) * ((x - side * 0.4) ** 2 + (y + 0.1) ** 2)  # the dome falls outwards
        middle = np.float32(rng.uniform(0.09, 0.16)) + np.float32(0.03) * smooth_field(rng, c.shape, (4, 4, 4))
        inside = np.minimum(np.minimum(room, side * x - middle), z - top + bulge) > 0
        label = c.add(Tissue.LUNG)
        c.fill(EVERYWHERE, inside, label, (CAVITY,))
        if rng.random() < 0.4:  # a fissure: the upper lobe is its own object
            upper = z > np.float32(rng.uniform(0.3, 0.5)) + body.dome + np.float32(rng.uniform(0.2, 0.9)) * y
            c.fill(EVERYWHERE, upper, c.add(Tissue.LUNG), (label,))


def _spine(c: Canvas, body: Body) -> None:
    rng = c.rng
    period, radius = rng.uniform(0.13, 0.2), rng.uniform(0.1, 0.14)
    sway, middle = rng.normal(0, 0.03, 2), rng.normal(0, 0.02)
    back = body.spine + radius * 1.15
    marrow = rng.random() < 0.25
    whole_disc = c.add(Tissue.DISC) if rng.random() < 0.3 else 0
    for z in np.arange(c.z_range[0] - period + rng.uniform(0, period), c.z_range[1] + period, period):
        x, y = middle + sway[0] * np.sin(2 * z), body.spine + sway[1] * np.sin(3 * z)
        bone = c.add(Tissue.BONE)
        _neural_arch(c, bone, (z, y + back - body.spine, x), radius, period)
        cylinder(c, bone, (z, y, x), radius, period * 0.41)
        if marrow:
            cylinder(c, c.add(Tissue.MARROW, bone), (z, y, x), radius * 0.82, period * 0.33)
        disc = whole_disc or c.add(Tissue.DISC)
        cylinder(c, disc, (z + period / 2, y, x), radius * 0.97, period * 0.1, over=(CAVITY, BODY_WALL))
    line = np.arange(c.z_range[0] - 0.1, c.z_range[1] + 0.15, 0.05)
    path = np.stack([line, back + sway[1] * np.sin(3 * line), middle + sway[0] * np.sin(2 * line)], axis=1)
    canal = c.add(Tissue.FLUID)
    c.tube(canal, path, np.full(len(path), radius * 0.45))
    if rng.random() < 0.5:
        c.tube(c.add(Tissue.ORGAN, canal), path, np.full(len(path), radius * 0.27), over=(canal,))


def _neural_arch(c: Canvas, bone: int, canal: Point, radius: float, period: float) -> None:
    rng, (z, y, x) = c.rng, canal
    low = z - period * 0.2
    c.tube(bone, np.array([[z + period * 0.1, y, x], [z - period * 0.15, y, x]]), np.full(2, radius * 0.68))
    spinous = np.array([[z, y + radius * 0.5, x], [low - period * 0.3, y + radius * rng.uniform(1.5, 2.2), x]])
    c.tube(bone, spinous, np.array([0.22, 0.26]) * radius)
    for side in (-1, 1):
        tip = [z, y + radius * 0.35, x + side * radius * rng.uniform(1.5, 2)]
        wing = np.array([[z, y, x + side * radius * 0.5], tip])
        c.tube(bone, wing, np.array([0.25, 0.2]) * radius)


def _ribs(c: Canvas, body: Body) -> None:
    rng = c.rng
    period, thick, fall = rng.uniform(0.14, 0.19), rng.uniform(0.025, 0.04), rng.uniform(0.25, 0.5)
    angle = np.linspace(0.3, rng.uniform(2.3, 2.9), 16)  # from the spine round to the front
    shared = c.add(Tissue.BONE) if rng.random() < 0.25 else 0
    for z in np.arange(body.dome - 0.45, body.dome + 1.0, period):
        if z < c.z_range[0] - 0.1 or z - fall > c.z_range[1] + 0.1:
            continue
        for side in (-1, 1):
            r = body.cavity + 0.03
            path = np.stack(
                [z - fall * np.sin(angle / 2) ** 2, r * body.flat * np.cos(angle), side * r * np.sin(angle)], axis=1
            )
            c.tube(shared or c.add(Tissue.BONE), path, np.full(len(path), thick))
    if rng.random() < 0.7:
        front = -body.cavity * body.flat - 0.03
        path = np.array([[body.dome + high, front, x] for high in (0.1, 0.8) for x in (-0.02, 0.02)])
        c.tube(c.add(Tissue.BONE), path, np.full(len(path), 0.04))


def _shoulders(c: Canvas, body: Body) -> None:
    """Collar bones, shoulder blades (thin plates with a ridge, behind the ribs) and the arms' bones, raised."""
    rng = c.rng
    top = body.dome + rng.uniform(0.85, 1.05)
    for side in (-1, 1):
        joint = np.array([top, rng.normal(0.02, 0.03), side * rng.uniform(0.72, 0.82)])
        front = np.array([top - 0.05, -0.75 * body.cavity * body.flat, 0.07 * side])
        collar = np.stack([front, (front + joint) / 2 + [0.04, -0.06, 0], joint])
        c.tube(c.add(Tissue.BONE), collar, rng.uniform(0.024, 0.04, 3), _UNDER_SKIN)
        _shoulder_blade(c, body, joint, side)
        arm = joint + np.array([(-0.08, 0.02, 0), (0.1, 0.0, 0.03 * side), (1.0, -0.1, 0.1 * side)])
        hollow(c, arm, np.array([0.11, 0.08, 0.065]), 0.025, Tissue.BONE, Tissue.MARROW, _UNDER_SKIN)


def _shoulder_blade(c: Canvas, body: Body, joint: NDArray[Any], side: int) -> None:
    rng, bone, r = c.rng, c.add(Tissue.BONE), body.cavity + 0.08
    found = c.ellipsoid((joint[0] - 0.4, 0.0, 0.0), (0.9, r * body.flat, r), tilt=0.05, lumps=0.04)
    if found is None:
        return
    box, value = found
    z, y, x = (axis[box] for axis in c.world)
    below = np.float32(joint[0] + 0.05) - z  # a triangle that narrows downwards
    inner = np.float32(0.3) + np.float32(0.25) * below
    plate = (np.abs(value) < rng.uniform(0.012, 0.03)) & (y > 0) & (side * x > inner) & (below > 0) & (below < 0.65)
    c.fill(box, plate, bone, _UNDER_SKIN)
    ridge = np.array([joint, [joint[0] - 0.12, r * body.flat * 0.85, side * 0.42]])
    c.tube(bone, ridge, np.array([0.04, 0.02]), _UNDER_SKIN)


def _muscles(c: Canvas, body: Body) -> None:
    """Pairs beside the spine and in front of it, and sometimes the limbs' or the pelvis's own."""
    rng = c.rng
    plans = [[0.2, body.spine + 0.22, 0.13, 0.1], [0.22, body.spine, 0.1, 0.1]]
    plans += [rng.uniform((0.3, -0.5, 0.05, 0.05), (0.8, 0.5, 0.15, 0.15)).tolist() for _ in range(rng.integers(4))]
    for x, y, wide, deep in plans:
        z, tall = rng.uniform(*c.z_range), rng.uniform(0.4, 1.5)
        one = c.add(Tissue.MUSCLE) if rng.random() < 0.2 else 0
        for side in (-1, 1):
            center = (z, y, side * (x + rng.normal(0, 0.01)))
            c.blob(one or c.add(Tissue.MUSCLE), center, (tall, deep, wide), (CAVITY, BODY_WALL), 0.08)


def _pelvis(c: Canvas, body: Body) -> None:
    """Hip plates (thin curved shells), thigh bones with marrow, a bladder."""
    rng, z = c.rng, body.dome - 1.15
    for side in (-1, 1):
        bone = c.add(Tissue.BONE)
        found = c.ellipsoid((z, 0.1, side * 0.3), (0.45, 0.45, 0.47), lumps=0.08)
        if found is not None:
            box, value = found
            outer = side * c.world[2][box] > rng.uniform(0.3, 0.5)
            c.fill(box, (np.abs(value) < rng.uniform(0.05, 0.09)) & outer, bone, _UNDER_SKIN)
        path = np.array([[z - 0.15, 0.05, side * 0.48], [z - 0.35, 0.08, side * 0.62], [z - 1.0, 0.05, side * 0.55]])
        hollow(c, path, np.array([0.12, 0.08, 0.08]), 0.03, Tissue.BONE, Tissue.MARROW)
    shell(c, (z - 0.1, -0.2, 0.0), (0.2, 0.17, 0.22), Tissue.WALL, Tissue.FLUID)


def _abdomen(c: Canvas, body: Body) -> None:
    """Liver, spleen, kidneys and their neighbors, each jittered in place, size and presence."""
    rng, floor = c.rng, body.dome - 0.05
    plan: list[tuple[Point, Point, float]] = [
        ((floor - 0.25, -0.05, -0.38), (0.42, 0.38, 0.36), 0.15),
        ((floor - 0.15, -0.25, -0.05), (0.2, 0.16, 0.3), 0.15),
        ((floor - 0.25, 0.18, 0.52), (0.25, 0.22, 0.14), 0.12),
        ((floor - 0.6, body.spine - 0.1, -0.36), (0.26, 0.13, 0.12), 0.08),
        ((floor - 0.55, body.spine - 0.1, 0.36), (0.26, 0.13, 0.12), 0.08),
    ]
    gap = rng.choice((0.0, 0.0, 0.06))
    for n, (center, radii, lumps) in enumerate(plan):
        if rng.random() < 0.1:
            continue
        where, size = rng.normal(center, 0.04), np.array(radii) * rng.uniform(0.85, 1.3)
        label = c.add(Tissue.ORGAN)
        c.organ(label, (where[0], where[1], where[2]), (size[0], size[1], size[2]), lumps, gap)
        if n == 0:
            tree(c, c.add(Tissue.VESSEL, label), where, rng.normal(0, 1, 3), 0.045, over=(label,))
        elif n >= 3:
            _kidney_core(c, label, where, size)
    _gland(c, floor)
    if rng.random() < 0.7:
        shell(c, (floor - 0.5, -0.15, -0.25), (0.15, 0.08, 0.07), Tissue.WALL, Tissue.FLUID)
    if rng.random() < 0.8:
        shell(c, (floor - 0.3, -0.2, 0.3), (0.3, 0.18, 0.24), Tissue.WALL, Tissue.FLUID)


def _kidney_core(c: Canvas, label: int, where: NDArray[Any], size: NDArray[Any]) -> None:
    if c.rng.random() < 0.5:
        for high in np.linspace(-0.6, 0.6, 4):
            center = (where[0] + high * size[0], where[1], where[2])
            c.blob(c.add(Tissue.MUSCLE, label), center, (size[0] * 0.2, size[1] * 0.5, size[2] * 0.5), (label,))
    pelvis = (float(where[0]), float(where[1]), float(where[2] * 0.85))
    c.blob(c.add(Tissue.FLUID, label), pelvis, (size[0] * 0.4, size[1] * 0.4, size[2] * 0.5), (label,))


def _gland(c: Canvas, floor: float) -> None:
    """A pancreas (a lumpy tube lying within few slices) and Y-shaped adrenals that split along k."""
    rng = c.rng
    x = np.linspace(-0.2, 0.45, 12)
    path = np.stack([floor - 0.45 + 0.25 * (x + 0.2) + rng.normal(0, 0.01, 12), -0.02 + 0.4 * x * x, x], axis=1)
    c.tube(c.add(Tissue.ORGAN), path, rng.uniform(0.04, 0.08, 12), [CAVITY, *c.of(Tissue.ORGAN)])
    for side in (-1, 1):
        top = np.array([floor - 0.25, 0.18, side * 0.27])
        label = c.add(Tissue.ORGAN)
        for fork in ((-0.18, 0.08, 0.05 * side), (-0.18, 0.1, -0.03 * side)):
            c.tube(label, np.stack([top, top + fork]), np.full(2, 0.018), (CAVITY,))


def _heart(c: Canvas, body: Body) -> None:
    rng = c.rng
    z, y, x = body.dome + 0.2, -0.12, 0.14 * rng.choice((1, 1, 1, -1))
    muscle = c.add(Tissue.MUSCLE)
    size = rng.uniform(0.8, 1.15)
    c.blob(muscle, (z, y, x), (0.3 * size, 0.26 * size, 0.32 * size), [CAVITY, *c.of(Tissue.LUNG)])
    for dz, dy, dx in ((-0.05, -0.1, -0.1), (-0.06, 0.0, 0.12), (0.1, 0.1, -0.12), (0.1, 0.13, 0.03)):
        radii = rng.uniform(0.07, 0.13, 3)
        center = (z + dz * size, y + dy * size, x + dx * size)
        c.blob(c.add(Tissue.VESSEL, muscle), center, (radii[0], radii[1], radii[2]), (muscle,), 0.2)


def _airways(c: Canvas, body: Body) -> None:
    rng, d = c.rng, body.dome
    carina = np.array([d + 0.58, 0.1, rng.normal(0, 0.02)])
    wall = c.add(Tissue.WALL)
    limbs = [carina + np.array([(1.2, -0.12, 0), (0, 0, 0)])]
    limbs += [carina + np.array([(0, 0, 0), (-0.14, 0.02, 0.14 * s), (-0.24, 0.05, 0.3 * s)]) for s in (-1, 1)]
    radius, thick = rng.uniform(0.05, 0.075), rng.uniform(0.9, 1.8) * c.pixel
    sizes = [np.array([1.0, 0.75, 0.45][: len(p)]) * radius * (1 if n == 0 else 0.8) for n, p in enumerate(limbs)]
    for path, size in zip(limbs, sizes, strict=True):
        c.tube(wall, path, size)
    lumen = c.add(Tissue.AIR, wall)
    for path, size in zip(limbs, sizes, strict=True):
        c.tube(lumen, path, np.maximum(size - thick, 0.3 * size), (wall,))
    gullet = np.array([[d + 1.6, 0.15, 0.03], [d + 0.4, body.spine - 0.2, 0.02], [d - 0.1, 0.1, 0.1]])
    content = (Tissue.AIR, Tissue.FLUID, Tissue.WALL)[rng.choice(3)]
    hollow(c, gullet, rng.uniform(0.03, 0.055, 3), rng.uniform(1, 2) * c.pixel, Tissue.WALL, content)


def _bowel(c: Canvas, body: Body) -> None:
    """Winding thin-walled loops: they run within slices and through them, and meet themselves again."""
    rng = c.rng
    high = body.dome - 0.45
    limits = np.array([[high - 1.2, -body.cavity * body.flat * 0.8, -0.55], [high, 0.15, 0.55]])
    for _ in range(rng.integers(1, 6)):
        radius = rng.uniform(0.04, 0.1)
        path = wander(rng, limits, int(rng.integers(8, 30)), radius * 1.3)
        content = (Tissue.AIR, Tissue.FLUID, Tissue.FLUID, Tissue.ORGAN)[rng.choice(4)]
        radii = radius * rng.uniform(0.75, 1.25, len(path))
        wall = min(rng.uniform(1.0, 2.2) * c.pixel, 0.5 * radius)
        hollow(c, path, radii, wall, Tissue.WALL, content, [CAVITY, *c.of(*SOFT)])


# Offsets (z, y, x) from (diaphragm, spine, middle); the arch of the aorta runs within few slices.
_AORTA: tuple[Point, ...] = (
    (-2.5, -0.2, 0.03),
    (0, -0.17, 0.1),
    (0.6, -0.14, 0.13),
    (0.74, -0.28, 0.11),
    (0.78, -0.45, 0.05),
    (0.7, -0.57, -0.02),
    (0.4, -0.58, -0.04),
    (0.25, -0.5, 0.05),
)
_CAVA = ((-2.5, -0.2, -0.1), (-0.4, -0.22, -0.12), (0.1, -0.4, -0.14), (0.5, -0.5, -0.15), (1.3, -0.5, -0.16))


def _great_vessels(c: Canvas, body: Body) -> None:
    rng, origin = c.rng, np.array([body.dome, body.spine, 0])
    over = [CAVITY, *c.of(*SOFT), *c.of(Tissue.LUNG)]

    def vessel(course: tuple[Point, ...], radius: float) -> None:
        path = origin + np.array(course) + rng.normal(0, 0.01, (len(course), 3))
        c.tube(c.add(Tissue.VESSEL), path, radius * rng.uniform(0.8, 1.1, len(path)), over)

    vessel(_AORTA, rng.uniform(0.05, 0.09))
    vessel(_CAVA, rng.uniform(0.05, 0.08))
    for side in (-1, 1):
        vessel(((-0.55, -0.2, 0.05 * side), (-0.57, -0.15, 0.2 * side), (-0.58, -0.1, 0.36 * side)), 0.028)
        vessel(((-0.95, -0.2, 0.03), (-1.15, -0.22, 0.15 * side), (-1.6, -0.5, 0.3 * side)), 0.04)


def _lung_vessels(c: Canvas, body: Body) -> None:
    lungs = c.of(Tissue.LUNG)
    for side in (-1, 1):
        for _ in range(4):
            root = np.array([body.dome + c.rng.uniform(0.25, 0.6), 0.08, 0.13 * side]) + c.rng.normal(0, 0.03, 3)
            heading = c.rng.normal((0, 0, 1.5 * side), 1)
            tree(c, c.add(Tissue.VESSEL), root, heading, c.rng.uniform(0.03, 0.055), [*lungs, CAVITY])


def loose_organs(c: Canvas, body: Body, count: int) -> None:
    """Loose organs that crowd the cavity: touching or parted, single or two-lobed (they merge along k), some hollow."""
    rng = c.rng
    gap = rng.choice((0.0, 0.0, 0.08))
    for _ in range(count):
        reach = body.cavity * 0.9
        where = (rng.uniform(*c.z_range), rng.uniform(-reach, reach) * body.flat, rng.uniform(-reach, reach))
        size = rng.uniform(0.06, 0.3) * rng.uniform(0.6, 1.4, 3)
        radii = (size[0], size[1], size[2])
        kind = rng.random()
        if kind < 0.12:
            shell(c, where, radii, Tissue.WALL, (Tissue.FLUID, Tissue.AIR, Tissue.ORGAN)[rng.choice(3)])
            continue
        label = c.add((Tissue.ORGAN, Tissue.ORGAN, Tissue.MUSCLE, Tissue.FLUID, Tissue.VESSEL)[rng.choice(5)])
        c.organ(label, where, radii, rng.uniform(0.05, 0.25), gap)
        if kind > 0.75:
            shift = rng.normal(0, 0.8, 3) * size
            c.organ(label, (where[0] + shift[0], where[1] + shift[1], where[2] + shift[2]), radii, 0.15, gap)


def loose_vessels(c: Canvas, body: Body) -> None:
    rng, over = c.rng, [CAVITY, BODY_WALL, *c.of(Tissue.ORGAN, Tissue.MUSCLE)]
    limits = np.array([[c.z_range[0], -0.6 * body.flat, -0.6], [c.z_range[1], 0.6 * body.flat, 0.6]])
    for _ in range(rng.integers(0, 4)):
        tree(c, c.add(Tissue.VESSEL), rng.uniform(*limits), rng.normal(0, 1, 3), rng.uniform(0.03, 0.06), over)
    for _ in range(rng.integers(0, 4)):
        path = wander(rng, limits, int(rng.integers(5, 14)), 0.12)
        c.tube(c.add(Tissue.VESSEL), path, rng.uniform(0.015, 0.05) * rng.uniform(0.8, 1.2, len(path)), over)


def lesions(c: Canvas) -> None:
    """Small masses inside organs, lungs, bones and fat, around voxels drawn from the finished volume."""
    rng = c.rng
    host_tissues = (Tissue.ORGAN, Tissue.ORGAN, Tissue.LUNG, Tissue.MUSCLE, Tissue.BONE)
    for _ in range(rng.integers(1, 9)):
        voxel = tuple(int(rng.integers(n)) for n in c.shape)
        host = int(c.labels[voxel])
        if c.tissue[host] not in host_tissues and host != CAVITY:
            continue
        size = rng.uniform(0.02, 0.12) * rng.uniform(0.7, 1.3, 3)
        center = (float(c.world[0][voxel]), float(c.world[1][voxel]), float(c.world[2][voxel]))
        tissue = (Tissue.LESION, Tissue.LESION, Tissue.FLUID)[rng.choice(3)]
        parent = 0 if host == CAVITY else host
        c.blob(c.add(tissue, parent), center, (size[0], size[1], size[2]), (host,), rng.uniform(0.05, 0.25))


PARTS: tuple[Callable[[Canvas, Body], None], ...] = (_lungs, _muscles, _abdomen)
LATE_PARTS: tuple[Callable[[Canvas, Body], None], ...] = (
    _bowel,
    _heart,
    _great_vessels,
    _lung_vessels,
    _airways,
    _pelvis,
    _shoulders,
    _ribs,
    _spine,
)
