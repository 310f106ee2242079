"""How a run comes to its end: the worker is asked for one part after another, and each answer goes where it belongs.

It is the same for a propagation, a redraw, a call from the console and a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from medsam2_core.errors import MedSAM2Error
from medsam2_core.worker.results import Step
from MedSAM2SlicerLib.signal import Slot
from MedSAM2SlicerLib.work.running import Progress
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.conversation import Conversation

_PUMP_SECONDS = 0.05


class Run(Protocol):
    """What is asked of the worker, request after request, and what becomes of the answers. Methods raise MedSAM2Error.

    After `finish` or `breakOff`, one of which is its end, what was drawn is in the scene.
    """

    @property
    def goesOn(self) -> bool:
        """Whether there is another request to make."""
        ...

    def ask(self, client: WorkerClient, onStep: Slot, onDone: Slot, onError: Slot) -> Call:
        """Make the next request."""
        ...

    def write(self, step: Step) -> Progress:
        """Write a step of it into its segments."""
        ...

    def settle(self, result: Any, model: Mapping[str, Any] | None) -> None:
        """Take its result; `model` are the worker's facts about the model."""
        ...

    def finish(self) -> str:
        """Keep what is drawn, and what is known of it; returns what there is to say in a line."""
        ...

    def breakOff(self) -> None:
        """Keep what is drawn of a run that does not come to its end."""
        ...


class Follower(Protocol):
    """Who hears how a run goes: of each step, and at last of its end or of the error that it cannot go on after."""

    def stepped(self, step: Step, progress: Progress) -> None:
        """A step was written."""

    def ended(self, summary: str) -> None:
        """All is done and kept."""

    def failed(self, error: MedSAM2Error) -> None:
        """Nothing more comes; the run is to be broken off."""


Writing = Callable[[], AbstractContextManager[None]]
"""Encloses what a run writes into the scene."""


def drive(
    run: Run, client: WorkerClient, talk: Conversation, follower: Follower, writing: Writing = nullcontext
) -> None:
    """Have the worker go through a run. Returns at once; `follower` hears of it, unless somebody leaves `talk`."""
    _Drive(run, client, talk, follower, writing).goOn()


def driveToEnd(run: Run, client: WorkerClient, onStep: Callable[[Step, Progress], None]) -> str:
    """Drive a run and wait for its end; returns what there is to say of it.

    Raises the error that it ends with. Then, and after Ctrl+C too, what is drawn stays, in segments that can be used.
    """
    talk, follower = Conversation(_call), _Waiting(onStep)
    try:
        drive(run, client, talk, follower)
        while talk.waits:
            client.pump(_PUMP_SECONDS)
        if follower.error is not None:
            raise follower.error
    except BaseException:
        talk.leave()
        run.breakOff()
        raise
    return follower.summary


class _Drive:
    def __init__(
        self, run: Run, client: WorkerClient, talk: Conversation, follower: Follower, writing: Writing
    ) -> None:
        self._run, self._client, self._talk, self._follower, self._writing = run, client, talk, follower, writing

    def goOn(self) -> None:
        current = self._talk.current
        onStep, onDone, onError = current(self._onStep, last=False), current(self._onDone), current(self._fail)
        try:
            self._talk.ask(lambda: self._run.ask(self._client, onStep, onDone, onError))
        except MedSAM2Error as error:
            self._fail(error)

    def _onStep(self, step: Step) -> None:
        try:
            with self._writing():
                progress = self._run.write(step)
        except MedSAM2Error as error:  # a segment is gone: nothing later could be written either
            self._fail(error)
            return
        self._follower.stepped(step, progress)

    def _onDone(self, result: Any) -> None:
        try:
            with self._writing():
                self._run.settle(result, self._client.modelFacts)
                summary = "" if self._run.goesOn else self._run.finish()
        except MedSAM2Error as error:
            self._fail(error)
            return
        if self._run.goesOn:
            self.goOn()
        else:
            self._follower.ended(summary)

    def _fail(self, error: MedSAM2Error) -> None:
        self._talk.drop()
        self._follower.failed(error)


class _Waiting:
    """The follower of who waits."""

    def __init__(self, onStep: Callable[[Step, Progress], None]) -> None:
        self.stepped = onStep
        self.summary = ""
        self.error: MedSAM2Error | None = None

    def ended(self, summary: str) -> None:
        self.summary = summary

    def failed(self, error: MedSAM2Error) -> None:
        self.error = error


def _call(slot: Slot, *values: object) -> None:
    """Whoever waits hears of any exception."""
    slot(*values)
