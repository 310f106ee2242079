"""`medsam2 benchmark`: how fast a model is on this machine, in a minute."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from medsam2_core.cli.room import require_address_space
from medsam2_core.counting import counted
from medsam2_core.job.setting_options import add_options

if TYPE_CHECKING:
    from medsam2_core.model import SAM2
    from medsam2_core.speed.short import Speed

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_SIDE = 512  # pixels of a slice


def add_parser(subparsers: SubParsers) -> None:
    """Add `benchmark`; it sets `command`, which takes the arguments and returns the exit code."""
    summary = "measure how fast a model is on this machine"
    parser = subparsers.add_parser(
        "benchmark",
        help=summary,
        description=f"{summary.capitalize()}: a box is propagated through a synthetic volume, and corrected.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=benchmark)
    add_options(parser, "model", "device", "precision")
    parser.add_argument(
        "--slices", type=_slices, default=24, metavar="N", help="number of slices of the volume (default: 24)"
    )


def benchmark(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    require_address_space()
    import medsam2_core as m2
    from medsam2_core.speed.short import measure

    model = m2.load_model(arguments.model, arguments.device, precision=arguments.precision)
    print(f"{'model':<14}{arguments.model} at {model.config.image_size} pixels", flush=True)
    print(f"{'device':<14}{_device(model)}", flush=True)
    print(f"{'volume':<14}synthetic, {counted(arguments.slices, 'slice')} of {_SIDE} x {_SIDE}", flush=True)
    for name, value in _lines(measure(model, arguments.slices, _SIDE)):
        print(f"{name:<14}{value}")
    return 0


def _slices(text: str) -> int:
    if not text.isdecimal() or int(text) < 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of slices that can be used: give at least 3")
    return int(text)


def _device(model: SAM2) -> str:
    import torch

    from medsam2_core.model.precision import precision_name

    precision = precision_name(model)
    if model.device.type == "cuda":
        return f"{torch.cuda.get_device_name(model.device)}, {precision}"
    return f"{model.device.type}, {torch.get_num_threads()} threads, {precision}"


def _lines(speed: Speed) -> list[tuple[str, str]]:
    return [
        ("propagation", f"{speed.first:.2f} slices/s"),
        ("correction", f"{speed.correction:.2f} slices/s"),
        ("click", f"{1000 * speed.new_click:.0f} ms on a new slice, {1000 * speed.seen_click:.0f} ms on a seen one"),
        ("memory", "unknown on this system" if speed.peak is None else f"{speed.peak / 1e9:.1f} GB at most"),
        ("floor", f"{speed.floor_share:.0%} of the speed that this device's products and copies would allow"),
    ]
