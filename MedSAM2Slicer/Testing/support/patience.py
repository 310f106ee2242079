"""How long a test waits for what another process or thread does: as long as a machine with no core to spare takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

CEILING = 900.0  # seconds; only what never comes takes so long, and pytest's own limit lies above


def wait_until(reached: Callable[[], Any], turn: Callable[[], Any], ceiling: float = CEILING) -> None:
    """Take turns until something is so. Raises AssertionError if it never is."""
    start = time.monotonic()
    while not reached():
        assert time.monotonic() < start + ceiling, "What this test waits for did not come."
        turn()
