"""How long the main thread stands: the gaps between the ticks of a 5 ms timer, and a table of steps with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

INTERVAL = 5  # ms between two ticks
LATE = 20  # ms after its time


@dataclass(frozen=True)
class Timed:
    """A step: how long it took, what it has to say, and the gaps meanwhile, in ms."""

    name: str
    seconds: float
    text: str = ""
    ticks: int = 0
    onTime: float = 1.0
    worst: float = 0.0
    over100: int = 0

    def asDict(self) -> dict[str, Any]:
        return asdict(self)


class Gaps:
    """Notes gaps from `start` to `stop`; `tick` is what the timer is to call."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._last, self._began, self._out = clock, 0.0, 0.0, 0.0
        self._gaps: list[float] = []

    def start(self) -> None:
        self._gaps, self._out = [], 0.0
        self._began = self._last = self._clock()

    def tick(self) -> None:
        now = self._clock()
        self._gaps.append(1000 * (now - self._last))
        self._last = now

    @contextmanager
    def leftOut(self) -> Iterator[None]:
        """Count nothing of what is done meanwhile: it is the test's own work."""
        self.tick()
        began = self._last
        try:
            yield
        finally:
            self._last = self._clock()
            self._out += self._last - began

    def stop(self, name: str, text: str) -> Timed:
        """Return the step that ends now; a gap that is still open counts."""
        self.tick()
        seconds = self._last - self._began - self._out
        late = [gap - INTERVAL for gap in self._gaps]
        onTime = sum(one <= LATE for one in late) / len(late)
        over100 = sum(gap > 100 for gap in self._gaps)
        return Timed(name, seconds, text, len(late), onTime, max(self._gaps), over100)


def table(steps: Sequence[Timed]) -> str:
    """Return the steps as lines of a table."""
    head = f"{'step':<24}{'s':>8}{'on time':>10}{'worst ms':>10}{'> 100 ms':>10}  "
    lines = [
        f"{one.name:<24}{one.seconds:>8.2f}{one.onTime:>10.1%}{one.worst:>10.0f}{one.over100:>10}  {one.text}"
        for one in steps
    ]
    return "\n".join([head, *lines])
