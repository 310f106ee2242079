"""Unexpected exceptions, at the outermost edge: the log gets the traceback, open panels say so.

Slots of signals and of Qt, observers of the scene and what Slicer calls of an effect end here, so that one which only
shows something cannot lose the click that it was to show. Nothing below catches what it does not know.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

_EVERY = 10.0  # seconds: what fails at every turn of a timer is told now and then

_log = logging.getLogger("MedSAM2Slicer")
_listeners: list[Callable[[Exception], object]] = []
_told_at: dict[str, float] = {}
_telling = False


def listen(listener: Callable[[Exception], object]) -> None:
    """Call `listener` with each exception from now on."""
    _listeners.append(listener)
    _told_at.clear()


def unlisten(listener: Callable[[Exception], object]) -> None:
    """Stop calling it."""
    if listener in _listeners:
        _listeners.remove(listener)


def attempt(slot: Callable[..., Any], *values: Any, otherwise: Any = None) -> Any:
    """Call `slot`; after an exception it is reported, and `otherwise` is returned."""
    try:
        return slot(*values)
    except Exception as error:  # noqa: BLE001 (the outermost edge: behind it there is only Slicer's event loop)
        _tell(error)
        return otherwise


def guarded(slot: Callable[..., Any]) -> Callable[..., Any]:
    """Return `slot` as something that never raises, to connect or as a method's decorator.

    It takes of the values that come with an event as many as `slot` does, as PythonQt has it.
    """
    count = _positional(slot)

    @functools.wraps(slot)
    def call(*values: Any) -> Any:
        return attempt(slot, *values[:count])

    return call


def _positional(slot: Callable[..., Any]) -> int | None:
    """How many values a function takes by position; None for any number."""
    parameters = inspect.signature(slot).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return None
    return sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)


def _tell(error: Exception) -> None:
    global _telling
    place, now = "".join(traceback.format_tb(error.__traceback__)), time.monotonic()
    if now - _told_at.get(place, -_EVERY) < _EVERY:
        return
    _told_at[place] = now
    _log.error("An exception in a handler of MedSAM2Slicer.", exc_info=error)
    if _telling:  # it is a listener that failed
        return
    _telling = True
    try:
        for listener in _listeners:
            attempt(listener, error)
    finally:
        _telling = False
