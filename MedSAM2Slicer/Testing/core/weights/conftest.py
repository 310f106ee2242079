"""A real web server on this machine that misbehaves on request, and a catalog that points to it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medsam2_core.weights.catalog import ModelEntry
from medsam2_core.weights.download import Patience, RemoteFile
from medsam2_core.weights.store import WeightsStore

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(stall_seconds=1.0, tries=3, pause_seconds=0.01)


@dataclass
class FileServer:
    """What the server sends, how it misbehaves and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    break_after: int | None = None  # bytes per connection
    stall_after: int | None = None
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    declared_length: int | None = None
    declare_length: bool = True
    content_range: str | None = None
    release_stall: threading.Event = field(default_factory=threading.Event)
    requested: list[str | None] = field(default_factory=list)  # the Range header of each request


class _Handler(BaseHTTPRequestHandler):
    state: FileServer

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self._answer(302, Location=self.state.url)
            return
        self.state.requested.append(self.headers.get("Range"))
        if self.state.statuses:
            self._answer(self.state.statuses.pop(0))
            return
        self._send_file()

    def _send_file(self) -> None:
        size = len(self.state.content)
        start = self._start() if self.state.ranges else 0
        if start >= size:
            self._answer(416)
            return
        headers = {}
        if self.state.declare_length:
            headers["Content-Length"] = str(self.state.declared_length or size - start)
        if start:
            headers["Content-Range"] = self.state.content_range or f"bytes {start}-{size - 1}/{size}"
        self._answer(206 if start else 200, **headers)
        self._send_body(self.state.content[start:])

    def _send_body(self, body: bytes) -> None:
        limits = [limit for limit in (self.state.break_after, self.state.stall_after) if limit is not None]
        try:
            self.wfile.write(body[: min([*limits, len(body)])])
        except ConnectionError:
            return  # the client stopped reading
        if self.state.stall_after is not None:
            self.wfile.flush()
            self.state.release_stall.wait(5)

    def _start(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = FileServer()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        state.url = f"http://127.0.0.1:{http.server_port}/file.pt"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        state.release_stall.set()
        http.shutdown()
        thread.join()


@pytest.fixture
def source(server: FileServer) -> RemoteFile:
    return RemoteFile("toy", server.url, SHA256, len(CONTENT))


@pytest.fixture
def make_entry(server: FileServer) -> Callable[..., ModelEntry]:
    def make(name: str = "toy", **changes: object) -> ModelEntry:
        values: dict[str, object] = {
            "name": name,
            "title": f"The {name} model",
            "url": server.url,
            "homepage": None,
            "file": f"{name}.pt",
            "size_bytes": len(CONTENT),
            "sha256": SHA256,
            "license": "Apache-2.0",
            "license_text": "Free for any use.",
            "permissive": True,
            "intended_use": "Tests.",
            "config": "starter",
            "image_size": 64,
        }
        return ModelEntry(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., WeightsStore]:
    bundled = tmp_path / "bundled"
    bundled.mkdir()

    def make(*entries: ModelEntry, folder: Path | None = None) -> WeightsStore:
        catalog = {entry.name: entry for entry in entries}
        return WeightsStore(folder or tmp_path / "store", catalog, bundled_folder=bundled, patience=QUICK)

    return make


class CancelAfter:
    """A token that asks to stop at the `count`-th time it is asked."""

    def __init__(self, count: int) -> None:
        self._left = count

    @property
    def cancelled(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.fixture
def cancel_after() -> type[CancelAfter]:
    return CancelAfter


@pytest.fixture
def content() -> bytes:
    return CONTENT


@pytest.fixture
def quick() -> Patience:
    return QUICK
