"""Having the model see the slice in view ahead of a click on it, once the user stays there."""

from __future__ import annotations

import time
from collections.abc import Callable

from MedSAM2SlicerLib.runner import Runner

PAUSE = 0.3
"""Seconds that a slice is in view before the model sees it: who scrolls on asks for nothing."""


class LookAhead:
    """Follows the slice in view, for models that look at whole slices; a square would hang on the prompt.

    A click on a slice that was seen is answered in 20 ms in place of 315 to 477 (docs/performance.md).
    """

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.monotonic) -> None:
        self._runner, self._clock = runner, clock
        self._index: int | None = None
        self._since: float | None = None  # when it came into view; None once it was asked for

    def follow(self, sliceIndex: int | None) -> None:
        """Note which slice is in view; called often, so that it does little."""
        if sliceIndex != self._index:
            self._index, self._since = sliceIndex, self._clock()
        if self._index is None or self._since is None or self._clock() - self._since < PAUSE:
            return
        if self._runner.looksAhead:
            self._since = None
            self._runner.warm(self._index)
