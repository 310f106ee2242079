"""`medsam2 worker`: the model process that 3D Slicer starts, on this computer, over ssh or on a cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medsam2_core.errors import WorkerError

if TYPE_CHECKING:
    from medsam2_core.worker.interfaces import Backend

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: SubParsers) -> None:
    """Add `worker`; it sets `command`, which takes the arguments and returns the exit code."""
    summary = "run the model for 3D Slicer, which starts this and talks to it over stdin and stdout"
    description = f"{summary[0].upper()}{summary[1:]}."  # not capitalize(), which would write "3d slicer"
    parser = subparsers.add_parser("worker", help=summary, description=description, allow_abbrev=False)
    parser.set_defaults(command=worker)


def worker(_arguments: argparse.Namespace) -> int:
    """Serve until the client says bye or goes away."""
    from medsam2_core.worker.server import serve

    return serve(_torch_backend)


def _torch_backend() -> Backend:
    try:
        from medsam2_core.worker.backend import TorchBackend
    except (ImportError, OSError) as error:  # OSError: a library that torch needs cannot be loaded
        raise WorkerError(f"PyTorch cannot be imported where the worker runs ({error}): install it there.") from error
    return TorchBackend()
