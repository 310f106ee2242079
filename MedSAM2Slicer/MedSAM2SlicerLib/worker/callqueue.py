"""One worker process and the calls that wait for it: started for the first, started again when it dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from medsam2_core.errors import Cancelled, MedSAM2Error, WorkerError
from medsam2_core.worker.wire import Frame, Header
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.worker import requests
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.connection import Connection, Timeouts
from MedSAM2SlicerLib.worker.opening import Opening
from MedSAM2SlicerLib.worker.requests import Request
from MedSAM2SlicerLib.worker.transports import Transport
from MedSAM2SlicerLib.worker.workerlog import WorkerLog

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


class CallQueue:
    """Gives the worker one request at a time, of the call that has waited longest; see `client.WorkerClient`.

    `forgetWorker` is called when a worker is gone, with all that it had open.
    """

    def __init__(
        self,
        transportFactory: Callable[[WorkerLog], Transport],
        command: Sequence[str],
        log: WorkerLog,
        environment: Mapping[str, str] | None,
        timeouts: Timeouts,
        clock: Callable[[], float],
        forgetWorker: Callable[[], None],
    ) -> None:
        self.stateChanged, self.restarted, self.noticed = Signal(), Signal(), Signal()
        self._makeTransport, self._command, self._environment = transportFactory, list(command), environment
        self._log, self._timeouts, self._clock, self._forgetWorker = log, timeouts, clock, forgetWorker
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
    def hasWorker(self) -> bool:
        """Whether a worker was started."""
        return self._connection is not None

    def setCommand(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start workers with another command from now on; one that runs is stopped if the command differs."""
        if (list(command), environment) != (self._command, self._environment):
            self.stop()
            self._command, self._environment = list(command), environment

    def add(self, call: Call) -> None:
        """Let a call wait for its turn."""
        self._calls.append(call)
        self._advance()

    def cancel(self, call: Call, keep: bool = False) -> None:
        """End a call; see `Call.cancel`."""
        if call.isFinished:
            return
        exchange = self._exchange
        if exchange is not None and exchange.call is call and exchange.opening is None and call.readStep is not None:
            if call.cancelDeadline is None and self._connection is not None:
                call.cancelDeadline = self._clock() + self._timeouts.cancel
                self._connection.send({"request": "cancel", "of": exchange.id, "keep": keep})
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
        self._forgetWorker()
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
        self._forgetWorker()
        self._showState()
        if not hadGreeted:
            self._failAll(WorkerError(f"{error} {self._log.advice}"))
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
            call.fail(WorkerError(f"{error} It was tried {_TRIES} times. {self._log.advice}"))
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
        self._log.restart(self._command)
        self._connection = Connection(self._makeTransport(self._log), self._timeouts, self._clock)
        self._connection.start(self._command, self._environment, self)

    def _showState(self) -> None:
        state = State.STOPPED
        if self._connection is not None:
            state = State.WORKING if self._exchange is not None else State.READY
            state = state if self._connection.hasGreeted else State.STARTING
        if state is not self._state:
            self._state = state
            self.stateChanged.emit(state)
