"""For all tests: they share the machine's cores, and what this machine lacks for some of them is said at the end."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from medsam2_core.processor import share_cores

share_cores()  # before anything loads torch; the processes that tests start inherit it
os.environ.pop("MEDSAM2_FEATURES", None)  # what a user's folder knows would not be encoded here


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say why tests were skipped, each reason once."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped on this machine")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")
