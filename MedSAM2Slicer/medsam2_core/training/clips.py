"""Clips: a few slices of one object, cut out, turned and resampled to the model's image; in order, or as a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from medsam2_core.training.canvas import Generator
from medsam2_core.training.views import choose_views, join_views
from medsam2_core.training.volumes import TrainingVolume

# Share of clips that walk past the object's end. Without them 13 % of the tracked slices of 4-slice clips are empty,
# and models learn that objects never end; with 35 % the starter still left only 58 % of the empty slices empty.
_PAST_THE_END = 0.6

# Share of the images of a set that are slices without the object, if the volume has any.
_WITHOUT = 1 / 3


class Clip(NamedTuple):
    """Slices in the order they are tracked; the object is on the first one."""

    images: Tensor  # (T, S, S), float32 in [0, 1]
    masks: Tensor  # (T, S, S), bool
    moves: Tensor  # (T, 2, 3), where the view lies in that of the slice before, see `views.Views`
    ordered: Tensor  # (), bool: False for the images of a set, of which none tells where the object is on the next


class ClipDataset(Dataset[Clip]):
    """An endless supply of clips: item n depends on (seed, n) alone, so an interrupted training goes on as it was.

    `sources` are groups of volumes with their share of the clips; within a group volumes come by weight. `sets` is the
    share of clips that are sets.
    """

    def __init__(
        self,
        sources: Sequence[tuple[float, Sequence[TrainingVolume]]],
        length: int,
        size: int,
        seed: int,
        sets: float = 0.0,
    ) -> None:
        self._shares = np.array([share for share, _ in sources])
        self._groups = [volumes for _, volumes in sources]
        self._weights = [np.array([volume.weight for volume in volumes]) for volumes in self._groups]
        self._length, self._size, self._seed, self._sets = length, size, seed, sets

    def __len__(self) -> int:
        """As long as any training."""
        return 2**31

    def __getitem__(self, index: int) -> Clip:
        """Cut clip number `index`."""
        rng = np.random.default_rng((self._seed, index))
        while True:  # now and then an object is too small where it was cut
            group = _choose(rng, self._shares)
            volume = self._groups[group][_choose(rng, self._weights[group])]
            ordered = not self._sets or rng.random() >= self._sets
            clip = cut_clip(rng, volume, self._length, self._size, ordered)
            if clip.masks[0].sum() >= 12:
                return clip


def _choose(rng: Generator, weights: NDArray[np.float64]) -> int:
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def cut_clip(rng: Generator, volume: TrainingVolume, length: int, size: int, ordered: bool) -> Clip:
    """Cut a clip of `length` slices, resampled to `size` pixels, around a random object of the volume.

    Unless it is `ordered` it is a set: slices of the object and some without it, each turned, placed and enlarged in a
    way of its own, so that only what the object looks like tells where it is.
    """
    axis = int(rng.choice(3, p=_axis_chances(volume.shape)))
    mask = np.moveaxis(volume.pick(rng), axis, 0)
    order = _slice_order(rng, mask, length) if ordered else _set_of_slices(rng, mask, length)
    needed, place = np.unique(order, return_inverse=True)
    images = torch.from_numpy(volume.look(rng, axis, needed)[place])
    masks = torch.from_numpy(np.ascontiguousarray(mask[order]))
    views = choose_views(rng, masks) if ordered else join_views([choose_views(rng, one[None]) for one in masks])
    grid = F.affine_grid(views.places, [length, 1, size, size], align_corners=False)
    images = F.grid_sample(images[:, None], grid, mode="bilinear", align_corners=False)[:, 0]
    masks = F.grid_sample(masks[:, None].float(), grid, mode="bilinear", align_corners=False)[:, 0] > 0.5
    return Clip(images, masks, views.moves, torch.tensor(ordered))


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


def _set_of_slices(rng: Generator, mask: NDArray[np.bool_], length: int) -> NDArray[np.intp]:
    """Slices in no order, the first one with the object; repeated if there are too few."""
    area = mask.sum(axis=(1, 2)).astype(float)
    there, without = np.flatnonzero(area), np.flatnonzero(area == 0)
    empty = rng.random(length) < (_WITHOUT if len(without) else 0.0)
    empty[0] = False
    first = rng.choice(len(area), p=area / area.sum())
    return np.array([first, *(rng.choice(without if is_empty else there) for is_empty in empty[1:])], dtype=np.intp)


def _start_before_end(rng: Generator, present: NDArray[np.intp], step: int, length: int) -> int:
    """Choose a slice so near the object's end that a walk of `length` slices leaves the object behind."""
    wanted = present[-1 if step > 0 else 0] - step * rng.integers(length - 1)
    return int(present[np.abs(present - wanted).argmin()])
