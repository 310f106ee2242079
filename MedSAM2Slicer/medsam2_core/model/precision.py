"""The numbers a model computes in: float32, or two bytes each where the device multiplies those faster.

Only what takes the time is in two bytes: the products of the image encoder's trunk and of memory attention, whose
weights are converted once. What blocks add up, norms, positions, the neck, the decoder and the memory encoder stay in
float32: with the neck in bfloat16, too, almost twice as many pixels of masks differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medsam2_core.model.sam2 import SAM2

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# How many times as fast a product must be, since conversions and all that stays in float32 take their share. Far from
# what processors reach, so that one run chooses as the next: bfloat16 is 0.6 times as fast without support for it, 1.95
# to 2.4 times with AVX-512 alone (an AMD EPYC, 60 measurements), 2.6 to 12 times with AMX.
_CLEARLY = 1.5
_TRIES = 5

# Tokens and channels: as in the encoder's third stage, which takes most of the time. One product for all models, since
# smaller ones differ less, and the choice must not hang on chance.
_TOKENS, _CHANNELS = 256, 384


def set_precision(model: SAM2, name: str) -> SAM2:
    """Have a float32 model compute in the numbers called `name`; returns it.

    "auto" are those that the device multiplies clearly faster, by a measurement of some milliseconds.
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
    other = _two_bytes(model)
    return other if other is not None and multiplies_faster(model.device, other) else torch.float32


def multiplies_faster(device: torch.device, precision: torch.dtype) -> bool:
    """Whether a device multiplies these numbers clearly faster than float32."""
    return _seconds(device, precision) * _CLEARLY < _seconds(device, torch.float32)


def _two_bytes(model: SAM2) -> torch.dtype | None:
    """Which numbers of two bytes a model may be faster with; graphics cards before Ampere have no bfloat16.

    The published models were trained in bfloat16, and their authors run them so. The starter's masks of four organs in
    the demo's CT stay equal in at least 99.997 % of pixels, Dice within 0.0005; those of a sam2.1_hiera_tiny of random
    weights, which are much more ragged, in 99.75 %.
    """
    if model.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(model.device) >= (8, 0) else torch.float16
    return torch.bfloat16 if model.device.type == "cpu" else None


@cache
def _seconds(device: torch.device, precision: torch.dtype) -> float:
    """The fewest seconds that a product takes on one of the processor's threads, or on a graphics card.

    Threads wait for each other: with two of them beside other programs a product was measured 0.1 to 3 times as fast in
    bfloat16, with one 2.6 to 3.1 times.
    """
    x = torch.ones(_TOKENS, _CHANNELS, dtype=precision, device=device)
    weight = torch.ones(4 * _CHANNELS, _CHANNELS, dtype=precision, device=device)
    with _one_thread():
        F.linear(x, weight)  # prepares
        return min(_timed(lambda: F.linear(x, weight), _clock(device)) for _ in range(_TRIES))


def _timed(product: Callable[[], Tensor], clock: Callable[[], float]) -> float:
    started = clock()
    product()[0, 0].item()  # waits for it
    return clock() - started


def _clock(device: torch.device) -> Callable[[], float]:
    """The thread's own time on a processor, to which other programs add nothing, where the system tells it finely."""
    is_fine = time.get_clock_info("thread_time").resolution < 1e-5
    return time.thread_time if device.type == "cpu" and is_fine else time.perf_counter


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
