"""The worker as Slicer's side uses it: ask, get answers in callbacks; started, restarted and brought back unasked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from medsam2_core.errors import Cancelled, MedSAM2Error, WorkerError
from medsam2_core.memory_name import DEFAULT_MEMORY
from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import ObjectAnswer, Propagated, Step
from medsam2_core.worker.wire import Frame, Header
from MedSAM2SlicerLib import requests
from MedSAM2SlicerLib.calls import Call
from MedSAM2SlicerLib.connection import Connection, Timeouts
from MedSAM2SlicerLib.drawn import Reach
from MedSAM2SlicerLib.opening import Opening, Openings, SessionWish
from MedSAM2SlicerLib.requests import Request, Volume
from MedSAM2SlicerLib.sessions import Course, Look, Sessions
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.transports import Transport, nothing
from MedSAM2SlicerLib.workerlog import WorkerLog

_TRIES = 3  # of one request, each with a new worker


class State(Enum):
    """What the worker is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    WORKING = "working"


@dataclass(frozen=True)
class _Exchange:
    """The request the worker is at: for a call, or an opening that the call needs first."""

    id: int
    call: Call
    request: Request
    opening: Opening | None


class WorkerClient:
    """One worker, its sessions, and the calls that wait for it.

    Methods return at once; callbacks come from `pump` or the event loop of the transport, on the thread that uses the
    client, never while another of them runs; only `cancel` and `stop` end calls at once. Errors come as `MedSAM2Error`
    to `onError`. A worker that dies is started again, gets back what it had, and repeats its request, up to three
    times; steps may come again then. Call `tick` about once a second, else time-outs are not noticed.
    """

    def __init__(
        self,
        transportFactory: Callable[[WorkerLog], Transport],
        command: Sequence[str],
        logPath: Path,
        environment: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stateChanged = Signal()  # State
        self.restarted = Signal()  # why, one sentence
        self.noticed = Signal()  # what the worker did unasked, such as using less memory: one sentence
        self.log = WorkerLog(logPath)
        self._makeTransport, self._command, self._environment = transportFactory, list(command), environment
        self._timeouts, self._clock = timeouts or Timeouts(), clock
        self._openings = Openings()
        self._sessions = Sessions(self._openings)
        self._calls: deque[Call] = deque()
        self._connection: Connection | None = None
        self._exchange: _Exchange | None = None
        self._refused: list[tuple[Call, MedSAM2Error]] = []  # on this side; told by the next tick
        self._lastId = 0
        self._state = State.STOPPED

    @property
    def state(self) -> State:
        """What the worker is doing."""
        return self._state

    @property
    def isReady(self) -> bool:
        """Whether the worker has the chosen model open; until then it is being started, or will be."""
        return self._openings.isModelOpen

    @property
    def modelFacts(self) -> Header | None:
        """The worker's last word on its model: name, sha256, image_size, device, field_of_view, parameters."""
        return self._openings.facts

    def setCommand(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start workers with another command from now on; one that runs is stopped if the command differs."""
        if (list(command), environment) != (self._command, self._environment):
            self.stop()
            self._command, self._environment = list(command), environment

    def setModel(self, model: str, device: str = "auto", imageSize: int | None = None) -> None:
        """Choose the model for what follows: a catalog name, or a path on the worker's computer."""
        self._openings.model = (model, device, imageSize)

    def setVolume(self, key: str, volume: Volume) -> None:
        """Remember a volume by a key; one that does not equal it replaces it. It is sent when it is needed."""
        if self._openings.volumes.get(key) != volume:
            self._sessions.forget(*self._openings.sessionsOf(key))
        self._openings.volumes[key] = volume

    def openSession(
        self, key: str, volumeKey: str, axis: int, memory: str = DEFAULT_MEMORY, fieldOfView: str = "auto"
    ) -> None:
        """Remember a session on the slices along an array axis; with other settings it starts over."""
        wish = SessionWish(volumeKey, axis, memory, fieldOfView)
        if self._openings.sessions.get(key) != wish:
            self._openings.sessions[key] = wish
            self._sessions.forget(key)

    def closeSession(self, key: str) -> None:
        """Forget a session, here and in the worker."""
        self._openings.sessions.pop(key, None)
        self._sessions.forget(key)
        self._close("session", key)

    def closeVolume(self, key: str) -> None:
        """Forget a volume and its sessions, here and in the worker."""
        for name in self._openings.sessionsOf(key):
            self._openings.sessions.pop(name)
            self._sessions.forget(name)
        self._openings.volumes.pop(key, None)
        self._close("volume", key)

    def prepare(
        self,
        sessionKey: str | None = None,
        onDone: Callable[[Header | None], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Open the model, and a session with its volume, ahead of need; done with `modelFacts`."""
        call = Call(
            self, self._missing(sessionKey), lambda: requests.STATUS, lambda _: onDone(self.modelFacts), onError
        )
        return self._enqueue(call)

    def predict(
        self,
        sessionKey: str,
        sliceIndex: int,
        objects: Sequence[RunObject],
        onDone: Callable[[tuple[ObjectAnswer, ...]], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Ask for masks on a slice. `objects` are all of the session's with all their prompts; others are forgotten."""
        make = partial(self._sessions.predict, sessionKey, sliceIndex, objects)
        return self._enqueue(Call(self, self._missing(sessionKey), make, onDone, onError))

    def propagate(
        self,
        sessionKey: str,
        objects: Sequence[RunObject],
        first: int,
        last: int,
        direction: str = "both",
        stop: StopRules | None = None,
        onStep: Callable[[Step], None] = nothing,
        onDone: Callable[[Propagated], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
        only: Collection[int] | None = None,
        rounds: int | None = None,
    ) -> Call:
        """Carry the objects through slices first <= index < last; `objects` as in `predict`.

        With `only` just these run, by label; the others keep what they have drawn. The region of `stop` is on the
        volume's grid (k, j, i). It goes no further than `rounds` rounds, as far as an earlier, canceled run came.
        After a cancel it is done too, with what it has. The result lists all slices of the objects that ran.
        """
        course = Course(Reach(first, last, direction), stop or StopRules(), only, rounds)
        return self._stepping(
            sessionKey, partial(self._sessions.propagate, sessionKey, objects, course), onStep, onDone, onError
        )

    def redraw(
        self,
        sessionKey: str,
        objects: Sequence[RunObject],
        objectId: int,
        threshold: float = 0.5,
        smoothingMm: float = 0.0,
        onStep: Callable[[Step], None] = nothing,
        onDone: Callable[[Propagated], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Draw one of the session's objects again, from what propagations left, without running the model.

        Its pixels are those at least as probable as `threshold` (0.001 to 0.999), after a Gaussian across slices.
        Slices with a mask as prompt are not drawn again. PromptError if the worker that had propagated is gone.
        """
        make = partial(self._sessions.redraw, sessionKey, objects, Look(objectId, threshold, smoothingMm))
        return self._stepping(sessionKey, make, onStep, onDone, onError)

    def status(
        self, onDone: Callable[[Header], None] = nothing, onError: Callable[[MedSAM2Error], None] = nothing
    ) -> Call:
        """Ask what the worker has open, and the memory it takes."""
        return self._enqueue(Call(self, lambda: None, lambda: requests.STATUS, onDone, onError))

    def cancel(self, call: Call) -> None:
        """End a call; see `Call.cancel`."""
        if call.isFinished:
            return
        exchange = self._exchange
        if exchange is not None and exchange.call is call and exchange.opening is None and call.readStep is not None:
            if call.cancelDeadline is None and self._connection is not None:
                call.cancelDeadline = self._clock() + self._timeouts.cancel
                self._connection.send({"request": "cancel", "of": exchange.id})
            return
        self._end(call)
        call.fail(Cancelled("Canceled."))

    def pump(self, seconds: float) -> None:
        """Wait up to `seconds` for something to happen and deliver it. Raises nothing of its own."""
        if self._connection is not None:
            self._connection.pump(seconds)
        self.tick()

    def tick(self) -> None:
        """Look at the clock."""
        if self._connection is not None:
            self._connection.tick(self._exchange is not None)
        exchange = self._exchange
        deadline = None if exchange is None else exchange.call.cancelDeadline
        if self._connection is not None and deadline is not None and self._clock() > deadline:
            self._connection.lose("the model process did not stop when it was asked to")
        while self._refused:
            call, error = self._refused.pop(0)
            call.fail(error)
        self._advance()

    def stop(self) -> None:
        """Stop the worker, waiting up to `timeouts.shutdown`; calls end with Cancelled. The next call starts one."""
        connection, calls = self._connection, list(self._calls)
        self._connection = self._exchange = None
        self._calls.clear()
        self._openings.forgetWorker()
        if connection is not None:
            connection.close()
        self._showState()
        for call in calls:
            call.fail(Cancelled("The model process was stopped."))

    def greeted(self, hello: Header) -> None:
        """See `connection.Listener`."""
        self._advance()

    def framed(self, frame: Frame) -> None:
        """See `connection.Listener`."""
        exchange, event = self._exchange, frame.header.get("event")
        if exchange is None or frame.header.get("id") != exchange.id:
            return
        if event == "notice":
            self.noticed.emit(str(frame.header.get("message")))
        elif event == "step":
            self._onStep(exchange.call, frame)
        elif event == "result":
            self._onResult(exchange, frame)
        elif event == "error":
            self._onErrorAnswer(exchange.call, requests.typedError(frame.header))

    def lost(self, error: WorkerError, hadGreeted: bool) -> None:
        """See `connection.Listener`."""
        lost = self._exchange
        self._connection = self._exchange = None
        self._openings.forgetWorker()
        self._showState()
        if not hadGreeted:
            self._failAll(error)
        elif lost is not None and not lost.call.isFinished:
            self._tryAgain(lost.call, error)
        self._advance()

    def _tryAgain(self, call: Call, error: WorkerError) -> None:
        call.losses += 1
        if call.cancelDeadline is not None:
            self._end(call)
            call.fail(Cancelled("Canceled; the model process had to be stopped."))
        elif call.losses >= _TRIES:
            self._end(call)
            call.fail(WorkerError(f"{error} It was tried {_TRIES} times; see the log {self.log.path}."))
        else:
            self.restarted.emit(str(error))

    def _failAll(self, error: WorkerError) -> None:
        """No worker can be had, so no call can be answered."""
        calls = list(self._calls)
        self._calls.clear()
        for call in calls:
            call.fail(error)

    def _onStep(self, call: Call, frame: Frame) -> None:
        if call.readStep is None or call.isFinished:
            return
        step = self._read(call.readStep, frame)
        if step is not None:
            call.onStep(step)

    def _onResult(self, exchange: _Exchange, frame: Frame) -> None:
        result = self._read(exchange.request.read, frame)
        if result is None:
            return
        self._exchange = None
        if exchange.opening is not None:
            exchange.opening.done(frame.header)
        else:
            self._end(exchange.call)
            exchange.call.finish(result)
        self._advance()

    def _read(self, read: Callable[[Frame], Any], frame: Frame) -> Any:
        """Return what a message says; None if it is none, and the worker is given up."""
        try:
            return read(frame)
        except WorkerError as error:
            if self._connection is not None:
                self._connection.lose(str(error))
            return None

    def _onErrorAnswer(self, call: Call, error: MedSAM2Error) -> None:
        self._exchange = None
        self._end(call)
        call.fail(error)
        self._advance()

    def _stepping(
        self,
        sessionKey: str,
        make: Callable[[], Request],
        onStep: Callable[[Step], None],
        onDone: Callable[[Propagated], None],
        onError: Callable[[MedSAM2Error], None],
    ) -> Call:
        readStep = partial(self._sessions.readStep, sessionKey)
        return self._enqueue(Call(self, self._missing(sessionKey), make, onDone, onError, readStep, onStep))

    def _missing(self, sessionKey: str | None) -> Callable[[], Opening | None]:
        return lambda: self._openings.next(sessionKey)

    def _close(self, kind: str, key: str) -> None:
        if self._connection is not None:
            call = Call(self, lambda: self._openings.closing(kind, key), lambda: requests.STATUS, nothing, nothing)
            self._enqueue(call)

    def _enqueue(self, call: Call) -> Call:
        self._calls.append(call)
        self._advance()
        return call

    def _end(self, call: Call) -> None:
        if call in self._calls:
            self._calls.remove(call)

    def _advance(self) -> None:
        """Give the worker the next thing to do, if it is free and there is one."""
        if self._calls and self._connection is None:
            self._start()
        elif self._calls and self._exchange is None and self._connection is not None and self._connection.hasGreeted:
            self._begin(self._connection, self._calls[0])
        self._showState()

    def _begin(self, connection: Connection, call: Call) -> None:
        try:
            opening = call.next()
            request = opening.request if opening is not None else call.make()
            self._lastId += 1
            connection.send({"id": self._lastId, **request.header}, request.payloads)
            self._exchange = _Exchange(self._lastId, call, request, opening)
        except MedSAM2Error as error:  # of this side: nothing to open, or a message that is too large
            self._end(call)
            self._refused.append((call, error))
            self._advance()

    def _start(self) -> None:
        self.log.restart(self._command)
        self._connection = Connection(self._makeTransport(self.log), self._timeouts, self._clock)
        self._connection.start(self._command, self._environment, self)

    def _showState(self) -> None:
        state = State.STOPPED
        if self._connection is not None:
            state = State.WORKING if self._exchange is not None else State.READY
            state = state if self._connection.hasGreeted else State.STARTING
        if state is not self._state:
            self._state = state
            self.stateChanged.emit(state)
