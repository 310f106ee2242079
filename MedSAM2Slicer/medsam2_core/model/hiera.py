"""Hiera, the image encoder's trunk: a hierarchical vision transformer with windowed attention.

Ryali et al., "Hiera: a hierarchical vision transformer without the bells-and-whistles", arXiv 2306.00989, as used by
SAM 2 (arXiv 2408.00714). Maps are (B, H, W, C) inside and (B, C, H, W) at the outside.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.attention import attend
from medsam2_core.model.layers import MLP, Linear, in_parts
from medsam2_core.model.positions import resized_window_code


def split_windows(x: Tensor, size: int) -> Tensor:
    """Cut (B, H, W, C) into windows (B * n, size, size, C)."""
    return x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(0, 2)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `split_windows`: (B * n, size, size, C) back to (B, height, width, C)."""
    size = windows.shape[1]
    return windows.unflatten(0, (-1, height // size, width // size)).transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _window_tokens(height: int, width: int, size: int, device: torch.device) -> Tensor:
    """Which tokens of a map (height, width) the windows that cover it hold; height * width where it has none."""
    token = torch.arange(height * width, device=device).unflatten(0, (height, width))
    covered = F.pad(token, (0, -width % size, 0, -height % size), value=height * width)
    return split_windows(covered[None, :, :, None], size).flatten()


def _map_tokens(height: int, width: int, size: int, device: torch.device) -> Tensor:
    """Where each token of a map (height, width) stands among those of the windows that cover it."""
    rows, columns = -(-height // size), -(-width // size)
    token = torch.arange(rows * columns * size**2, device=device).unflatten(0, (-1, size, size, 1))
    return join_windows(token, rows * size, columns * size)[0, :height, :width, 0].flatten()


def _halve(x: Tensor) -> Tensor:
    rows = torch.maximum(x[:, 0::2], x[:, 1::2])
    return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


class HieraAttention(nn.Module):
    """Multi-head attention over a map or within windows; at a stage's start the queries are max-pooled 2 x 2."""

    def __init__(self, dim: int, dim_out: int, num_heads: int, pool: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pool = pool
        self.qkv = Linear(dim, 3 * dim_out)
        self.proj = Linear(dim_out, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, H or H / 2, W or W / 2, dim_out)."""
        return self.proj(self._mix(self.qkv(x)))

    def within_padded(self, x: Tensor, window: int) -> Tensor:
        """The same, each window of `window` x `window` by itself; what windows lack at the right and bottom is zero.

        One zero is projected in place of all: 42 % of the windows of 14 over a 32 x 32 map are zeros.
        """
        height, width = x.shape[1:3]
        tokens = F.pad(x.flatten(1, 2), (0, 0, 0, 1))
        windows = self.qkv(tokens).index_select(1, _window_tokens(height, width, window, x.device))
        mixed = self._mix(windows.unflatten(1, (-1, window, window)).flatten(0, 1))
        height, width, window = (size // (1 + self.pool) for size in (height, width, window))
        places = _map_tokens(height, width, window, x.device)
        joined = mixed.flatten(1, 2).unflatten(0, (len(x), -1)).flatten(1, 2).index_select(1, places)
        return self.proj(joined.unflatten(1, (height, width)))

    def _mix(self, projected: Tensor) -> Tensor:
        query, key, value = projected.chunk(3, dim=-1)
        if self.pool:
            query = _halve(query)
        height, width = query.shape[1:3]
        heads = [t.flatten(1, 2).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for t in (query, key, value)]
        return attend(*heads).transpose(1, 2).flatten(2).unflatten(1, (height, width))


class HieraBlock(nn.Module):
    """Pre-norm transformer block; `window` 0 means attention over the whole map."""

    def __init__(self, dim: int, dim_out: int, num_heads: int, window: int, pool: bool) -> None:
        super().__init__()
        self.window = window
        self.pool = pool
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = HieraAttention(dim, dim_out, num_heads, pool)
        self.norm2 = nn.LayerNorm(dim_out, eps=1e-6)
        self.mlp = MLP(dim_out, 4 * dim_out, dim_out, activation=nn.GELU)
        self.proj = Linear(dim, dim_out) if dim != dim_out else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, H or H / 2, W or W / 2, dim_out)."""
        x = self._attend(x)
        return in_parts(self._refine, x.flatten(0, 2)).unflatten(0, x.shape[:3])

    def _attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        if not self.window:
            return self._add_to_shortcut(x, self.attn)
        if height % self.window or width % self.window:
            return self._add_to_shortcut(x, lambda normed: self.attn.within_padded(normed, self.window))
        windows = in_parts(
            lambda x: self._add_to_shortcut(x, self.attn), split_windows(x, self.window), tokens=self.window**2
        )
        return join_windows(windows, height // (1 + self.pool), width // (1 + self.pool))

    def _add_to_shortcut(self, x: Tensor, attention: Callable[[Tensor], Tensor]) -> Tensor:
        normed = self.norm1(x)
        shortcut = x if self.proj is None else self.proj(normed)
        return (_halve(shortcut) if self.pool else shortcut).float() + attention(normed)

    def _refine(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Overlapping 7 x 7 patches with stride 4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=7, stride=4, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 4, W / 4, dim)."""
        return self.proj(x.to(self.proj.weight.dtype)).permute(0, 2, 3, 1)


class Hiera(nn.Module):
    """The trunk: four stages at strides 4, 8, 16 and 32, channels doubling at each."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.num_heads
        self.patch_embed = PatchEmbed(dim)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, dim, *config.position_grid))
        self.pos_embed_window = nn.Parameter(0.02 * torch.randn(1, dim, *2 * config.window_sizes[:1]))
        ends = [end - 1 for end in accumulate(config.stages)]
        self.stage_ends = frozenset(ends)
        self.blocks = nn.ModuleList()
        for index in range(sum(config.stages)):
            starts_stage = index - 1 in self.stage_ends
            # A stage's first block still works in the windows of the stage before, since its input has that size.
            stage = sum(end < index - 1 for end in ends)
            dim_out = 2 * dim if starts_stage else dim
            heads = 2 * heads if starts_stage else heads
            window = 0 if index in config.global_blocks else config.window_sizes[stage]
            self.blocks.append(HieraBlock(dim, dim_out, heads, window, pool=starts_stage))
            dim = dim_out

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) -> four maps (B, C, H, W), strides 4, 8, 16, 32."""
        x = self.patch_embed(image)
        code = resized_window_code(self.pos_embed, self.pos_embed_window, *x.shape[1:3])
        x = x + code.permute(0, 2, 3, 1)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps
