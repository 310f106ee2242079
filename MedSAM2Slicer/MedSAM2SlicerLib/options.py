"""How a segment is propagated: what the panel, the effect and the console can choose."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.run.settings import RunSettings, rows_of
from medsam2_core.setting import Setting, plain_rows
from medsam2_core.stopping import StopRules


def optionName(setting: str) -> str:
    """Return how `RunOptions` calls a setting of the core: minAreaMm2 for min_area_mm2."""
    first, *others = setting.split("_")
    return first + "".join(word.capitalize() for word in others)


@dataclass(frozen=True)
class RunOptions:
    """Choices of one run; the defaults need no thought.

    `stack` says which slices a segment gets with its first prompt; the default is the volume's as acquired (k).
    `window` is one, or as `volumes.windowOf` reads it. `first` and `last` are a half-open range of slices of `stack`,
    None for the volume's ends.
    `inside` is the ID of a segment or of an ROI node to stay in, or empty.
    """

    model: str = RunSettings.model
    device: str = RunSettings.device
    precision: str = RunSettings.precision
    stack: SliceStack = field(default_factory=SliceStack)
    window: Window | str = "auto"
    memory: str = RunSettings.memory
    bankSize: int = 6
    fieldOfView: str = RunSettings.field_of_view
    first: int | None = None
    last: int | None = None
    direction: str = RunSettings.direction
    directions: str = RunSettings.directions
    absentSlices: int | None = StopRules.absent_slices
    minAreaMm2: float | None = StopRules.min_area_mm2
    maxAreaChange: float | None = StopRules.max_area_change
    maxDistanceMm: float | None = StopRules.max_distance_mm
    inside: str = ""

    def stopRules(self, inside: npt.NDArray[np.bool_] | None = None) -> StopRules:
        """Return the core's stop rules; `inside` marks the region to stay in, on the slices' grid."""
        rules = {row.name: getattr(self, optionName(row.name)) for row in plain_rows(StopRules)}
        return StopRules(**rules, inside=inside)

    def settings(self, window: Window, span: tuple[int, int], stop: StopRules) -> RunSettings:
        """Return the core's settings of a run in that window, through slices span[0] <= index < span[1]."""
        plain = {row.name: self._value(row) for row in plain_rows(RunSettings)}
        return RunSettings(**plain, stack=self.stack, window=window, first=span[0], last=span[1], stop=stop)

    def of(self, part: str) -> dict[str, Any]:
        """Return the settings of a part that are numbers or text, by the core's names; see `RunSettings`."""
        return {row.name: self._value(row) for row in rows_of(part)}

    def along(self, stack: SliceStack) -> RunOptions:
        """Return the options for segments on slices of `stack`; a range of slices of another one counts others."""
        return self if stack == self.stack else replace(self, stack=stack, first=None, last=None)

    def session(self) -> tuple[object, ...]:
        """Return what all sessions of the worker depend on: with anything else in it, all would be drawn otherwise."""
        return self.model, self.device, self.precision, self.window, *self.of("session").values()

    def memoryRule(self) -> str:
        """Return the memory bank as `medsam2_core.memory_bank.memory_rule` reads it."""
        return f"self-sorting:{self.bankSize}" if self.memory == "self-sorting" else self.memory

    def range(self, count: int) -> tuple[int, int]:
        """Return the slices to go through, half-open, within the `count` there are."""
        first = 0 if self.first is None else max(self.first, 0)
        last = count if self.last is None else min(self.last, count)
        return first, last

    def _value(self, row: Setting) -> Any:
        """A setting of the core; its default where there is nothing to choose here."""
        return self.memoryRule() if row.name == "memory" else getattr(self, optionName(row.name), row.default)
