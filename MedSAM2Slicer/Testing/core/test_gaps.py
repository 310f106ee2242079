"""Gaps of a timer: what is late, and what is left out."""

from __future__ import annotations

import pytest
from gaps import Gaps, Timed, table


def test_gaps_are_counted_but_not_the_test_s_own_work() -> None:
    now = 0.0
    gaps = Gaps(lambda: now)
    gaps.start()
    for seconds in (0.005, 0.006, 0.150):
        now += seconds
        gaps.tick()
    with gaps.leftOut():
        now += 10.0
    now += 0.005
    step = gaps.stop("box", "42 mL")
    assert step.seconds == pytest.approx(0.166)
    assert (step.ticks, step.over100) == (5, 1)
    assert step.worst == pytest.approx(150)
    assert step.onTime == pytest.approx(4 / 5)


def test_the_table_has_a_line_for_each_step() -> None:
    lines = table([Timed("box", 1.5, "42 mL", 100, 0.95, 35.0, 0)]).splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["box", "1.50", "95.0%", "35", "0", "42", "mL"]
