"""How much memory the image features may take, and how torch says that there is none left."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

from medsam2_core.errors import says_no_memory

_MIB, _GIB = 1 << 20, 1 << 30

_MMAP_THRESHOLD = -3  # the parameter of glibc's mallopt

SMALLEST_CACHE = 64 * _MIB  # a handful of slices; below that every step would encode again
_LARGEST_CACHE = 8 * _GIB  # 133 slices at 1024 pixels take 2.2 GB
_UNKNOWN_MEMORY = 4 * _GIB  # taken to be free where the system does not tell


def cache_budget(device: torch.device) -> int:
    """Bytes for image features on `device`: half of a GPU's free memory, a quarter of this computer's.

    The computer has to hold Slicer and its volumes too. At least 64 MiB, at most 8 GiB.
    """
    share = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else free_bytes() // 4
    return max(SMALLEST_CACHE, min(share, _LARGEST_CACHE))


def free_bytes() -> int:
    """Memory of this computer that can be had without swapping, within the limits set on this process."""
    free = _available()
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(limit - _used_address_space(), 0))
    return free


def give_large_blocks_back() -> None:
    """Have glibc return blocks of 1 MB and more to the system when they are freed.

    It keeps them by default, in pieces that nothing fits into again: 30 images of 600 x 800 pixels with 8 objects left
    286 MB behind, and 94 MB with this.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _MIB)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Python's or torch's says that no memory is left."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and says_no_memory(error)


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return _physical() // 2
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), _UNKNOWN_MEMORY)


def _physical() -> int:
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return 2 * _UNKNOWN_MEMORY
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _used_address_space() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
