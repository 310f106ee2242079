"""The numbers a model computes in: float32, or two bytes each where the device multiplies those faster.

Only what takes the time is in two bytes: the products of the image encoder's trunk and of memory attention, whose
weights are converted once. What blocks add up, norms, positions, the neck, the decoder and the memory encoder stay in
float32: with the neck in bfloat16, too, almost twice as many pixels of masks differ.
"""

from __future__ import annotations

import time
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.sam2 import SAM2

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# How many times as fast a product must be, since conversions and all that stays in float32 take their share.
_CLEARLY = 2.0
_TRIES = 3


def set_precision(model: SAM2, name: str) -> SAM2:
    """Have a float32 model compute in the numbers called `name`; returns it.

    "auto" are those that the device multiplies clearly faster, by a measurement of some milliseconds, if the model's
    masks hold in them.
    """
    return convert(model, _fastest(model) if name == "auto" else PRECISIONS[name])


def convert(model: SAM2, precision: torch.dtype) -> SAM2:
    """Convert the weights of the large products, once; returns the model."""
    for part in (model.image_encoder.trunk, model.memory_attention):
        for layer in part.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.to(precision)
    return model


def precision_name(model: SAM2) -> str:
    """What `set_precision` calls the numbers that the model computes in."""
    return next(name for name, precision in PRECISIONS.items() if precision == model.precision)


def _fastest(model: SAM2) -> torch.dtype:
    """Measured with a product such as the encoder's third stage, which takes most of the time, is made of."""
    other = _two_bytes(model)
    if other is None:
        return torch.float32
    return other if multiplies_faster(model.device, other, model.config) else torch.float32


def multiplies_faster(device: torch.device, precision: torch.dtype, config: ModelConfig) -> bool:
    """Whether a device multiplies these numbers clearly faster than float32 in a model of this size."""
    tokens, channels = config.grid_size**2, 4 * config.embed_dim
    seconds, exact = (_seconds(device, one, tokens, channels) for one in (precision, torch.float32))
    return seconds * _CLEARLY < exact


def _two_bytes(model: SAM2) -> torch.dtype | None:
    """Which numbers of two bytes a model may be faster with, and hold.

    On graphics cards the published models were trained and are run so; those before Ampere have no bfloat16.
    """
    if model.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(model.device) >= (8, 0) else torch.float16
    return torch.bfloat16 if model.device.type == "cpu" and model.config.holds_in_bfloat16 else None


@cache
def _seconds(device: torch.device, precision: torch.dtype, tokens: int, channels: int) -> float:
    """The fewest seconds that a product takes; the first try prepares and does not count."""
    x = torch.ones(tokens, channels, dtype=precision, device=device)
    weight = torch.ones(4 * channels, channels, dtype=precision, device=device)
    tries = []
    for _ in range(_TRIES + 1):
        started = time.perf_counter()
        F.linear(x, weight)[0, 0].item()  # waits for it
        tries.append(time.perf_counter() - started)
    return min(tries[1:])
