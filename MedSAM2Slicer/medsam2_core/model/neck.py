"""The feature pyramid between trunk and heads, and the image encoder that joins the two."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.hiera import Hiera


class _Lateral(nn.Module):
    def __init__(self, channels: int, hidden_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden_dim, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class FpnNeck(nn.Module):
    """Project every trunk map to the same width; only strides 16 and 32 are mixed top-down."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = [config.embed_dim * 2**stage for stage in reversed(range(4))]
        self.convs = nn.ModuleList(_Lateral(width, config.hidden_dim) for width in widths)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Four maps, strides 4 to 32 -> three of `hidden_dim` channels at strides 4, 8 and 16."""
        stride4, stride8, stride16, stride32 = maps
        coarse = F.interpolate(self.convs[0](stride32).float(), scale_factor=2.0, mode="nearest")
        embedding = self.convs[1](stride16) + coarse
        return self.convs[3](stride4), self.convs[2](stride8), embedding


class ImageEncoder(nn.Module):
    """Trunk and neck."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = Hiera(config)
        self.neck = FpnNeck(config)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) -> maps of `hidden_dim` channels at strides 4, 8 and 16."""
        return self.neck(self.trunk(image))
