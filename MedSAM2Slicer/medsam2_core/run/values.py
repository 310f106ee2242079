"""Values out of a file that any program may have written: of the right kind, or a PromptError that says where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medsam2_core.counting import counted
from medsam2_core.errors import PromptError
from medsam2_core.setting import Choice, Kind, Number, Text, Whole

LARGEST_SIZE = 1 << 31


def plain(kind: Kind, value: Any, where: str) -> Any:
    """A value of a setting of this kind, which is none of several parts."""
    if isinstance(kind, Whole):
        return whole(value, where, kind.least, kind.most)
    if isinstance(kind, Number):
        return number(value, where, kind.least, kind.most)
    if isinstance(kind, Choice):
        return _choice(value, where, kind.names)
    found = text(value, where)
    if isinstance(kind, Text):
        kind.check(found)
    return found


def number(value: Any, where: str, least: float = -1e30, most: float = 1e30) -> float:
    """A finite number within bounds."""
    if type(value) not in (int, float) or not abs(value) < 1e30:
        raise PromptError(f"{where} holds {shown(value)}, which is not a number that can be used: correct it.")
    if not least <= value <= most:
        raise PromptError(f"{where} is {float(value):g}: give a number from {least:g} to {most:g}.")
    return float(value)


def whole(value: Any, where: str, lowest: int, highest: int) -> int:
    """A whole number within bounds."""
    if type(value) is int and lowest <= value <= highest:
        return value
    raise PromptError(f"{where} holds {shown(value)}: give a whole number from {lowest} to {highest}.")


def flag(value: Any, where: str) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise PromptError(f"{where} holds {shown(value)}: give true or false.")


def text(value: Any, where: str) -> str:
    """Text."""
    if isinstance(value, str):
        return value
    raise PromptError(f"{where} is {shown(value)}, which is not text: write it in quotes.")


def triple(value: Any, where: str) -> tuple[float, float, float]:
    """Three numbers."""
    if not isinstance(value, list) or len(value) != 3:
        raise PromptError(f"{where} holds {shown(value)}, which is not three numbers: write [1.5, 2, 3].")
    first, second, third = (number(part, where) for part in value)
    return first, second, third


def items(raw: dict[str, Any], key: str, where: str) -> list[Any]:
    """The list under a key."""
    value = raw.get(key)
    if isinstance(value, list):
        return value
    raise PromptError(f"{where} has no list {key!r}: add it, as in a report from medsam2 propagate.")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A JSON object."""
    if isinstance(value, dict):
        return value
    raise PromptError(f"{where} is {shown(value)}, which is not an object in braces: correct it.")


def shape(raw: dict[str, Any], where: str, sides: int) -> list[int]:
    """The sizes under "shape", one for each side."""
    sizes = [whole(size, f"{where}.shape", 1, LARGEST_SIZE) for size in items(raw, "shape", where)]
    if len(sizes) != sides:
        raise PromptError(f"{where}.shape is {sizes}: give {counted(sides, 'size')}.")
    return sizes


def runs(raw: dict[str, Any], where: str, sizes: Sequence[int]) -> list[int]:
    """The lengths under "runs", which make up a mask of that shape."""
    lengths = [whole(run, f"{where}.runs", 0, LARGEST_SIZE) for run in items(raw, "runs", where)]
    if sum(lengths) != math.prod(sizes):
        raise PromptError(
            f"{where} has runs that add up to {counted(sum(lengths), 'pixel')}, not to its shape {list(sizes)}: save "
            "it again."
        )
    return lengths


def shown(value: Any) -> str:
    """A value as short text on one line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _choice(value: Any, where: str, names: tuple[str, ...]) -> str:
    if value in names and isinstance(value, str):
        return value
    raise PromptError(f"{where} is {shown(value)}: choose one of {', '.join(names)}.")
