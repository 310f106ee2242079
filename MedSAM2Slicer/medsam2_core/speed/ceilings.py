"""What a device can do at most, measured: products of matrices and copies of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from medsam2_core.speed.steps import Work, wait_for

_REPEATS = 6
_SIDE = {"cpu": 2048, "other": 8192}  # of the matrices
_BYTES = {"cpu": 1 << 27, "other": 1 << 30}  # copied; more than caches hold


@dataclass(frozen=True)
class Ceilings:
    """The most that was reached in one precision: operations and bytes per second, a copied byte counted twice."""

    flops_per_s: float
    bytes_per_s: float

    def floor_seconds(self, work: Work) -> float:
        """The shortest time that the work can take: that of its operations or of its bytes, whichever is longer."""
        return max(work.flops / self.flops_per_s, work.bytes / self.bytes_per_s)


def measure_ceilings(device: torch.device, precision: torch.dtype = torch.float32) -> Ceilings:
    """Measure; takes about a second on a CPU."""
    kind = "cpu" if device.type == "cpu" else "other"
    side = _SIDE[kind]
    a, b = torch.ones(2, side, side, dtype=precision, device=device)
    source, target = torch.ones(2, _BYTES[kind] // 4, device=device)
    product, copy = _best(lambda: a @ b, device), _best(lambda: target.copy_(source), device)
    return Ceilings(2 * side**3 / product, 2 * _BYTES[kind] / copy)


def _best(task: Callable[[], object], device: torch.device) -> float:
    """Fewest seconds of several tries: what other programs take of the machine is not part of a ceiling."""
    tries = []
    for _ in range(_REPEATS):
        wait_for(device)
        started = time.perf_counter()
        task()
        wait_for(device)
        tries.append(time.perf_counter() - started)
    return min(tries)
