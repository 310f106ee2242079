"""What the worker says on stderr: in a file that can be opened, and its last line in error messages."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_MAX_BYTES = 1 << 20
_TAIL_BYTES = 4096


class WorkerLog:
    """Appends to a file that only the user may read. A full disk or a missing folder loses the log and nothing else.

    At 1 MiB the file is set aside as `NAME.old`, in place of an earlier one. Any thread may use it, as the one
    does that reads what children of a lost worker still say.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None
        """Why nothing is written any more."""
        self._tail = b""
        self._descriptor: int | None = None
        self._size = 0
        self._lock = threading.Lock()

    @property
    def lastLine(self) -> str:
        """The last line with text since `restart`, at most 300 characters; "" if there is none."""
        lines = self._tail.decode("utf-8", errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    @property
    def advice(self) -> str:
        """What to do about a worker that cannot be had, one sentence."""
        return f"Try again, or see the log {self.path}." if self.problem is None else f"Try again; {self.problem}"

    def restart(self, command: Sequence[str]) -> None:
        """Start over with another worker, whose command the file tells: there is a log even if it never says a word."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shlex.join(command)}\n"
        self.write(line.encode(errors="backslashreplace"))  # a path on Linux need not be text
        self._tail = b""

    def write(self, data: bytes) -> None:
        """Append; never raises."""
        with self._lock:
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            if self.problem is None:
                try:
                    self._append(data)
                except OSError as error:
                    self.problem = f"{self.path} cannot be written ({error.strerror or error})."
                    self._close()

    def close(self) -> None:
        """Close the file; the next `write` opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _append(self, data: bytes) -> None:
        descriptor = self._open() if self._descriptor is None else self._descriptor
        if self._size and self._size + len(data) > _MAX_BYTES:
            self._close()
            self.path.replace(f"{self.path}.old")
            descriptor = self._open()
        self._size += os.write(descriptor, data)

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        return self._descriptor
