"""Attention with separate projections, plain and with rotary positions."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from medsam2_core.model.positions import rotary_angles, rotate


class Attention(nn.Module):
    """Multi-head attention; `inner_dim` is the width of queries, keys and values inside."""

    def __init__(self, dim: int, num_heads: int, inner_dim: int | None = None, key_dim: int | None = None) -> None:
        super().__init__()
        inner_dim, key_dim = inner_dim or dim, key_dim or dim
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(key_dim, inner_dim)
        self.v_proj = nn.Linear(key_dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, Q, dim), (B, K, key_dim), (B, K, key_dim) -> (B, Q, dim)."""
        q, k, v = self._project(query, key, value)
        return self._merge(F.scaled_dot_product_attention(q, k, v))

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def heads(x: Tensor) -> Tensor:
            return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

        return heads(self.q_proj(query)), heads(self.k_proj(key)), heads(self.v_proj(value))

    def _merge(self, heads: Tensor) -> Tensor:
        return self.out_proj(heads.transpose(1, 2).flatten(2))


class RotaryAttention(Attention):
    """Attention from a square map to one or several maps of the same size, followed by tokens without a place."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, placeless: int = 0, bias: Tensor | None = None
    ) -> Tensor:
        """Attend from (B, side * side, dim) to (B, maps * side * side + placeless, key_dim).

        The last `placeless` keys (object pointers) are not rotated. `bias` (B, K) is added to the attention logits:
        minus infinity hides a key, log(n) counts it n times.
        """
        q, k, v = self._project(query, key, value)
        tokens = q.shape[2]
        cos, sin = rotary_angles(q.shape[3], math.isqrt(tokens), q.device)
        q = rotate(q, cos, sin)
        maps = (k.shape[2] - placeless) // tokens
        placed = k[:, :, : maps * tokens].unflatten(2, (maps, tokens))
        k = k.clone()
        k[:, :, : maps * tokens] = rotate(placed, cos, sin).flatten(2, 3)
        mask = None if bias is None else bias[:, None, None, :].to(q.dtype)
        return self._merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
