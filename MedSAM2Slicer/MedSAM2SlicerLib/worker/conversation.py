"""An exchange with the worker: one request at a time, and answers to abandoned ones go nowhere."""

from __future__ import annotations

from collections.abc import Callable

from MedSAM2SlicerLib.faults import attempt
from MedSAM2SlicerLib.worker.calls import Call


class Conversation:
    """Holds the request that is on its way, and the slices whose previews are `later` to be asked for, in order.

    Slots are called by `call`, so that the worker's next message is delivered whatever becomes of the one before.
    """

    def __init__(self, call: Callable[..., object] = attempt) -> None:
        self._callSlot = call
        self.later: list[int] = []
        self._call: Call | None = None
        self._slice: int | None = None  # that the request on its way is to preview
        self._generation = 0

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._call is not None

    @property
    def previews(self) -> list[int]:
        """The slices whose previews are still to come, in order."""
        asked = [] if self._call is None or self._slice is None else [self._slice]
        return [*asked, *(index for index in self.later if index not in asked)]

    def ask(self, request: Callable[[], Call], previewed: int | None = None) -> None:
        """Make a request, whose slots are `current` ones; None for another one than that for a slice's preview."""
        self._slice = previewed
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

    def postpone(self, sliceIndex: int) -> None:
        """Have a slice's preview asked for later; one that waits already keeps its place."""
        if sliceIndex not in self.later:
            self.later.append(sliceIndex)

    def takeLater(self) -> int | None:
        """Return, and forget, the slice whose preview is to be asked for next."""
        return self.later.pop(0) if self.later else None

    def takeAllLater(self) -> list[int]:
        """Return, and forget, all slices whose previews are to be asked for."""
        later, self.later = self.later, []
        return later

    def leave(self) -> None:
        """Have the worker stop, whatever it still says, and want nothing later."""
        self.later.clear()
        self.drop()

    def drop(self) -> None:
        """Have the worker stop, whatever it still says; what is wanted later waits on."""
        self._generation += 1
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
