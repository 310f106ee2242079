"""The worker's ends of the pipe: frames out from any thread, frames in through a thread of their own."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

from medsam2_core.errors import WorkerError
from medsam2_core.stopping import CancelToken
from medsam2_core.worker import fields
from medsam2_core.worker.wire import Buffer, Decoder, Frame, Header, encode

_READ_BYTES = 1 << 20


def claim_standard_streams() -> tuple[int, int]:
    """Descriptors of the real stdin and stdout, for frames only.

    Whatever else reads or prints in this process, a library or a child process too, then finds an empty stdin, and a
    stdout that is stderr.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        import msvcrt

        for descriptor in (incoming, outgoing):
            msvcrt.setmode(descriptor, os.O_BINARY)
    return incoming, outgoing


class Disconnected(Exception):  # noqa: N818 (an end, not a failure)
    """Nobody reads what the worker writes."""


class Outbox:
    """Writes frames to a descriptor, whole ones, whichever thread sends them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, header: Header, payloads: Sequence[Buffer] = ()) -> None:
        """Write a frame; waits until it is written. Raises Disconnected if the other side is gone."""
        buffers = encode(header, payloads)
        with self._lock:
            for buffer in buffers:
                self._write(memoryview(buffer))

    def _write(self, rest: memoryview) -> None:
        try:
            while len(rest):
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise Disconnected(str(error)) from error


class Inbox:
    """Requests in the order they came. A thread reads them, so "cancel" and "bye" act while another is worked on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: SimpleQueue[Frame | None] = SimpleQueue()
        self._tokens: dict[int, CancelToken] = {}  # of requests not yet ended; each use is one atomic operation
        self._closed = False
        self._problem: WorkerError | None = None

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="reader", daemon=True).start()

    def requests(self) -> Iterator[Frame]:
        """Requests until the other side says bye or goes away. Raises WorkerError if it sent what is not a frame."""
        while (frame := self._queue.get()) is not None and not self._closed:
            yield frame
        if self._problem is not None:
            raise self._problem

    def token(self, request_id: int) -> CancelToken:
        """What cancels this request."""
        return self._tokens.setdefault(request_id, CancelToken())

    def forget(self, request_id: int) -> None:
        """Take note that a request has ended."""
        self._tokens.pop(request_id, None)

    def _read(self) -> None:
        decoder = Decoder()
        try:
            while data := os.read(self._descriptor, _READ_BYTES):
                for frame in decoder.feed(data):
                    self._accept(frame)
        except WorkerError as error:
            self._problem = error
        except MemoryError:
            self._problem = WorkerError("The worker has no memory left to receive data: use a smaller volume.")
        except OSError as error:
            self._problem = WorkerError(f"The worker cannot read requests ({error}).")
        self._close()

    def _accept(self, frame: Frame) -> None:
        kind = frame.header.get("request")
        if kind == "cancel":
            token = self._tokens.get(fields.whole(frame.header, "of"))
            if token is not None:
                token.cancel(keep="keep" in frame.header and fields.flag(frame.header, "keep"))
        elif kind == "bye":
            self._close()
        else:
            self.token(fields.whole(frame.header, "id"))
            self._queue.put(frame)

    def _close(self) -> None:
        self._closed = True
        for token in list(self._tokens.values()):
            token.cancel()
        self._queue.put(None)
