"""Values out of a header that any program may have written: of the right type, or a WorkerError that names them."""

from __future__ import annotations

import math
from typing import Any, NoReturn, TypeVar

from medsam2_core.errors import WorkerError
from medsam2_core.setting import Number, Setting, Whole
from medsam2_core.worker.wire import Frame, Header

Value = TypeVar("Value")


def text(header: Header, name: str) -> str:
    """A string."""
    return _typed(header, name, str)


def whole(header: Header, name: str) -> int:
    """A whole number."""
    value = _typed(header, name, int)
    if isinstance(value, bool):
        _refuse(name, value)
    return value


def flag(header: Header, name: str) -> bool:
    """True or false."""
    return _typed(header, name, bool)


def number(header: Header, name: str) -> float:
    """A finite number."""
    return as_number(header.get(name), name)


def result_number(header: Header, name: str) -> float:
    """A number that a model computed; null, which stands for infinite and undefined ones, becomes NaN."""
    return math.nan if header.get(name) is None else number(header, name)


def numbers(header: Header, name: str, count: int) -> tuple[float, ...]:
    """A list of `count` finite numbers."""
    values = items(header, name)
    if len(values) != count:
        _refuse(name, values)
    return tuple(as_number(value, name) for value in values)


def items(header: Header, name: str) -> list[Any]:
    """A list."""
    return _typed(header, name, list)


def objects(header: Header, name: str) -> list[Header]:
    """A list of JSON objects."""
    values = items(header, name)
    if not all(isinstance(value, dict) for value in values):
        _refuse(name, values)
    return values


def mapping(header: Header, name: str) -> Header:
    """A JSON object."""
    return _typed(header, name, dict)


def optional_whole(header: Header, name: str) -> int | None:
    """A whole number, or None where it is null or absent."""
    return None if header.get(name) is None else whole(header, name)


def optional_wholes(header: Header, name: str) -> list[int] | None:
    """A list of whole numbers, or None where it is null or absent."""
    if header.get(name) is None:
        return None
    return [whole({name: value}, name) for value in items(header, name)]


def setting(header: Header, row: Setting) -> Any:
    """The value of a setting that is a number or text; its default where it is null or absent, None if it is optional.

    A client that does not know a setting leaves it to the worker.
    """
    if header.get(row.name) is None:
        return None if row.optional else row.default
    if isinstance(row.kind, Whole):
        return whole(header, row.name)
    return number(header, row.name) if isinstance(row.kind, Number) else text(header, row.name)


def payload(frame: Frame, index: int) -> memoryview:
    """The payload with this index."""
    if not 0 <= index < len(frame.payloads):
        raise WorkerError(f"The message names payload {index} but has {len(frame.payloads)}.")
    return memoryview(frame.payloads[index])


def as_number(value: Any, name: str) -> float:
    """`value` if it is a finite number; `name` is for the message."""
    # A whole number may be too large for a float; none that is of use here comes near.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        _refuse(name, value)
    return float(value)


def _typed(header: Header, name: str, kind: type[Value]) -> Value:
    value = header.get(name)
    if not isinstance(value, kind):
        _refuse(name, value)
    return value


def _refuse(name: str, value: Any) -> NoReturn:
    shown = str(value)
    raise WorkerError(f"The message has no valid {name!r} ({shown if len(shown) <= 40 else shown[:40] + '...'}).")
