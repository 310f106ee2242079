"""A lock between processes that the operating system frees when its holder ends, however it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def try_lock_file(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def try_lock_file(file: IO[bytes]) -> bool:
        """Hold an open file until it is closed; False where another holder has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock file at `path` for the statements inside; the value is False where another holder has it.

    The empty file stays behind: deleting it would let two processes lock two files of the same name.

    Raises:
        OSError: the file cannot be created, or its disk knows no locks.
    """
    with path.open("wb") as file:
        held = try_lock_file(file)
        try:
            yield held
        finally:
            if held:
                _unlock(file)
