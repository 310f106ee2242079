"""Prompts drawn as a mask, the starter model's second way of seeing them.

A small model trained for an hour finds "inside the box" in a picture much sooner than in two coordinate tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medsam2_core.model.prompt_encoder import BOX_END, BOX_START, EXCLUDE, INCLUDE

DENSE_LIMIT = 8.0
"""Dense prompts stay within plus and minus this, whether drawn or carried over from the slice before."""

_CLICK_RADIUS = 1 / 24  # of the image's side


def draw_prompts(points: Tensor, labels: Tensor, image_size: int, base: Tensor | None = None) -> Tensor:
    """Draw points (B, P, 2) with labels (B, P) as mask logits (B, 1, S / 4, S / 4).

    The inside of a box is half sure and its outside surely outside; a click is sure near its place. Elsewhere stands
    `base` (B, S / 4, S / 4), an earlier answer, or 0, unknown.
    """
    side = image_size // 4
    center = (torch.arange(side, device=points.device) + 0.5) * 4 - 0.5
    x, y = points[:, :, 0, None, None], points[:, :, 1, None, None]
    nearness = torch.exp(
        -((center[None, None, None, :] - x) ** 2 + (center[None, None, :, None] - y) ** 2)
        / (2 * (_CLICK_RADIUS * image_size) ** 2)
    )
    drawn = _draw_boxes(points, labels, center, torch.zeros_like(nearness[:, 0]) if base is None else base)
    for label, sign in ((INCLUDE, 1.0), (EXCLUDE, -1.0)):
        bump = (nearness * (labels == label)[:, :, None, None]).amax(dim=1)
        drawn = drawn + (sign * DENSE_LIMIT - drawn) * bump
    return drawn[:, None]


def _draw_boxes(points: Tensor, labels: Tensor, center: Tensor, base: Tensor) -> Tensor:
    starts = _corner(points, labels == BOX_START)
    ends = _corner(points, labels == BOX_END)
    inside_x = (center >= starts[:, :1]) & (center <= ends[:, :1])
    inside_y = (center >= starts[:, 1:]) & (center <= ends[:, 1:])
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    has_box = (labels == BOX_START).any(dim=1)[:, None, None]
    return torch.where(has_box, torch.where(inside, DENSE_LIMIT / 2, -DENSE_LIMIT), base)


def _corner(points: Tensor, chosen: Tensor) -> Tensor:
    return (points * chosen[..., None]).sum(dim=1)


def carry_mask(logits: Tensor) -> Tensor:
    """Turn the mask logits (B, h, w) of the slice before into dense prompts (B, 1, h, w)."""
    return logits[:, None].clamp(-DENSE_LIMIT, DENSE_LIMIT)
