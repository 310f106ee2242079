"""Attention with separate projections, plain and with rotary positions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsam2_core.model.layers import Linear
from medsam2_core.model.positions import rotate

# Queries at a time on a CPU. With fewer, preparing the keys for each product takes longer than it spares memory.
_ROWS = 256

# Keys from which plain products in bfloat16 are faster than torch's kernel for CPUs.
_MANY = 128


class Attention(nn.Module):
    """Multi-head attention; `inner_dim` is the width of queries, keys and values inside."""

    def __init__(self, dim: int, num_heads: int, inner_dim: int | None = None, key_dim: int | None = None) -> None:
        super().__init__()
        inner_dim, key_dim = inner_dim or dim, key_dim or dim
        self.num_heads = num_heads
        self.q_proj = Linear(dim, inner_dim)
        self.k_proj = Linear(key_dim, inner_dim)
        self.v_proj = Linear(key_dim, inner_dim)
        self.out_proj = Linear(inner_dim, dim)

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
    """Single-head attention from a square map to one or several maps of the same place, then tokens without one."""

    def forward(  # type: ignore[override]  # tokens have places here
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        turn: Tensor,
        key_turn: Tensor,
        placeless: int = 0,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Attend from (B, tokens, dim) to (B, maps * key tokens + placeless, key_dim).

        `turn` are the `rotations` of the queries' map, `key_turn` those of a map of keys. The last `placeless` keys
        (object pointers) are not rotated. `bias` (B, K) is added to the attention logits: minus infinity hides a key,
        log(n) counts it n times.
        """
        q, k = rotate(self.q_proj(query), turn), self.k_proj(key)
        placed = k[:, : k.shape[1] - placeless].unflatten(1, (-1, len(key_turn)))
        k = torch.cat([rotate(placed, key_turn).flatten(1, 2), k[:, k.shape[1] - placeless :]], dim=1)
        # Weights sum to 1, so values can be mixed before they are projected: those of memories have a quarter of the
        # channels then, and are never projected.
        return self.out_proj(self.v_proj(mix(q, k, value.to(q.dtype), bias)))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of many heads: (B, heads, Q, dim), two times (B, heads, K, dim) -> (B, heads, Q, dim).

    torch's kernel for CPUs multiplies bfloat16 no faster than float32: 1024 tokens and 4 heads of 96 take one core of
    an AMD EPYC with AVX-512 40 ms, and 20 ms as plain products.
    """
    is_faster = query.device.type == "cpu" and query.dtype == torch.bfloat16 and key.shape[2] >= _MANY
    if not is_faster or torch.compiler.is_compiling():  # which would write down each part
        return F.scaled_dot_product_attention(query, key, value)
    scaled = query * query.shape[3] ** -0.5
    if query.shape[2] <= _ROWS:
        return (scaled @ key.mT).softmax(dim=3) @ value
    heads = zip(*(part.flatten(0, 1) for part in (scaled, key, value)), strict=True)
    return torch.stack([_mix_rows(*head) for head in heads]).unflatten(0, query.shape[:2])


def mix(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention of one head: (B, Q, dim), (B, K, dim), (B, K, any), bias (B, K) -> (B, Q, any)."""
    if query.device.type != "cpu":
        mask = None if bias is None else bias[:, None, None].to(query.dtype)
        return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], attn_mask=mask)[:, 0]
    # torch's fused kernel for CPUs wants values as wide as keys, and otherwise makes all logits at once.
    biases = [None] * len(query) if bias is None else bias.to(query.dtype)
    scaled = query * query.shape[2] ** -0.5
    return torch.stack([_mix_rows(*each) for each in zip(scaled, key, value, biases, strict=True)])


def _mix_rows(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """(Q, dim), scaled, (K, dim), (K, any), (K,) -> (Q, any), some queries at a time."""
    return torch.cat([_weights(part, key, bias) @ value for part in query.split(_ROWS)])


def _weights(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    logits = query @ key.T if bias is None else torch.addmm(bias, query, key.T)
    return logits.softmax(dim=1)
