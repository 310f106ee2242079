"""Small layers used all over the model, and a way to run layers in parts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PART = 1024  # tokens for each thread


def in_parts(layer: Callable[..., Tensor], *given: Tensor, tokens: int = 1) -> Tensor:
    """Apply a layer to rows of `tokens` tokens that do not know of each other; on a CPU a few at a time.

    What lies between then stays in the processor's cache: Hiera's first MLP at 512 pixels takes 49 ms instead of 79.
    """
    if given[0].device.type != "cpu" or torch.compiler.is_compiling():  # the compiler would write each part down
        return layer(*given)
    rows = max(_PART * torch.get_num_threads() // tokens, 1)
    if len(given[0]) <= rows:
        return layer(*given)
    return torch.cat([layer(*part) for part in zip(*(x.split(rows) for x in given), strict=True)])


class Linear(nn.Linear):
    """A linear layer that computes in the numbers its weights are kept in, whatever kind it is given."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class MLP(nn.Module):
    """Linear layers with an activation between them; the last one is bare."""

    def __init__(self, *dims: int, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(dims))
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class LayerNorm2d(nn.Module):
    """Layer normalization over the channels of a (B, C, H, W) map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        channels_last = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, eps=1e-6)
        return channels_last.permute(0, 3, 1, 2)
