"""What signals do while a command ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from medsam2_core.cli.signals import interruptible

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """A test run in the background ignores Ctrl+C; what a test leaves is set back."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_one_that_comes_while_they_are_set_back_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """It left the others as they were, and the next one killed the interpreter at its end."""
    sets = signal.signal

    def disturbed(number: int, handler: Any) -> Any:
        if handler is signal.SIG_IGN:
            signal.raise_signal(number)
        return sets(number, handler)

    with interruptible(is_last=True):
        monkeypatch.setattr(signal, "signal", disturbed)
    monkeypatch.undo()
    assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_IGN] * len(NUMBERS)


@pytest.mark.parametrize("number", NUMBERS)
def test_each_interrupts(number: int) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible(is_last=False):
        signal.raise_signal(number)
    assert signal.getsignal(number) is signal.default_int_handler
