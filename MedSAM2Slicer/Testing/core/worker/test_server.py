"""The worker's loop, in this process: requests in a pipe, answers out of another."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from typing import NoReturn

import pytest

from medsam2_core.worker.interfaces import Backend
from medsam2_core.worker.server import Server
from medsam2_core.worker.streams import Inbox, Outbox
from medsam2_core.worker.wire import Decoder, Header, encode


def answers(requests: list[Header]) -> list[Header]:
    """What a worker says to requests, one after another, if its backend cannot even be made."""

    def make_backend() -> Backend:
        raise ZeroDivisionError("nobody expected this")

    def ask() -> None:
        decoder = Decoder()
        for request in requests:
            os.write(asks, b"".join(encode(request)))
            found.extend(frame.header for frame in decoder.feed(os.read(hears, 1 << 16)))
        os.close(asks)

    found: list[Header] = []
    (incoming, asks), (hears, outgoing) = os.pipe(), os.pipe()
    client = threading.Thread(target=ask)
    client.start()
    inbox = Inbox(incoming)
    inbox.start()
    try:
        Server(inbox, Outbox(outgoing)).run(make_backend)
    finally:
        os.close(outgoing)
        client.join()
        os.close(hears)
        os.close(incoming)
    return found


class FullDisk(io.StringIO):
    def write(self, _text: str) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_under_its_log_costs_the_log_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", FullDisk())
        found = answers([{"id": number, "request": "status"} for number in (1, 2)])
    assert [(one["id"], one["event"], one["error"]) for one in found] == [(n, "error", "WorkerError") for n in (1, 2)]
    assert "nobody expected this" in found[0]["message"]
