"""Signals without Qt: PythonQt's own cannot be declared in Python, and the controller must not know Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import attempt

Slot = Callable[..., Any]


class Signal:
    """Calls the functions connected to it, in the order they were connected, on the thread that emits."""

    def __init__(self) -> None:
        self._slots: list[Slot] = []

    def connect(self, slot: Slot) -> None:
        """Call `slot` with what is emitted from now on."""
        self._slots.append(slot)

    def disconnect(self, slot: Slot) -> None:
        """Stop calling `slot`; nothing happens if it was not connected."""
        if slot in self._slots:
            self._slots.remove(slot)

    def emit(self, *values: Any) -> None:
        """Call every slot, also after one that raises; one that is disconnected meanwhile is left out."""
        for slot in list(self._slots):
            if slot in self._slots:
                attempt(slot, *values)


@contextmanager
def tellingBy(failed: Signal) -> Iterator[None]:
    """Turn an error on purpose into a signal with its sentence."""
    try:
        yield
    except MedSAM2Error as error:
        failed.emit(str(error))
