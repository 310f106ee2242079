"""For all tests: they share the machine's cores, and what this machine lacks for some of them is said at the end."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from medsam2_core.processor import share_cores

share_cores()  # before anything loads torch; the processes that tests start inherit it
os.environ.pop("MEDSAM2_FEATURES", None)  # what a user's folder knows would not be encoded here

# Half of the time in a few files. They go first, since one that is left over to the end keeps a single process busy.
_LONGEST = ("test_parity", "test_self_tests", "test_batch", "test_ranks", "test_speed", "test_kills", "test_cluster")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; those that are as long as each other stay in order."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say why tests were skipped, each reason once."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped on this machine")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")
