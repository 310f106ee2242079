"""An exchange with the worker: one request at a time, and answers to abandoned ones go nowhere."""

from __future__ import annotations

from collections.abc import Callable

from MedSAM2SlicerLib.faults import attempt
from MedSAM2SlicerLib.worker.calls import Call


class Conversation:
    """Holds the request that is on its way.

    Slots are called by `call`, so that the worker's next message is delivered whatever becomes of the one before.
    """

    def __init__(self, call: Callable[..., object] = attempt) -> None:
        self._callSlot = call
        self._call: Call | None = None
        self._generation = 0

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._call is not None

    def ask(self, request: Callable[[], Call]) -> None:
        """Make a request, whose slots are `current` ones."""
        self._call = request()

    def current(self, slot: Callable[..., None], last: bool = True) -> Callable[..., None]:
        """Call `slot` only as long as nothing newer was asked; the `last` answer ends the request."""
        generation = self._generation

        def ifCurrent(*values: object) -> None:
            if generation != self._generation:
                return
            if last:
                self._call = None
            self._callSlot(slot, *values)

        return ifCurrent

    def cancel(self, keep: bool) -> None:
        """Ask the worker to stop; its answer still counts. `keep` as of `Call.cancel`."""
        if self._call is not None:
            self._call.cancel(keep)

    def leave(self) -> None:
        """Have the worker stop, whatever it still says."""
        self._generation += 1
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
