"""The stop rules of a command line, and how masks are drawn in the end; `place_options` puts them in a volume."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def add_stop_options(parser: argparse.ArgumentParser) -> None:
    """Add --stop-absent, --stop-area, --stop-change, --stop-distance and --stop-outside; None where not given."""
    group = parser.add_argument_group(
        "stop rules", "When a direction with no other prompt ahead ends; 0 turns a rule off."
    )
    for option, metavar, kind, summary in (
        ("--stop-absent", "N", _number(int), "object absent on N slices in a row (default: 3)"),
        ("--stop-area", "MM2", _number(float), "area smaller than this"),
        ("--stop-change", "PERCENT", _number(float), "area changed by more than this from slice to slice"),
        ("--stop-distance", "MM", _number(float), "farther than this from the prompted slice"),
        ("--stop-outside", "FILE[:NAME]", str, "more than half of the mask outside a mask on the volume's grid"),
    ):
        group.add_argument(option, type=kind, metavar=metavar, help=summary)


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """Add --threshold and --smooth; None where not given."""
    group = parser.add_argument_group("drawing", "How the model's output becomes masks; slices given by --mask stay.")
    group.add_argument(
        "--threshold",
        type=_number(float, 0.001, 0.999),
        metavar="P",
        help="of a pixel, at least (default: 0.5)",
    )
    group.add_argument(
        "--smooth",
        type=_number(float),
        metavar="MM",
        help="sigma of a Gaussian across slices (default: 0)",
    )


def _number(kind: Callable[[str], float], least: float = 0.0, most: float = 1e6) -> Callable[[str], float]:
    """What argparse reads a number with."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} cannot be used: give a number from {least:g} to {most:g}")
        return value

    return read
