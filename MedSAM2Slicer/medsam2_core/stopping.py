"""When a propagation ends before the last slice. Without torch, so that Slicer and the worker's reader can use it."""

from __future__ import annotations

import threading
from dataclasses import dataclass


class CancelToken:
    """Asks a propagation, from any thread, to stop after the slice at hand; what is done stays."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()


@dataclass(frozen=True)
class StopRules:
    """When a track with no prompted slice ahead stops before the end of the range; None switches a rule off.

    `absent_slices` empty slices in a row; an area under `min_area_mm2`; an area that differs from the slice before by
    more than `max_area_change` (0.5 is 50 %). The slice that breaks one of the last two rules is left empty.
    """

    absent_slices: int | None = 3
    min_area_mm2: float | None = None
    max_area_change: float | None = None
