"""A request on its way to the worker, as whoever asked for it holds it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from medsam2_core.errors import MedSAM2Error, WorkerError
from medsam2_core.worker.wire import Frame
from MedSAM2SlicerLib.worker.opening import Opening
from MedSAM2SlicerLib.worker.requests import Request

_PUMP_SECONDS = 0.05


class Caller(Protocol):
    """The client, as its calls see it."""

    def cancel(self, call: Call, keep: bool = False) -> None:
        """End a call."""

    def pump(self, seconds: float) -> None:
        """Let things happen."""


class Call:
    """Ends exactly once, with a result or an error. `next` is what must be opened before, `make` the request.

    Only calls with `readStep` can be canceled while the worker is at them.
    """

    def __init__(
        self,
        caller: Caller,
        next: Callable[[], Opening | None],  # noqa: A002
        make: Callable[[], Request],
        onDone: Callable[[Any], None],
        onError: Callable[[MedSAM2Error], None],
        readStep: Callable[[Frame], Any] | None,
        onStep: Callable[[Any], None],
    ) -> None:
        self.next, self.make, self.readStep, self.onStep = next, make, readStep, onStep
        self.losses = 0
        """Workers that were lost while working on it."""
        self.cancelDeadline: float | None = None
        self.error: MedSAM2Error | None = None
        self.result: Any = None
        self.isFinished = False
        self._caller, self._onDone, self._onError = caller, onDone, onError

    def cancel(self, keep: bool = False) -> None:
        """Ask to end it: a running propagation ends after its slice, with a result; anything else with Cancelled.

        Of a tentative propagation the worker is to `keep` what it has drawn, or nothing.
        """
        self._caller.cancel(self, keep)

    def wait(self, pump: Callable[[float], None] | None = None, seconds: float | None = None) -> Any:
        """Wait for the result, at most `seconds`, and return it; not from within a callback.

        Raises the error that the call ends with, or WorkerError if the time is over.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.isFinished:
            if deadline is not None and time.monotonic() > deadline:
                raise WorkerError(f"The model process did not answer within {seconds:g} s: give it more time.")
            (pump or self._caller.pump)(_PUMP_SECONDS)
        if self.error is not None:
            raise self.error
        return self.result

    def finish(self, result: Any) -> None:
        """Hand the result over, unless the call has ended."""
        if not self.isFinished:
            self.isFinished, self.result = True, result
            self._onDone(result)

    def fail(self, error: MedSAM2Error) -> None:
        """Hand an error over, unless the call has ended."""
        if not self.isFinished:
            self.isFinished, self.error = True, error
            self._onError(error)


def askAndWait(ask: Callable[[Callable[[Any], None]], Call], onStep: Callable[[Any], object]) -> Any:
    """Make a request by `ask`, which takes the slot for its steps, and wait for its result.

    Raises the first error of `onStep`, else that of the request. After it, as after Ctrl+C, the worker is told to stop,
    and `onStep` hears no more.
    """
    errors: list[BaseException] = []

    def hear(step: Any) -> None:
        if errors:
            return
        try:
            onStep(step)
        except Exception as error:  # noqa: BLE001 (raised below: here it would end in Qt's event loop)
            errors.append(error)
            call.cancel()

    call = ask(hear)
    try:
        call.wait()
    except BaseException as error:  # noqa: BLE001 (raised below, unless a step's came before)
        errors.append(error)
        call.cancel()
    if errors:
        raise errors[0]
    return call.result
