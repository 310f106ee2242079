"""The prompts of a command line as text: kept in order, split into objects, and turned into numbers.

Nothing here knows a volume; `place_options` gives the numbers a place in one.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.job.paths import path_argument, path_of
from medsam2_core.run.names import checked_name

DEFAULT_OBJECT = "Segment_1"

_NUMERIC_OPTIONS = frozenset({"--point", "--exclude", "--box", "--range", "--window"})
_NEGATIVE_VALUE = re.compile(r"-[\d.:]")


@dataclass(frozen=True)
class PointOption:
    """One click in the frame of the command line; `text` is what the user wrote."""

    text: str
    position: tuple[float, float, float]
    include: bool


@dataclass(frozen=True)
class BoxOption:
    """A rectangle in one slice, in the frame of the command line: two opposite corners and where the slice is."""

    text: str
    corners: tuple[tuple[float, float], tuple[float, float]]
    through: float


@dataclass(frozen=True)
class MaskOption:
    """A file with a mask on the volume's grid; of one with several objects, `name` is that of the one meant."""

    path: Path
    name: str | None = None


@dataclass(frozen=True)
class MarkupsOption:
    """A file with points or boxes, as 3D Slicer saves them; see `markups`."""

    path: Path


PromptOption = PointOption | BoxOption | MaskOption | MarkupsOption


class InOrder(argparse.Action):
    """Collects options and their values as one list of (option, value), in the order they were typed."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option_string: str | None = None,
    ) -> None:
        typed = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, [*typed, (self.option_strings[0], values)])


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add --object, --point, --exclude, --box, --mask and --markups, which end up in `namespace.typed`; and rules."""
    group = parser.add_argument_group(
        "prompts", "Each belongs to the --object before it. Coordinates are voxels i,j,k unless --frame says mm."
    )
    for option, metavar, summary in (
        ("--object", "NAME", f"start an object with this name (default: {DEFAULT_OBJECT})"),
        ("--point", "I,J,K", "a point inside the object"),
        ("--exclude", "I,J,K", "a point outside the object, on a slice that has another prompt of it"),
        (
            "--box",
            "I0,J0,I1,J1@K",
            "two corners of a box in a slice, @ the slice; I0,K0,I1,K1@J in slices along j, J0,K0,J1,K1@I along i",
        ),
        (
            "--mask",
            "FILE[:NAME]",
            "a mask (of a segment) on the volume's grid; points and boxes on its slices correct it",
        ),
        (
            "--markups",
            "FILE.mrk.json",
            "points and boxes (ROI) as 3D Slicer saves them; points named -... or exclude... are outside the object",
        ),
    ):
        group.add_argument(option, action=InOrder, dest="typed", metavar=metavar, help=summary)
    _add_rules(parser)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    """Add what shows several objects at once, by their own names."""
    group = parser.add_argument_group("prompts from a rule", "Objects have the names that these files give them.")
    group.add_argument(
        "--from-segmentation",
        dest="prior",
        metavar="FILE[:NAME]",
        help="all objects (or that one) of an earlier segmentation, on any grid (DICOM: on this image's); see --every",
    )
    group.add_argument(
        "--transform",
        type=path_argument,
        metavar="FILE",
        help="registers the image of --from-segmentation to this one (.h5, .tfm or .mat of ITK or Slicer)",
    )
    group.add_argument(
        "--boxes",
        type=path_argument,
        metavar="FILE",
        help="boxes of a detector: a .csv with x0,y0,z0,x1,y1,z1 and perhaps object and score, or .json; see --frame",
    )
    group.add_argument(
        "--least-score", type=_score, metavar="S", help="take those of --boxes with this score or more (default: 0)"
    )


def _score(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number: give the least score of a box")


def join_negative_values(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--point -1,2,3` as `--point=-1,2,3`, since argparse takes a leading minus for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in _NUMERIC_OPTIONS and _NEGATIVE_VALUE.match(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def parse_prompts(typed: Sequence[tuple[str, str]]) -> dict[str, list[PromptOption]]:
    """The prompts of each object, by name in order of first mention, from (option, value) as typed.

    Raises PromptError for malformed numbers, a name that cannot be shown, or an object without a prompt.
    """
    objects: dict[str, list[PromptOption]] = {}
    name = DEFAULT_OBJECT
    for option, text in typed:
        if option == "--object":
            name = checked_name(text, "--object")
            objects.setdefault(name, [])
        else:
            objects.setdefault(name, []).append(_parse(option, text))
    for name, prompts in objects.items():
        if not prompts:
            raise PromptError(f"Object {name!r} has no prompt: put --point, --box or --mask after --object.")
    return objects


def mask_source(text: str) -> MaskOption:
    """The file, and the name of the object in it, of FILE or FILE:NAME; a file of the whole text goes first."""
    colons = [place for place, letter in enumerate(text) if letter == ":"]
    for place in [] if _is_there(text) else colons:
        if _is_there(text[:place]):
            return MaskOption(path_of(text[:place]), text[place + 1 :])
    return MaskOption(path_of(text))


def _is_there(text: str) -> bool:
    with suppress(OSError, ValueError):  # a name that is too long, or may not be looked at
        return Path(text).is_file()
    return False


def parse_range(text: str, count: int) -> tuple[int, int]:
    """First slice and the one after the last, of `count` slices, from "A:B"; either side may be left out.

    Raises PromptError if it is malformed, empty or reaches outside.
    """
    found = re.fullmatch(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*", text)
    if found is None:
        raise PromptError(
            f"--range {text!r} cannot be read: write A:B, slices from A up to but not including B, such as 10:80."
        )
    first, last = int(found[1] or 0), int(found[2] or count)
    return checked_range(first, last, count, f"--range {text}")


def checked_range(first: int, last: int, count: int, where: str) -> tuple[int, int]:
    """The half-open range itself; PromptError if it is empty or reaches outside of 0 to `count`."""
    if not (0 <= first < last <= count):
        problem = "holds no slice" if first >= last else "reaches outside the volume"
        raise PromptError(f"{where} {problem}: give A:B with 0 <= A < B <= {count}.")
    return first, last


def _parse(option: str, text: str) -> PromptOption:
    if option == "--mask":
        return mask_source(text)
    if option == "--markups":
        return MarkupsOption(path_of(text))
    if option == "--box":
        return _parse_box(text)
    return _parse_point(option, text)


def _parse_point(option: str, text: str) -> PointOption:
    numbers = _numbers(text)
    if len(numbers) != 3:
        raise PromptError(f"{option} {text!r} cannot be read: write three numbers I,J,K such as 256,200,57.")
    return PointOption(f"{option} {text}", (numbers[0], numbers[1], numbers[2]), include=option == "--point")


def _parse_box(text: str) -> BoxOption:
    in_plane, _, through = text.partition("@")
    corners, place = _numbers(in_plane), _numbers(through)
    if len(corners) != 4 or len(place) != 1:
        raise PromptError(
            f"--box {text!r} cannot be read: write two corners and the slice, I0,J0,I1,J1@K such as 180,150,260,240@57."
        )
    return BoxOption(f"--box {text}", ((corners[0], corners[1]), (corners[2], corners[3])), place[0])


def _numbers(text: str) -> list[float]:
    """The finite numbers between commas; none at all if any of them is not one."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
