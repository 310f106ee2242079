"""Having the model see the slice in view ahead of a click on it, once the user stays there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from MedSAM2SlicerLib.runner import Runner

PAUSE = 0.3
"""Seconds that a slice is in view before the model sees it: who scrolls on asks for nothing."""


class LookAhead:
    """Follows the slice in view, for models that look at whole slices; a square would hang on the prompt.

    A model's part of a click on a slice that it has seen takes 20 ms instead of 315 to 477 (docs/performance.md).
    """

    def __init__(
        self, runner: Runner, look: Callable[[int], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runner, self._look, self._clock = runner, look, clock
        self._seen: Any = None  # what is in view: the index, and what it is an index of
        self._since: float | None = None  # when it came into view; None once it was asked for

    def follow(self, sliceIndex: int | None) -> None:
        """Note which slice is in view, None where no prompt can be placed; called often, so that it does little."""
        seen = None if sliceIndex is None else (sliceIndex, *self._runner.slicesInView)
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        if sliceIndex is None or self._since is None or self._clock() - self._since < PAUSE:
            return
        if self._runner.looksAhead:
            self._since = None
            self._look(sliceIndex)
