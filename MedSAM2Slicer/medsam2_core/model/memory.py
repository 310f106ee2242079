"""Memory: the encoder that stores what was seen and drawn on a slice, and the attention that reads it back.

SAM 2, arXiv 2408.00714, section 4 and appendix D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.attention import RotaryAttention
from medsam2_core.model.layers import LayerNorm2d, Linear, in_parts
from medsam2_core.model.positions import rotations


class MaskDownSampler(nn.Module):
    """Bring a mask of image size to the embedding's grid in four halvings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for _ in range(4):
            layers += [nn.Conv2d(channels, 4 * channels, kernel_size=3, stride=2, padding=1)]
            channels *= 4
            layers += [LayerNorm2d(channels), nn.GELU()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(channels, dim, kernel_size=1))

    def forward(self, mask: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, dim, S / 16, S / 16)."""
        return self.encoder(mask)


class FuserBlock(nn.Module):
    """A ConvNeXt block (arXiv 2201.03545)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.pwconv1 = Linear(dim, 4 * dim)
        self.pwconv2 = Linear(4 * dim, dim)
        # Training from scratch needs the block to take part early: 0.1 instead of ConvNeXt's 1e-6.
        self.gamma = nn.Parameter(torch.full((dim,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, H, W) -> the same."""
        y = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        y = self.gamma * self.pwconv2(nn.functional.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class _Fuser(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FuserBlock(dim) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """Fuse a slice's image embedding with its mask into a memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.mask_downsampler = MaskDownSampler(dim)
        self.pix_feat_proj = nn.Conv2d(dim, dim, kernel_size=1)
        self.fuser = _Fuser(dim)
        self.out_proj = nn.Conv2d(dim, config.memory_dim, kernel_size=1)

    def forward(self, embedding: Tensor, mask: Tensor) -> Tensor:
        """Embedding (B, dim, g, g) and scaled mask (B, 1, S, S) -> memory (B, memory_dim, g, g)."""
        return in_parts(self._fuse, embedding, mask, tokens=embedding[0, 0].numel())

    def _fuse(self, embedding: Tensor, mask: Tensor) -> Tensor:
        return self.out_proj(self.fuser(self.pix_feat_proj(embedding) + self.mask_downsampler(mask)))


class MemoryAttentionLayer(nn.Module):
    """The current slice attends to itself and to the memories."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.self_attn = RotaryAttention(dim, num_heads=1)
        self.cross_attn_image = RotaryAttention(dim, num_heads=1, key_dim=config.memory_dim)
        self.linear1 = Linear(dim, config.memory_mlp_dim)
        self.linear2 = Linear(config.memory_mlp_dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        rows: Tensor | None,
        memory: Tensor,
        coded: Tensor,
        turn: Tensor,
        memory_turn: Tensor,
        pointers: int,
        bias: Tensor | None,
    ) -> Tensor:
        """See `MemoryAttention.forward`; x is (V, tokens, dim), or (B, tokens, dim) without `rows`.

        Turns are as of `RotaryAttention`. Returns (B, tokens, dim).
        """
        y = self.norm1(x)
        x = x + self.self_attn(y, y, y, turn, turn)
        if rows is not None:
            x = x[rows]
        y = self.norm2(x)
        x = x + self.cross_attn_image(y, coded, memory, turn, memory_turn, pointers, bias)
        return x + self.linear2(self.linear1(self.norm3(x)).relu())


class MemoryAttention(nn.Module):
    """Condition a slice's image embedding on what the memory bank hands out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryAttentionLayer(config) for _ in range(config.memory_layers))
        self.norm = nn.LayerNorm(config.hidden_dim)

    def forward(
        self,
        embedding: Tensor,
        rows: Tensor | None,
        grid_code: Tensor,
        memory: Tensor,
        memory_code: Tensor,
        pointers: int,
        bias: Tensor | None = None,
        pooled: int = 1,
    ) -> Tensor:
        """Read the memory.

        embedding (V, dim, g, g), grid_code (1, dim, g, g); rows (B,) say which embedding each memory is read for, None
        stands for its own; memory and memory_code (B, K, memory_dim) hold whole maps of g * g tokens, or of one for
        each `pooled` x `pooled` of them, then `pointers` pointer tokens; bias (B, K) as in `RotaryAttention`. Returns
        (B, dim, g, g).
        """
        side = embedding.shape[-1]
        x = (embedding + 0.1 * grid_code).flatten(2).transpose(1, 2)
        turn, coded = rotations(x.shape[2], side, x.device), memory + memory_code
        memory_turn = turn if pooled == 1 else rotations(x.shape[2], side, x.device, pooled)
        for place, layer in enumerate(self.layers):
            # Until the first layer reads a memory, all objects of a slice have the same.
            x = layer(x, rows if place == 0 else None, memory, coded, turn, memory_turn, pointers, bias)
        return self.norm(x).transpose(1, 2).unflatten(2, (side, side))
