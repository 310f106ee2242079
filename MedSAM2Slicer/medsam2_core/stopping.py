"""When a propagation ends before the last slice. Without torch, so that Slicer and the worker's reader can use it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medsam2_core.errors import PromptError
from medsam2_core.setting import Number, Option, Structure, Whole, plain_rows, setting

if TYPE_CHECKING:
    from medsam2_core.arrays import Mask  # brings numpy, which the command line's help has no use for

SMALLEST_SHARE_INSIDE = 0.5
"""A mask that lies outside by more than this has left; one that only brims over at the region's edge has not."""


_STOPPED = re.compile(r"stopped at slice (\d+): (.+)")


def stop_sentence(slice_index: int, reason: str) -> str:
    """Say at which slice a track ended before its time, and why; `read_stop` reads it."""
    return f"stopped at slice {slice_index}: {reason}"


def read_stop(sentence: str) -> tuple[int, str] | None:
    """Return slice and reason of a `stop_sentence`; None for another end, such as that of the range."""
    found = _STOPPED.fullmatch(sentence)
    return None if found is None else (int(found[1]), found[2])


class CancelToken:
    """Asks a propagation, from any thread, to stop after the current slice; what is done stays."""

    @property
    def partial(self) -> bool:
        """Whether the propagation repeats one that was stopped, whose end it must not reach."""
        return False

    def __init__(self) -> None:
        self._event = threading.Event()
        self.keeps = False
        """Whether a propagation that is only tried out is to keep what it has done."""

    def cancel(self, keep: bool = False) -> None:
        """Ask to stop; `keep` is for `keeps`."""
        self.keeps = keep
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()


@dataclass(frozen=True, eq=False)
class StopRules:
    """When a track with no prompted slice ahead stops before the end of the range; None or 0 switches a rule off.

    `absent_slices` empty slices in a row; an area under `min_area_mm2`; an area that differs from the slice before by
    more than `max_area_change` (0.5 is 50 %); the next slice farther than `max_distance_mm` from the prompted one the
    track started at; less than half of the mask within the region `inside`, a mask (k, j, i) on the volume's grid. The
    slice that breaks a rule of area or region is left empty. Raises PromptError for other values.
    """

    absent_slices: int | None = setting(
        Whole(1), 3, optional=True,
        option=Option("--stop-absent", "object absent on N slices in a row (default: {default})", "N"),
    )  # fmt: skip
    min_area_mm2: float | None = setting(
        Number(0.0), None, optional=True, unit="mm2", option=Option("--stop-area", "area smaller than this")
    )
    max_area_change: float | None = setting(
        Number(0.0), None, optional=True,
        option=Option("--stop-change", "area changed by more than this from slice to slice", "PERCENT", per=100),
    )  # fmt: skip
    max_distance_mm: float | None = setting(
        Number(0.0), None, optional=True, unit="mm",
        option=Option("--stop-distance", "farther than this from the prompted slice"),
    )  # fmt: skip
    inside: Mask | None = setting(
        Structure(), None, optional=True, option=Option(
            "--stop-outside", "more than half of the mask outside a mask on the volume's grid", "FILE[:NAME]"
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for row in plain_rows(StopRules):
            value = getattr(self, row.name)
            if value == 0:  # off, as on the command line and in the panel: as a rule it would stop every track at once
                object.__setattr__(self, row.name, None)
            elif value is not None and isinstance(row.kind, Whole | Number) and not row.kind.holds(value):
                kind = "a whole number" if isinstance(row.kind, Whole) else "a number"
                raise PromptError(f"The stop rule {row.name} cannot be {value!r}: give {kind} above 0, or None.")

    def turned(self, turn: Callable[[Mask], Mask]) -> StopRules:
        """The same rules for a volume that `turn` was applied to."""
        return self if self.inside is None else replace(self, inside=turn(self.inside))
