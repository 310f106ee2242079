"""The prompt encoder: points and boxes become tokens, a mask becomes a map (Kirillov et al., arXiv 2304.02643)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.layers import LayerNorm2d
from medsam2_core.model.positions import RandomFourierCode

PADDING, EXCLUDE, INCLUDE, BOX_START, BOX_END = -1, 0, 1, 2, 3
"""Point labels: a box is two points, its corners of smallest and of largest coordinates."""


class PromptEncoder(nn.Module):
    """Encode prompts given in pixels of the model's image."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.image_size = config.image_size
        self.grid_size = config.grid_size
        self.pe_layer = RandomFourierCode(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))  # by label
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.no_mask_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, dim, kernel_size=1),
        )

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encode points (B, P, 2), labels (B, P) and mask logits (B, 1, S / 4, S / 4) or None.

        Returns tokens (B, P + 1, dim) and a map (B, dim, S / 16, S / 16) to add to the image embedding.
        """
        return self._encode_points(points, labels), self._encode_mask(mask, len(points))

    def _encode_points(self, points: Tensor, labels: Tensor) -> Tensor:
        # Trained with one padding point after the prompts, so it is always there.
        points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
        labels = torch.cat([labels, labels.new_full((len(labels), 1), PADDING)], dim=1)
        kinds = torch.cat([self.not_a_point_embed.weight, *self.point_embeddings.parameters()])
        place = self.pe_layer((points + 0.5) / self.image_size)
        place = torch.where((labels == PADDING)[..., None], 0.0, place)
        return place + kinds[labels.long() - PADDING]

    def _encode_mask(self, mask: Tensor | None, batch: int) -> Tensor:
        if mask is not None:
            return self.mask_downscaling(mask)
        return self.no_mask_embed.weight[:, :, None, None].expand(batch, -1, self.grid_size, self.grid_size)

    def grid_code(self) -> Tensor:
        """Return the position code of the image embedding, (1, dim, S / 16, S / 16)."""
        return self.pe_layer.grid(self.grid_size)
