"""Whether there is room for PyTorch at all; asked before it is loaded, since its libraries end the program if not."""

from __future__ import annotations

import sys

from medsam2_core.errors import DeviceError

_LEAST_BYTES = 1_250_000_000  # of addresses: the starter on a small CT needs 1.2 GB with PyTorch's CPU build


def require_address_space() -> None:
    """Raise DeviceError if a limit on this process (ulimit -v) is below what loading PyTorch takes."""
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit not in (resource.RLIM_INFINITY, -1) and limit < _LEAST_BYTES:
        raise DeviceError(
            f"The limit on memory is {limit / 1e6:.0f} MB and PyTorch alone takes {_LEAST_BYTES / 1e6:.0f} MB of "
            "address space: raise it (ulimit -v)."
        )
