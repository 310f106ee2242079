"""The worker process: one request after another, each answered with events, until the client says bye or goes away."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from medsam2_core.errors import MedSAM2Error, WorkerError
from medsam2_core.version import package_version
from medsam2_core.worker import fields
from medsam2_core.worker.handler import RequestHandler
from medsam2_core.worker.interfaces import Backend
from medsam2_core.worker.streams import Disconnected, Inbox, Outbox, claim_standard_streams
from medsam2_core.worker.wire import PROTOCOL, Buffer, Frame, Header
from medsam2_core.worker.workspace import Workspace

_HEARTBEAT_SECONDS = 2.0


def serve(make_backend: Callable[[], Backend]) -> int:
    """Speak the protocol on stdin and stdout until the client ends it; the exit code.

    `make_backend` is called after the greeting, since importing torch takes a second or more. Raises WorkerError if
    the client sends what is not a request. SIGTERM ends the process with code 0, as the client does by going away.
    """
    incoming, outgoing = claim_standard_streams()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches the client's children too
    inbox = Inbox(incoming)
    server = Server(inbox, Outbox(outgoing))
    try:
        server.greet()
        inbox.start()
        server.run(make_backend)
    except Disconnected as error:
        _log(f"medsam2 worker: The client went away ({error}).\n")
    return 0


class Server:
    """Takes requests from an inbox and puts their answers into an outbox."""

    def __init__(self, inbox: Inbox, outbox: Outbox) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._current: int | None = None  # id of the request at work
        self._requests: RequestHandler | None = None

    def greet(self) -> None:
        """Say which protocol this is."""
        self._outbox.send(
            {
                "event": "hello",
                "protocol": PROTOCOL,
                "version": package_version(),
                "python": platform.python_version(),
                "pid": os.getpid(),
            }
        )

    def run(self, make_backend: Callable[[], Backend]) -> None:
        """Answer requests until there are no more. Raises Disconnected if nobody reads the answers."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        for frame in self._inbox.requests():
            self._current = fields.whole(frame.header, "id")
            self._answer(self._current, frame, make_backend)
            self._current = None
            self._inbox.forget(fields.whole(frame.header, "id"))

    def _answer(self, request_id: int, frame: Frame, make_backend: Callable[[], Backend]) -> None:
        def send(event: str, header: Header, payloads: Sequence[Buffer] = ()) -> None:
            self._outbox.send({"id": request_id, "event": event, **header}, payloads)

        try:
            if self._requests is None:
                self._requests = RequestHandler(Workspace(make_backend()))
            result, payloads = self._requests.handle(frame, self._inbox.token(request_id), send)
            send("result", result, payloads)
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001 (the outermost edge: what fails here is the client's to know)
            send("error", _described(error))

    def _beat(self) -> None:
        """Show every few seconds that a long request is still being worked on."""
        rest = threading.Event()
        while not rest.wait(_HEARTBEAT_SECONDS):
            request_id = self._current
            if request_id is not None:
                try:
                    self._outbox.send({"id": request_id, "event": "progress"})
                except Disconnected:
                    return  # the main thread notices too


def _described(error: Exception) -> Header:
    """The error as the client sees it; an unexpected one is logged in full."""
    if isinstance(error, MedSAM2Error):
        return {"error": type(error).__name__, "message": str(error)}
    _log("".join(traceback.format_exception(error)))
    text = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return {"error": WorkerError.__name__, "message": f"The worker failed ({text}): see its log."}


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _log(text: str) -> None:
    with suppress(OSError):  # a full disk, or nobody reads it
        sys.stderr.write(text)
