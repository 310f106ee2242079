"""How a segment is propagated: what the panel, the effect and the console can choose."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunOptions:
    """Choices of one run; the defaults need no thought.

    `axis` is an array axis (0, 1, 2 for k, j, i), None for the volume's slices as acquired (k). `window` is as
    `Window.parse` reads it. `first` and `last` are a half-open range of slices, None for the volume's ends.
    """

    model: str = "starter"
    device: str = "auto"
    axis: int | None = None
    window: str = "auto"
    memory: str = "self-sorting"
    bankSize: int = 6
    fieldOfView: str = "auto"
    first: int | None = None
    last: int | None = None
    direction: str = "both"
    absentSlices: int | None = 3
    minAreaMm2: float | None = None
    maxAreaChange: float | None = None

    def stopRules(self) -> dict[str, float | None]:
        """Return the stop rules by the names the core gives them."""
        return {
            "absent_slices": self.absentSlices,
            "min_area_mm2": self.minAreaMm2,
            "max_area_change": self.maxAreaChange,
        }

    def memoryRule(self) -> str:
        """Return the memory bank as `medsam2_core.memory_bank.memory_rule` reads it."""
        return f"self-sorting:{self.bankSize}" if self.memory == "self-sorting" else self.memory

    def range(self, count: int) -> tuple[int, int]:
        """Return the slices to go through, half-open, within the `count` there are."""
        first = 0 if self.first is None else max(self.first, 0)
        last = count if self.last is None else min(self.last, count)
        return first, last
