"""Clips: a few slices of one object, cut out, turned and resampled to the model's image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medsam2_core.training.volumes import Generator, TrainingVolume

_WHOLE_SLICE = 0.35  # share of clips that see the whole slice; the others see a square around the object
_ZOOM = (1.4, 3.5)  # side of that square, in sides of the object's box
_SMALLEST_SIDE = 20.0  # pixels

# Share of clips that walk past the object's end. Without them 13 % of the tracked slices of 4-slice clips are empty,
# and models learn that objects never end.
_PAST_THE_END = 0.5


class Clip(NamedTuple):
    """Slices in the order they are tracked; the object is on the first one."""

    images: Tensor  # (T, S, S), float32 in [0, 1]
    masks: Tensor  # (T, S, S), bool


class ClipDataset(Dataset[Clip]):
    """An endless supply of clips: item n depends on (seed, n) alone, so an interrupted training goes on as it was.

    `sources` are groups of volumes with their share of the clips; within a group volumes come by weight.
    """

    def __init__(
        self, sources: Sequence[tuple[float, Sequence[TrainingVolume]]], length: int, size: int, seed: int
    ) -> None:
        self._shares = np.array([share for share, _ in sources])
        self._groups = [volumes for _, volumes in sources]
        self._weights = [np.array([volume.weight for volume in volumes]) for volumes in self._groups]
        self._length, self._size, self._seed = length, size, seed

    def __len__(self) -> int:
        """As long as any training."""
        return 2**31

    def __getitem__(self, index: int) -> Clip:
        """Cut clip number `index`."""
        rng = np.random.default_rng((self._seed, index))
        while True:  # now and then an object is too small where it was cut
            group = _choose(rng, self._shares)
            volume = self._groups[group][_choose(rng, self._weights[group])]
            clip = cut_clip(rng, volume, self._length, self._size)
            if clip.masks[0].sum() >= 12:
                return clip


def _choose(rng: Generator, weights: NDArray[np.float64]) -> int:
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def cut_clip(rng: Generator, volume: TrainingVolume, length: int, size: int) -> Clip:
    """Cut a clip of `length` slices, resampled to `size` pixels, around a random object of the volume."""
    axis = int(rng.choice(3, p=_axis_chances(volume.shape)))
    mask = np.moveaxis(volume.pick(rng), axis, 0)
    order = _slice_order(rng, mask, length)
    needed, place = np.unique(order, return_inverse=True)
    images = torch.from_numpy(volume.look(rng, axis, needed)[place])
    masks = torch.from_numpy(np.ascontiguousarray(mask[order]))
    grid = _view(rng, masks[0], size).expand(length, -1, -1, -1)
    images = F.grid_sample(images[:, None], grid, mode="bilinear", align_corners=False)[:, 0]
    masks = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0] > 0.5
    return Clip(images, masks)


def _axis_chances(shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Mostly the first axis; the others the less, the more a slice along them is a strip."""
    chances = np.array([min(a, b) / max(a, b) for a, b in ((shape[1], shape[2]), shape[::2], shape[:2])]) ** 2
    chances[0] += 1
    return chances / chances.sum()


def _slice_order(rng: Generator, mask: NDArray[np.bool_], length: int) -> NDArray[np.intp]:
    """Start on a slice of the object, walk up or down in steps of 1 to 3 slices, turn round at the volume's end."""
    area = mask.sum(axis=(1, 2)).astype(float)
    step = int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)) * rng.choice((-1, 1)))
    if length > 1 and rng.random() < _PAST_THE_END:
        start = _start_before_end(rng, np.flatnonzero(area), step, length)
    else:
        start = int(rng.choice(len(area), p=area / area.sum()))
    walk = start + step * np.arange(length)
    period = max(2 * (len(area) - 1), 1)
    folded = np.abs(walk) % period
    return np.minimum(folded, period - folded) if len(area) > 1 else np.zeros(length, dtype=np.intp)


def _start_before_end(rng: Generator, present: NDArray[np.intp], step: int, length: int) -> int:
    """Choose a slice so near the object's end that a walk of `length` slices leaves the object behind."""
    wanted = present[-1 if step > 0 else 0] - step * rng.integers(length - 1)
    return int(present[np.abs(present - wanted).argmin()])


def _view(rng: Generator, mask: Tensor, size: int) -> Tensor:
    """A sampling grid (1, size, size, 2) that shifts, scales, turns and mirrors the slice at random."""
    height, width = mask.shape
    if rng.random() < _WHOLE_SLICE or not mask.any():
        side, centre = max(height, width) * rng.uniform(0.8, 1.1), np.array([width, height]) / 2
        jitter = 0.05
    else:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        low = np.array([float(columns.min()), float(rows.min())])
        high = np.array([float(columns.max()), float(rows.max())]) + 1
        side = max(float((high - low).max()) * rng.uniform(*_ZOOM), _SMALLEST_SIDE)
        centre, jitter = (low + high) / 2, 0.12
    centre = centre + rng.uniform(-jitter, jitter, 2) * side
    turn = rng.normal(0, math.radians(12)) + rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)) * math.pi / 2
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    stretch = np.diag(rng.choice((-1, 1), 2) * np.exp(rng.normal(0, 0.08, 2)) * side / 2)
    to_pixels = np.diag([2 / width, 2 / height])
    theta = np.column_stack([to_pixels @ rotation @ stretch, to_pixels @ centre - 1])
    return F.affine_grid(torch.tensor(theta, dtype=torch.float32)[None], [1, 1, size, size], align_corners=False)
