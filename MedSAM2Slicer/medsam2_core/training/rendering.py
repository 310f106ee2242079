"""Label volumes to images: one look per volume (`Style`), drawn at load time over any sub-volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam2_core.training.canvas import Floats, Generator, Labels, Tissue, smooth_field

# Mean, spread between labels (both HU). Soft tissues lie 10 to 60 HU apart, as they do in a patient.
_HOUNSFIELD: dict[Tissue, tuple[float, float]] = {
    Tissue.OUTSIDE: (-1000, 0),
    Tissue.TABLE: (-150, 150),
    Tissue.FAT: (-100, 12),
    Tissue.REMAINDER: (52, 10),
    Tissue.AIR: (-985, 15),
    Tissue.LUNG: (-840, 50),
    Tissue.MUSCLE: (55, 10),
    Tissue.ORGAN: (90, 32),
    Tissue.WALL: (55, 20),
    Tissue.VESSEL: (50, 10),
    Tissue.BONE: (300, 80),
    Tissue.MARROW: (150, 60),
    Tissue.DISC: (85, 20),
    Tissue.FLUID: (10, 12),
    Tissue.LESION: (50, 40),
}
# Level, width (HU) and how often: abdomen, narrow, mediastinum, wide, lung, bone.
_WINDOWS = ((45, 400), (60, 230), (50, 360), (100, 1000), (-550, 1500), (400, 1800))
_WINDOW_ODDS = (0.38, 0.1, 0.17, 0.13, 0.14, 0.08)


@dataclass(frozen=True)
class Style:
    """How one volume looks; arrays are indexed by label, intensities are in [0, 1] units after windowing."""

    level: Floats
    grain: Floats  # fine texture, standard deviation
    mottle: Floats  # coarse texture, standard deviation
    rim: Floats  # brighter (or darker) towards the label's border
    noise: float
    smear: float  # noise correlation, 0 (white) to 1
    blur: tuple[float, float, float]  # three-tap weight of the neighbors along k, j, i
    bias: float  # log standard deviation of the bias field
    gamma: float
    streak: float
    drift: float  # brightness from slice to slice


def draw_style(rng: Generator, tissue: Labels) -> Style:
    """A random look for a volume whose labels are made of `tissue` (labels,); 55% are CT-like."""
    return _ct_style(rng, tissue) if rng.random() < 0.55 else _random_style(rng, tissue)


def _ct_style(rng: Generator, tissue: Labels) -> Style:
    table = np.array([_HOUNSFIELD[kind] for kind in Tissue])
    values = rng.normal(table[tissue, 0], table[tissue, 1])
    vessels = tissue == Tissue.VESSEL
    contrast = rng.uniform(60, 280) if rng.random() < 0.7 else 0.0  # HU added by contrast medium
    values[vessels] += contrast * rng.uniform(0.6, 1.1, int(vessels.sum()))
    if rng.random() < 0.5:  # a plain scan: organs, muscle and blood within a few HU of each other
        soft = np.isin(tissue, (Tissue.ORGAN, Tissue.MUSCLE, Tissue.REMAINDER, Tissue.WALL))
        values[soft] = 58 + 0.4 * (values[soft] - 58)
    level, full = _WINDOWS[rng.choice(len(_WINDOWS), p=_WINDOW_ODDS)]
    width = full * rng.uniform(0.85, 1.2)
    low = level + rng.normal(0, 0.04) * width - width / 2
    textured = np.isin(tissue, (Tissue.BONE, Tissue.MARROW, Tissue.LUNG)) * 25.0 + (tissue >= Tissue.FAT) * 5.0
    rim = np.zeros(len(tissue))
    rim[tissue == Tissue.BONE] = rng.uniform(150, 700)
    rim[tissue == Tissue.ORGAN] = rng.choice((0, 0, 40)) * rng.random(int((tissue == Tissue.ORGAN).sum()))
    return Style(
        level=_narrow((values - low) / width),
        grain=_narrow(textured * rng.uniform(0, 1.0) / width),
        mottle=_narrow(textured * rng.uniform(0, 1.5) / width),
        rim=_narrow(rim / width),
        noise=rng.uniform(3, 22) / width,
        smear=rng.uniform(0.3, 1),
        blur=_blur(rng),
        bias=0.0,
        gamma=1.0,
        streak=rng.uniform(5, 30) / width if rng.random() < 0.15 else 0.0,
        drift=0.0,
    )


def _random_style(rng: Generator, tissue: Labels) -> Style:
    """Any intensity for any tissue (MR-like, inverted): same-tissue labels share theirs, more or less."""
    spread = rng.choice((0.02, 0.06, 0.15, 0.4))
    values = rng.random(len(Tissue))[tissue] + rng.normal(0, spread, len(tissue))
    if rng.random() < 0.8:
        dark = np.isin(tissue, (Tissue.OUTSIDE, Tissue.AIR, Tissue.LUNG, Tissue.TABLE))
        values[dark] = rng.uniform(0, 0.08) + 0.1 * np.isin(tissue[dark], (Tissue.LUNG,)) * rng.random()
    if rng.random() < 0.1:
        values = 1 - values
    clear = tissue != Tissue.OUTSIDE
    return Style(
        level=_narrow(np.clip(values, 0, 1)),
        grain=_narrow(rng.uniform(0, 0.04, len(tissue)) * clear),
        mottle=_narrow(rng.uniform(0, 0.06, len(tissue)) * clear),
        rim=_narrow(rng.normal(0, 0.15, len(tissue)) * (rng.random(len(tissue)) < 0.2)),
        noise=rng.uniform(0.003, 0.035),
        smear=rng.uniform(0, 0.7),
        blur=_blur(rng),
        bias=rng.uniform(0, 0.3),
        gamma=float(np.exp(rng.normal(0, 0.25))),
        streak=0.0,
        drift=rng.uniform(0, 0.02) if rng.random() < 0.3 else 0.0,
    )


def _narrow(values: NDArray[np.floating]) -> Floats:
    return values.astype(np.float32)


def _blur(rng: Generator) -> tuple[float, float, float]:
    plane = rng.uniform(0.05, 0.25)
    return rng.uniform(0, 0.15), plane, plane


def render(rng: Generator, labels: Labels, tissue: Labels, style: Style | None = None) -> Floats:
    """Image in [0, 1], float32, of a label volume or any part of it (k, j, i).

    Pass one `style` for several parts of a volume to give them one look; 16 ms for 8x192x192 on one core.
    """
    style = draw_style(rng, tissue) if style is None else style
    image = _textured(rng, labels, style)
    image = _smooth(image, style.blur)
    if style.streak:
        image += _streaks(rng, labels.shape[1:], style.streak)
    if style.drift:
        image += rng.normal(0, style.drift, (len(labels), 1, 1)).astype(np.float32)
    if style.bias:
        image *= np.exp(np.float32(style.bias) * smooth_field(rng, labels.shape, (1, 2, 2)))
    image += _noise(rng, labels.shape, style)
    np.clip(image, 0, 1, out=image)
    if style.gamma != 1:
        np.power(image, np.float32(style.gamma), out=image)
    return image


def _noise(rng: Generator, shape: tuple[int, ...], style: Style) -> Floats:
    weight = 0.25 * style.smear
    grain = _smooth(rng.standard_normal(shape, dtype=np.float32), (0.0, weight, weight))
    kept = (1 - 2 * weight) ** 2 + 2 * weight**2  # share of the deviation that two three-tap passes leave
    return np.multiply(grain, style.noise / kept, dtype=np.float32)


def _textured(rng: Generator, labels: Labels, style: Style) -> Floats:
    image = style.level[labels]
    coarse = (max(2, labels.shape[0] // 4), labels.shape[1] // 12 + 1, labels.shape[2] // 12 + 1)
    image += style.mottle[labels] * smooth_field(rng, labels.shape, coarse)
    fine = _smooth(rng.standard_normal(labels.shape, dtype=np.float32), (0.0, 0.2, 0.2))
    image += style.grain[labels] * fine
    if style.rim.any():
        image += _rim(labels, style.rim)
    return image


def _rim(labels: Labels, gain: Floats) -> Floats:
    """Per voxel, the label's gain times the share of its in-plane neighbors that differ from it."""
    differs = np.zeros(labels.shape, dtype=np.float32)
    for axis in (1, 2):
        edge = (np.diff(labels, axis=axis) != 0).astype(np.float32)
        first: list[slice] = [slice(None)] * 3
        second: list[slice] = [slice(None)] * 3
        first[axis], second[axis] = slice(0, -1), slice(1, None)
        differs[tuple(first)] += edge
        differs[tuple(second)] += edge
    return gain[labels] * np.minimum(_smooth(differs, (0, 0.2, 0.2)), 1)


def _smooth(image: Floats, weights: tuple[float, float, float]) -> Floats:
    """Three-tap blur, weights (w, 1 - 2w, w) along each axis; the border keeps its value."""
    for axis, weight in enumerate(weights):
        if weight and image.shape[axis] > 2:
            moved = np.moveaxis(image, axis, 0)
            blurred = image.copy()
            target = np.moveaxis(blurred, axis, 0)
            target[1:-1] += np.float32(weight) * (moved[:-2] + moved[2:] - 2 * moved[1:-1])
            image = blurred
    return image


def _streaks(rng: Generator, shape: tuple[int, ...], amount: float) -> Floats:
    """Rays from one dense point in the slice (j, i), fading outwards."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    y, x = y - rng.uniform(0.3, 0.7) * shape[0], x - rng.uniform(0.2, 0.8) * shape[1]
    angle = np.arctan2(y, x)
    waves = sum(np.sin(n * angle + rng.uniform(0, 6.3)) for n in rng.integers(3, 16, 4)) / 2
    far = np.hypot(y, x) / (0.25 * shape[1])
    fading = far * np.exp(1 - far)  # nothing at the point itself, where the rays would alias
    return np.asarray(amount * waves * fading, dtype=np.float32)
