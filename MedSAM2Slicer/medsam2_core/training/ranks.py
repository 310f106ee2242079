"""Processes that train one model together, as torchrun starts them: which one this is, and how they are joined."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from medsam2_core.errors import DeviceError
from medsam2_core.weights.loading import find_device


@dataclass(frozen=True)
class Ranks:
    """A process among `count`; the one with `rank` 0 writes files. `device` is its own."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0


@contextmanager
def joined(name: str) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, each on a GPU of its machine, or on CPUs; else this one alone.

    `name` is a device as `find_device` knows it. Raises DeviceError where there are fewer GPUs than processes.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(find_device(name))
        return
    device = _own_gpu() if name in ("auto", "cuda") and torch.cuda.is_available() else find_device(name)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(device, distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()


def _own_gpu() -> torch.device:
    """The GPU of this process, and no other one touched. Raises DeviceError."""
    place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= there:
        raise DeviceError(f"torchrun started more processes than there are GPUs ({there}): lower --nproc-per-node.")
    torch.cuda.set_device(place)
    return torch.device("cuda", place)
