"""Position codes: fixed sines for maps and time, random Fourier features for prompts, rotations for attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TEMPERATURE = 10000.0


def sine_time_code(distance: Tensor, dim: int) -> Tensor:
    """Code signed distances (P,) as (P, dim): sines in the first half, cosines in the second (Vaswani et al. 2017)."""
    half = dim // 2
    index = torch.arange(half, device=distance.device, dtype=torch.float32)
    angle = distance.float()[:, None] / _TEMPERATURE ** (2 * (index // 2) / half)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def sine_map_code(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return the fixed (1, channels, height, width) code of a map: y in the first half of the channels, x after."""
    half = channels // 2
    index = torch.arange(half, device=device, dtype=torch.float32)
    wavelength = _TEMPERATURE ** (2 * (index // 2) / half)

    def code(length: int) -> Tensor:
        place = torch.arange(1, length + 1, device=device, dtype=torch.float32)
        angle = (place / (length + 1e-6) * 2 * math.pi)[:, None] / wavelength
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    rows = code(height)[:, None, :].expand(height, width, half)
    columns = code(width)[None, :, :].expand(height, width, half)
    return torch.cat([rows, columns], dim=2).permute(2, 0, 1)[None]


class RandomFourierCode(nn.Module):
    """Random spatial frequencies, drawn once and kept with the weights; codes points and the image grid alike."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, points: Tensor) -> Tensor:
        """Code points (..., 2), x and y in [0, 1], as (..., dim)."""
        angle = 2 * math.pi * ((2 * points - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def grid(self, size: int) -> Tensor:
        """Code the centers of a size x size grid as (1, dim, size, size)."""
        place = (torch.arange(size, device=self.positional_encoding_gaussian_matrix.device) + 0.5) / size
        y, x = torch.meshgrid(place, place, indexing="ij")
        code: Tensor = self(torch.stack([x, y], dim=-1))
        return code.permute(2, 0, 1)[None]


def rotations(dim: int, side: int, device: torch.device, pooled: int = 1) -> Tensor:
    """Return the 2D axial rotary rotations (side * side, dim / 2), complex: x first, then y (Heo et al. 2024).

    Those of the middles of `pooled` x `pooled` tokens each are (side * side / pooled ** 2, dim / 2).
    """
    frequency = 1.0 / _TEMPERATURE ** (torch.arange(0, dim, 4, device=device, dtype=torch.float32) / dim)
    count = side // pooled
    token = torch.arange(count * count, device=device, dtype=torch.float32)
    x, y = (
        place * pooled + (pooled - 1) / 2 for place in (token % count, torch.div(token, count, rounding_mode="floor"))
    )
    angle = torch.cat([torch.outer(x, frequency), torch.outer(y, frequency)], dim=-1)
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, by: Tensor) -> Tensor:
    """Rotate consecutive channel pairs of (..., tokens, dim); always in float32, since angles need its precision."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * by).flatten(-2).to(x.dtype)


def resized_window_code(background: Tensor, window: Tensor, height: int, width: int) -> Tensor:
    """Add Hiera's two learned codes, one stretched over the map and one repeated per window: (1, C, height, width).

    Source: "Window attention is bugged", Bolya et al., arXiv 2311.05613.
    """
    stretched = _bicubic(height, background) @ background @ _bicubic(width, background).T
    return stretched + window.tile(1, 1, height // window.shape[2], width // window.shape[3])


def _bicubic(size: int, background: Tensor) -> Tensor:
    """Weights (size, n) that stretch the n rows or columns of a square map; a product takes less than interpolating."""
    points = torch.eye(background.shape[2], device=background.device, dtype=background.dtype)
    return F.interpolate(points[None, None], size=(size, len(points)), mode="bicubic")[0, 0]
