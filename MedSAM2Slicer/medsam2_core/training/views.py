"""What a clip shows of its slices: whole slices, or a square that follows the object as `image.region.ZoomView` does.

A square that stood still would teach that an object which walks out of it has ended, and that memories always lie where
they were made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsam2_core.image.region import Region, ZoomView, mask_box
from medsam2_core.training.canvas import Generator

_WHOLE_SLICE = 0.35  # share of clips that see whole slices
_ZOOM = (1.4, 3.5)  # side of the square, in sides of the object's box
_SMALLEST_SIDE = 20  # pixels


class Views(NamedTuple):
    """Affine maps (T, 2, 3) as `torch.nn.functional.affine_grid` takes them."""

    places: Tensor  # each slice's view in its slice
    moves: Tensor  # the same view in the view of the slice before: the identity where it stayed


class _Square(NamedTuple):
    center: NDArray[np.float64]  # x, y in pixels from the slice's corner
    side: float  # pixels


def choose_views(rng: Generator, masks: Tensor) -> Views:
    """Choose views of slices in which masks (T, rows, columns) show the object; turned and mirrored at random."""
    rows, columns = masks.shape[1:]
    if rng.random() < _WHOLE_SLICE or not masks[0].any():
        squares = [_whole(rng, rows, columns)] * len(masks)
    else:
        squares = [_square(region) for region in _follow(rng, masks)]
    frame, to_slice = _frame(rng), np.diag([2 / columns, 2 / rows])
    places = [np.column_stack([to_slice @ frame * s.side / 2, to_slice @ s.center - 1]) for s in squares]
    moves = [_move(frame, *pair) for pair in zip([squares[0], *squares[:-1]], squares, strict=True)]
    return Views(*(torch.from_numpy(np.stack(maps).astype(np.float32)) for maps in (places, moves)))


def join_views(views: Sequence[Views]) -> Views:
    """Views of slices that have nothing to do with each other, as one."""
    return Views(*(torch.cat(maps) for maps in zip(*views, strict=True)))


def _whole(rng: Generator, rows: int, columns: int) -> _Square:
    side = max(rows, columns) * rng.uniform(0.8, 1.1)
    return _Square(np.array([columns, rows]) / 2 + rng.uniform(-0.05, 0.05, 2) * side, side)


def _follow(rng: Generator, masks: Tensor) -> list[Region]:
    """A region for each slice, chosen by what the slice before shows; the first lies somewhat beside its object."""
    factor = rng.uniform(*_ZOOM)
    view = ZoomView(factor, _SMALLEST_SIDE, margin=(1 - 1 / factor) / 5, sparse=0.6 / factor)
    shape, box = (masks.shape[1], masks.shape[2]), mask_box(masks[0].cpu().numpy())
    first = view.around(box, *shape, (1, 1))
    aside = np.rint(rng.uniform(-0.12, 0.12, 2) * first.width).astype(int)
    regions = [Region(first.x0 + int(aside[0]), first.y0 + int(aside[1]), first.width, first.height)]
    for mask in masks[:-1]:
        box = mask_box(mask.cpu().numpy()) or box
        regions.append(view.around(box, *shape, (1, 1), regions[-1]))
    return regions


def _square(region: Region) -> _Square:
    center = np.array([region.x0 + region.width / 2, region.y0 + region.height / 2])
    return _Square(center, max(region.width, region.height))


def _frame(rng: Generator) -> NDArray[np.float64]:
    turn = rng.normal(0, math.radians(12)) + rng.choice(4, p=(0.7, 0.1, 0.1, 0.1)) * math.pi / 2
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return np.asarray(rotation @ np.diag(rng.choice((-1, 1), 2) * np.exp(rng.normal(0, 0.08, 2))))


def _move(frame: NDArray[np.float64], before: _Square, now: _Square) -> NDArray[np.float64]:
    shift = np.linalg.solve(frame * before.side / 2, now.center - before.center)
    return np.column_stack([np.eye(2) * now.side / before.side, shift])
