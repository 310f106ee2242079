"""The worker's process as a `qt.QProcess`: Python threads hardly run while Slicer waits for events, Qt's own do."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import qt

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.worker.transports import Payload, exitText, nothing, piecesOf, sendFailure, startFailure
from MedSAM2SlicerLib.worker.workerlog import WorkerLog

_TURN_SECONDS = 0.02  # between two looks at the application's events
_KILL_MILLISECONDS = 2000
_AHEAD_BYTES = 4 << 20  # that Qt keeps for the process
_SEND_SECONDS = 0.01  # of this thread at a time


class QProcessTransport:
    """`transports.Transport` in Qt's event loop. stderr goes to `log`."""

    def __init__(self, log: WorkerLog) -> None:
        self.received: Callable[[bytes], None] = nothing
        self.ended: Callable[[str], None] = nothing
        self._log = log
        self._program = ""
        self._over = False
        self._deliveries = 0
        self._outgoing: deque[Iterator[memoryview]] = deque()
        self._waitsToSend = self._isFull = False
        self._process = qt.QProcess()
        self._process.connect("readyReadStandardOutput()", guarded(self._readOutput))
        self._process.connect("readyReadStandardError()", guarded(self._readErrors))
        self._process.connect("bytesWritten(qint64)", guarded(self._onWritten))
        self._process.connect("finished(int,QProcess::ExitStatus)", guarded(self._onFinished))
        self._process.connect("errorOccurred(QProcess::ProcessError)", guarded(self._onError))

    @property
    def running(self) -> bool:
        return not self._over and self._process.state() != qt.QProcess.NotRunning

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._program, *arguments = command or [""]
        if environment is not None:
            variables = qt.QProcessEnvironment()
            for name, value in environment.items():
                variables.insert(name, value)
            self._process.setProcessEnvironment(variables)
        self._process.start(self._program, arguments)

    def write(self, payloads: Sequence[Payload]) -> None:
        if self.running:
            self._outgoing.append(piecesOf(payloads))
            if not self._waitsToSend:
                self._send()

    def kill(self, grace: float = 0.0) -> None:
        self._over = True
        grace = 0.0 if self._outgoing else grace  # with half a message it cannot end by itself
        self._outgoing.clear()
        if grace and self._process.state() != qt.QProcess.NotRunning:
            self._process.waitForFinished(round(grace * 1000))
        if self._process.state() != qt.QProcess.NotRunning:
            self._process.kill()
            self._process.waitForFinished(_KILL_MILLISECONDS)
        self._log.close()

    def pump(self, seconds: float) -> None:
        deadline, before = time.monotonic() + seconds, self._deliveries
        while True:
            qt.QCoreApplication.processEvents()
            left = deadline - time.monotonic()
            if self._deliveries != before or left <= 0 or self._over:
                return
            turn = min(left, 0.0 if self._waitsToSend else _TURN_SECONDS)
            if not self.running:  # there is nothing to wait for but the event that says so
                time.sleep(turn)
            else:
                self._process.waitForReadyRead(max(1, round(turn * 1000)))

    def _send(self) -> None:
        """Make and send for a short time, no more than the process takes, and come again for the rest."""
        end = time.thread_time() + _SEND_SECONDS
        while self._outgoing and time.thread_time() < end and self._process.bytesToWrite() < _AHEAD_BYTES:
            piece = self._nextPiece()
            if piece is not None:
                self._process.write(bytes(piece))
        self._waitsToSend, self._isFull = bool(self._outgoing), self._process.bytesToWrite() >= _AHEAD_BYTES
        if self._waitsToSend and not self._isFull:
            qt.QTimer.singleShot(0, guarded(self._send))

    def _nextPiece(self) -> memoryview | None:
        """Make the next piece; None if a message ended, or nothing can be sent any more."""
        try:
            piece = next(self._outgoing[0], None)
        except Exception as error:  # noqa: BLE001 (whatever it is, half a message was sent)
            self._outgoing.clear()
            self._endLater(sendFailure(error))
            return None
        if piece is None:
            self._outgoing.popleft()
        return piece

    def _onWritten(self, _count: int) -> None:
        """Go on where Qt had enough."""
        if self._isFull and self._process.bytesToWrite() < _AHEAD_BYTES:
            self._send()

    def _readOutput(self) -> None:
        data = self._process.readAllStandardOutput().data()
        if data and not self._over:
            self._deliveries += 1
            self.received(data)

    def _readErrors(self) -> None:
        data = self._process.readAllStandardError().data()
        if data:
            self._log.write(data)

    def _onFinished(self, code: int, status: int) -> None:
        self._readOutput()
        self._readErrors()
        crashed = status == qt.QProcess.CrashExit
        self._end(exitText(-code if crashed else code, self._log))

    def _onError(self, error: int) -> None:
        # Anything else is followed by `finished`. Later, since some systems tell it while `start` is still running.
        if error == qt.QProcess.FailedToStart:
            self._endLater(startFailure(self._program, self._process.errorString()))

    def _endLater(self, text: str) -> None:
        qt.QTimer.singleShot(0, guarded(lambda: self._end(text)))

    def _end(self, text: str) -> None:
        if not self._over:
            self._over = True
            self._deliveries += 1
            self._log.close()
            self.ended(text)
