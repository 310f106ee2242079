"""How a segment is propagated: what the panel, the effect and the console can choose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.memory_name import DEFAULT_MEMORY
from medsam2_core.stopping import StopRules


@dataclass(frozen=True)
class RunOptions:
    """Choices of one run; the defaults need no thought.

    `stack` says which slices a segment gets with its first prompt; the default is the volume's as acquired (k).
    `window` is one, or as `volumes.windowOf` reads it. `first` and `last` are a half-open range of slices of `stack`,
    None for the volume's ends.
    `inside` is the ID of a segment or of an ROI node to stay in, or empty.
    """

    model: str = "starter"
    device: str = "auto"
    stack: SliceStack = field(default_factory=SliceStack)
    window: Window | str = "auto"
    memory: str = DEFAULT_MEMORY
    bankSize: int = 6
    fieldOfView: str = "auto"
    first: int | None = None
    last: int | None = None
    direction: str = "both"
    absentSlices: int | None = 3
    minAreaMm2: float | None = None
    maxAreaChange: float | None = None
    maxDistanceMm: float | None = None
    inside: str = ""

    def stopRules(self, inside: npt.NDArray[np.bool_] | None = None) -> StopRules:
        """Return the core's stop rules; `inside` marks the region to stay in, on the slices' grid."""
        return StopRules(self.absentSlices, self.minAreaMm2, self.maxAreaChange, self.maxDistanceMm, inside)

    def along(self, stack: SliceStack) -> RunOptions:
        """Return the options for segments on slices of `stack`; a range of slices of another one counts others."""
        return self if stack == self.stack else replace(self, stack=stack, first=None, last=None)

    def session(self) -> tuple[object, ...]:
        """Return what all sessions of the worker depend on: with anything else in it, all would be drawn otherwise."""
        return self.model, self.device, self.window, self.memoryRule(), self.fieldOfView

    def memoryRule(self) -> str:
        """Return the memory bank as `medsam2_core.memory_bank.memory_rule` reads it."""
        return f"self-sorting:{self.bankSize}" if self.memory == "self-sorting" else self.memory

    def range(self, count: int) -> tuple[int, int]:
        """Return the slices to go through, half-open, within the `count` there are."""
        first = 0 if self.first is None else max(self.first, 0)
        last = count if self.last is None else min(self.last, count)
        return first, last
