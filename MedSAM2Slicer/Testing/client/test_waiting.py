"""Requests that somebody waits for, with all their steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsam2_core.errors import PromptError
from medsam2_core.worker.results import Step
from MedSAM2SlicerLib.worker.calls import Call, askAndWait
from MedSAM2SlicerLib.worker.client import WorkerClient

SLICES = 12


@pytest.fixture
def client(make_client: Any, hold: Path) -> WorkerClient:
    made: WorkerClient = make_client(None, 0, hold)
    return made


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def ask(client: WorkerClient, block: Any, calls: list[Call]) -> Callable[[Callable[[Step], None]], Call]:
    def propagate(on_step: Callable[[Step], None]) -> Call:
        calls.append(client.propagate("s", [block], 0, SLICES, onStep=on_step))
        return calls[-1]

    return propagate


def test_the_result_and_all_steps(ask: Any) -> None:
    steps: list[Step] = []
    result = askAndWait(ask, steps.append)
    assert len(steps) == len(result.objects[0].slices) == SLICES


@pytest.mark.parametrize("error", [PromptError("It is gone."), ZeroDivisionError("mine"), KeyboardInterrupt("stop")])
def test_the_first_error_of_a_step_ends_it(ask: Any, calls: list[Call], hold: Path, error: BaseException) -> None:
    hold.touch()
    steps: list[Step] = []

    def hear(step: Step) -> None:
        steps.append(step)
        raise error

    with pytest.raises(type(error), match=str(error)):
        askAndWait(ask, hear)
    assert calls[0].wait().cancelled
    assert len(steps) == 1


def test_the_error_of_the_request(client: WorkerClient) -> None:
    with pytest.raises(PromptError, match="nothing to propagate"):
        askAndWait(lambda on_step: client.propagate("s", [], 0, SLICES, onStep=on_step), print)
