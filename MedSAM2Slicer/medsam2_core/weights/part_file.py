"""A file that is still being written: its bytes, their running checksum, and disk trouble in plain words."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from medsam2_core.errors import WeightsError

_BLOCK_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class PartFile:
    """The growing file at `path`, opened with what an earlier try left there; use it in a `with` statement.

    `label` names the model in messages. Disk trouble is raised as `WeightsError`.
    """

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        self._label = label
        self._hash = hashlib.sha256()
        with self._disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self.size = path.stat().st_size

    def __enter__(self) -> PartFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._disk_errors():
            self._file.close()

    @property
    def sha256(self) -> str:
        """Checksum of the bytes read back and appended so far, as hexadecimal digits."""
        return self._hash.hexdigest()

    def read_back(self, before_each_block: Callable[[], None]) -> None:
        """Take the bytes an earlier try left into the checksum; call this before the first `append`."""
        with self._disk_errors():
            self._file.seek(0)
        left = self.size
        while left > 0:
            before_each_block()
            with self._disk_errors():
                block = self._file.read(min(left, _BLOCK_BYTES))
            if not block:
                raise WeightsError(f"{self._label} changed while it was read from {self.path}: try again.")
            self._hash.update(block)
            left -= len(block)

    def append(self, block: bytes) -> None:
        """Add `block` at the end."""
        with self._disk_errors():
            self._file.write(block)
        self._hash.update(block)
        self.size += len(block)

    def restart(self) -> None:
        """Drop all bytes."""
        with self._disk_errors():
            self._file.truncate(0)
        self._hash = hashlib.sha256()
        self.size = 0

    def require_space(self, total: int) -> None:
        """Raise WeightsError unless the disk has room to grow to `total` bytes."""
        with self._disk_errors():
            free = shutil.disk_usage(self.path.parent).free
        needed = total - self.size
        if needed > free:
            raise WeightsError(
                f"{self._label} needs {needed / 1e6:.0f} MB more and the disk of {self.path.parent} has "
                f"{free / 1e6:.0f} MB free: free some space or set MEDSAM2_HOME to a folder on another disk."
            )

    def discard(self) -> None:
        """Close and delete the file."""
        with self._disk_errors():
            self._file.close()
            self.path.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Close the file and give it its final name in one step, once its bytes are safely on the disk."""
        with self._disk_errors():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.path.replace(target)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        with disk_errors(self._label, self.path.parent):
            yield


@contextmanager
def disk_errors(label: str, folder: Path) -> Iterator[None]:
    """Turn an OSError of the statements inside into a WeightsError about the model `label` and the `folder`."""
    try:
        yield
    except OSError as error:
        raise WeightsError(_sentence(label, folder, error)) from error


def _sentence(label: str, folder: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return (
            f"{label} does not fit on the disk of {folder}: free some space or set MEDSAM2_HOME to a folder on "
            "another disk, then try again."
        )
    return (
        f"{label} cannot be stored in {folder} ({error.strerror or error}): make that folder writable or set "
        "MEDSAM2_HOME to another one."
    )
