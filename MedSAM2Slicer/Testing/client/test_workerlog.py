"""The worker's log: one file for several threads, and for commands of any bytes."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from MedSAM2SlicerLib.worker import workerlog
from MedSAM2SlicerLib.worker.workerlog import WorkerLog


class Slow:
    """The module `os`, but for a `write` in the middle of which another thread closes the log."""

    def __init__(self, log: WorkerLog) -> None:
        self.closing = threading.Thread(target=log.close)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        self.closing.start()
        self.closing.join(0.2)
        return os.write(descriptor, data)


def test_it_is_not_closed_while_a_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor may be another file's by the time it is written to."""
    log = WorkerLog(tmp_path / "worker.log")
    slow = Slow(log)
    with monkeypatch.context() as patched:
        patched.setattr(workerlog, "os", slow)
        log.write(b"one\n")
        slow.closing.join()
    log.write(b"two\n")
    log.close()
    assert log.problem is None
    assert log.path.read_bytes() == b"one\ntwo\n"


def test_a_command_that_is_no_text_is_told(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "worker.log")
    log.restart(["/opt/caf\udce9/python"])
    log.close()
    assert log.path.read_text().endswith("'/opt/caf\\udce9/python'\n")
    assert log.lastLine == ""
