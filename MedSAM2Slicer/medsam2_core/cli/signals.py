"""Ctrl+C, and the signals that mean the same: a cluster's before it kills (SIGTERM), a closed terminal's (SIGHUP)."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medsam2_core.stopping import CancelToken

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_FINISHING = b"\nFinishing the current slice; press Ctrl+C again to quit at once without a result.\n"


@contextmanager
def interruptible(*, is_last: bool) -> Iterator[None]:
    """Raise KeyboardInterrupt in the statements inside for each of the signals, as Ctrl+C does.

    `is_last`: the process ends after them; a signal that comes again then, which may take a second, is ignored.
    """
    with _handled(signal.default_int_handler, afterwards=signal.SIG_IGN if is_last else None):
        yield


@contextmanager
def stopping(token: CancelToken) -> Iterator[None]:
    """Let the first of the signals set `token`. A second Ctrl+C leaves at once; the others may come twice by design."""

    def ask(number: int, frame: FrameType | None) -> None:
        if token.cancelled and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        if not token.cancelled:
            token.cancel()
            with suppress(OSError):  # nobody reads it
                os.write(2, _FINISHING)  # print is not safe here: the signal may have come in the middle of another one

    with _handled(ask):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], Any], afterwards: Any = None) -> Iterator[None]:
    """Handle the signals otherwise for a while; those that are ignored, as under nohup, or that C handles, stay so.

    One that comes while they are set back has no effect: an exception would leave the others as they were, and the
    interpreter's own end would let the next one kill it.
    """
    over = False

    def heard(number: int, frame: FrameType | None) -> None:
        if not over:
            handler(number, frame)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: earlier for number, earlier in before.items() if earlier not in (None, signal.SIG_IGN)}
    try:
        for number in before:
            signal.signal(number, heard)
        yield
    finally:
        over = True
        for number, earlier in before.items():
            signal.signal(number, earlier if afterwards is None else afterwards)
