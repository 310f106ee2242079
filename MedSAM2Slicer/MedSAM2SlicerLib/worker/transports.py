"""A process and the bytes to and from it, behind one small interface: with threads here, with Qt in `ui.qprocess`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any, Protocol

from medsam2_core.worker.wire import Buffer
from MedSAM2SlicerLib.worker.workerlog import WorkerLog

_READ_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20  # as many as a slab of a volume; copying them takes 0.2 ms
_KILLED = -9  # by a person, or by the system for lack of memory
_NO_MEMORY = "If memory ran out, close other programs or choose a smaller model"
_EXIT_SECONDS = 2.0  # for a process that has closed its stdout, before it is killed


class Growing(Protocol):
    """Bytes that are made piece by piece while they are sent; a piece may be empty."""

    @property
    def nbytes(self) -> int: ...

    def pieces(self) -> Iterator[Buffer]: ...


Payload = Buffer | Growing


def sizeOf(payload: Payload) -> int:
    """Return how many bytes a payload has."""
    return len(payload) if isinstance(payload, bytes | bytearray) else payload.nbytes


def piecesOf(payloads: Sequence[Payload]) -> Iterator[memoryview]:
    """Give the bytes of payloads in pieces small enough for an event loop."""
    for payload in payloads:
        for piece in payload.pieces() if hasattr(payload, "pieces") else [payload]:
            rest = memoryview(piece).cast("B")
            yield from (rest[start : start + _PIECE_BYTES] for start in range(0, max(1, len(rest)), _PIECE_BYTES))


class Transport(Protocol):
    """One run of one program. Set `received` and `ended` before `start`.

    Both are called on the thread that uses the transport, from `pump` or from its event loop, never from within
    another method. `ended` says why the process is gone or never was; it is called once, and nothing after it.
    """

    received: Callable[[bytes], None]
    ended: Callable[[str], None]

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a program with arguments, no shell; None is this process's environment. `ended` reports failure."""

    def write(self, payloads: Sequence[Payload]) -> None:
        """Send bytes, in order, without waiting; they are lost if the process is gone.

        If they cannot be made the process is as good as gone, since it waits for the rest of a message.
        """

    def kill(self, grace: float = 0.0) -> None:
        """End the process unless it ends by itself within `grace` seconds.

        Neither `received` nor `ended` is called any more, and no event loop runs meanwhile: Slicer may be closing.
        """

    def pump(self, seconds: float) -> None:
        """Deliver what has come; if nothing has, wait for it up to `seconds`."""


def nothing(_value: object) -> None:
    """Do nothing: what a transport calls until it is told what to call."""


def startFailure(program: str, reason: object) -> str:
    """Say that a program could not be started."""
    return f'"{program}" cannot be started ({reason}): check the worker\'s command'


def sendFailure(error: Exception) -> str:
    """Say that the bytes of a message could not be made."""
    reason = ": ".join(filter(None, (type(error).__name__, str(error))))
    return f"what the model process needs could not be sent ({reason})"


def exitText(code: int, log: WorkerLog) -> str:
    """Say how a process ended: its exit code, negative for a signal, and the last it wrote on stderr."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    text = f"the model process {how}" + (f": {log.lastLine}" if log.lastLine else "")
    return f"{text.rstrip('.')}. {_NO_MEMORY}" if code == _KILLED else text


class SubprocessTransport:
    """`Transport` with threads for each pipe, for use without Qt. stderr goes to `log`."""

    def __init__(self, log: WorkerLog) -> None:
        self.received: Callable[[bytes], None] = nothing
        self.ended: Callable[[str], None] = nothing
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self._outgoing: SimpleQueue[Sequence[Payload] | None] = SimpleQueue()
        self._incoming: SimpleQueue[bytes | str] = SimpleQueue()  # bytes received, or why it ended
        self._over = False

    @property
    def running(self) -> bool:
        return self._process is not None and not self._over

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        try:
            self._process = subprocess.Popen(
                list(command),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                # A session of its own: Ctrl+C in a terminal does not reach it, `kill` reaches its children too, and
                # ssh fails at once where it would ask for a password that nobody sees.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError, IndexError) as error:  # the latter two: an empty command, a null character
            program = command[0] if command else ""
            self._incoming.put(startFailure(program, getattr(error, "strerror", None) or error))
            return
        self._run(self._write, self._process.stdin)
        logger = self._run(self._copyToLog, self._process.stderr)
        self._run(self._read, self._process, logger)

    def write(self, payloads: Sequence[Payload]) -> None:
        self._outgoing.put(payloads)

    def kill(self, grace: float = 0.0) -> None:
        self._over = True
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        _killWithChildren(self._process)
        self._outgoing.put(None)
        for thread in self._threads:
            thread.join(_EXIT_SECONDS)  # a child that left the process group may hold a pipe open
        self._log.close()

    def pump(self, seconds: float) -> None:
        try:
            self._deliver(self._incoming.get(timeout=seconds))
            while True:
                self._deliver(self._incoming.get_nowait())
        except Empty:
            return

    def _deliver(self, what: bytes | str) -> None:
        if self._over:
            return
        if isinstance(what, bytes):
            self.received(what)
            return
        self.kill()
        self.ended(what)

    def _run(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _write(self, pipe: IO[bytes]) -> None:
        try:
            with pipe:
                while (payloads := self._outgoing.get()) is not None:
                    for piece in piecesOf(payloads):
                        _writeAll(pipe.fileno(), piece)
        except OSError:
            return  # the process is gone; the reader finds out why
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody else could tell of it)
            self._incoming.put(sendFailure(error))

    def _copyToLog(self, pipe: IO[bytes]) -> None:
        with pipe:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                self._log.write(data)

    def _read(self, process: subprocess.Popen[bytes], logger: threading.Thread) -> None:
        pipe: Any = process.stdout
        with pipe:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                self._incoming.put(data)
        try:
            code = process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._incoming.put("the model process closed its output")
            return
        logger.join(_EXIT_SECONDS)  # its last words say why
        self._incoming.put(exitText(code, self._log))


def _writeAll(descriptor: int, rest: memoryview) -> None:
    while len(rest):
        rest = rest[os.write(descriptor, rest) :]


def _killWithChildren(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
