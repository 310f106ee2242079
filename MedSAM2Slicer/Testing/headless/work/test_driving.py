"""How a run is brought to its end, whatever of it fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from medsam2_core.errors import VolumeError, WorkerError
from MedSAM2SlicerLib.work.driving import drive, driveToEnd
from MedSAM2SlicerLib.worker.conversation import Conversation

METHODS = ["ask", "write", "settle", "finish"]


class Client:
    """A worker that answers each request with two steps and a result when it is pumped, or with an error."""

    def __init__(self, error: WorkerError | None = None) -> None:
        self.modelFacts = {"name": "fake"}
        self.requests: list[Any] = []
        self.cancelled = 0
        self._error = error

    def request(self, onStep: Any, onDone: Any, onError: Any) -> Any:
        self.requests.append((onStep, onDone, onError))
        return self

    def cancel(self, keep: bool = False) -> None:
        self.cancelled += 1

    def pump(self, _seconds: float) -> None:
        onStep, onDone, onError = self.requests[-1]
        if self._error is not None:
            onError(self._error)
            return
        onStep("first")
        onStep("second")
        onDone(f"result {len(self.requests)}")


class Run:
    """Three requests; the method `fails` raises."""

    def __init__(self, fails: str = "", error: Exception | None = None) -> None:
        self.heard: list[Any] = []
        self._fails, self._error, self._left = fails, error or VolumeError("It is gone."), 3

    @property
    def goesOn(self) -> bool:
        return self._left > 0

    def ask(self, client: Any, *slots: Any) -> Any:
        self._note("ask")
        return client.request(*slots)

    def write(self, step: Any) -> Any:
        self._note("write", step)
        return SimpleNamespace(done=1, planned=6)

    def settle(self, result: Any, model: Any) -> None:
        self._note("settle", result, model["name"])
        self._left -= 1

    def finish(self) -> str:
        self._note("finish")
        return "All is drawn."

    def breakOff(self) -> None:
        self.heard.append(("breakOff",))

    def _note(self, method: str, *values: Any) -> None:
        self.heard.append((method, *values))
        if method == self._fails:
            raise self._error

    def count(self, method: str) -> int:
        return sum(one[0] == method for one in self.heard)


class Follower:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def stepped(self, step: Any, _progress: Any) -> None:
        self.heard.append(step)

    def ended(self, summary: str) -> None:
        self.heard.append(summary)

    def failed(self, error: Any) -> None:
        self.heard.append(str(error))


def test_all_requests_are_made_one_after_another() -> None:
    run, client, steps = Run(), Client(), []
    assert driveToEnd(run, client, lambda step, progress: steps.append((step, progress.planned))) == "All is drawn."
    assert [len(client.requests), run.count("ask"), run.count("write"), len(steps)] == [3, 3, 6, 6]
    assert [one[1] for one in run.heard if one[0] == "settle"] == ["result 1", "result 2", "result 3"]
    assert [run.count("finish"), run.count("breakOff")] == [1, 0]


@pytest.mark.parametrize("fails", METHODS)
def test_what_fails_of_a_run_ends_it_and_is_told_once(fails: str) -> None:
    run, client, talk, follower = Run(fails), Client(), Conversation(), Follower()
    drive(run, client, talk, follower)
    while talk.waits:
        client.pump(0)
    assert follower.heard[-1] == "It is gone."
    assert follower.heard.count("It is gone.") == 1
    heard = list(run.heard)
    client.requests and client.pump(0)  # which comes too late
    assert run.heard == heard


@pytest.mark.parametrize("fails", METHODS)
@pytest.mark.parametrize("error", [VolumeError("It is gone."), KeyboardInterrupt(), ValueError("unexpected")])
def test_whoever_waits_gets_the_error_of_a_run_that_was_broken_off(fails: str, error: Exception) -> None:
    run, client = Run(fails, error), Client()
    with pytest.raises(type(error)):
        driveToEnd(run, client, lambda _step, _progress: None)
    assert run.count("breakOff") == 1
    assert run.heard[-1] == ("breakOff",)


def test_an_error_of_the_worker_breaks_the_run_off() -> None:
    run = Run()
    with pytest.raises(WorkerError, match="out of memory"):
        driveToEnd(run, Client(WorkerError("out of memory")), lambda _step, _progress: None)
    assert run.heard == [("ask",), ("breakOff",)]


def test_who_leaves_hears_nothing_more() -> None:
    run, client, talk, follower = Run(), Client(), Conversation(), Follower()
    drive(run, client, talk, follower)
    client.pump(0)
    talk.leave()
    assert client.cancelled == 1
    heard = list(run.heard)
    client.pump(0)
    assert (run.heard, follower.heard) == (heard, ["first", "second"])
