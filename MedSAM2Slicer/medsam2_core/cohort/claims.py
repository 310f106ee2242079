"""Claims: which process runs which case, kept as files, so that processes on any machines can share a cohort.

A claim on a case is a file NAME.N that is created by one process alone, with N one higher than any before. Its holder
keeps it locked and touches it every few seconds. A claim whose holder is gone is taken over by creating the next one:
nothing is deleted for that, so that two cannot do it, and one who was only slow finds out by the higher number.

On the same machine a lock tells at once that its holder is gone. Other machines may share no locks, so there a claim
lapses when it was not touched for `LEASE_SECONDS`, by the clock of the one who looks.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from medsam2_core.files.lock import try_lock_file

LEASE_SECONDS = 120.0
TOUCH_SECONDS = 15.0
_DRAFT = ".draft-"


@dataclass
class Claim:
    """A claim of this process on a case."""

    name: str
    number: int
    path: Path
    file: IO[bytes]

    def touch(self) -> None:
        """Say that its holder lives."""
        with suppress(OSError):
            os.utime(self.path)

    def is_last(self) -> bool:
        """Whether nobody has taken it over."""
        return self.path.exists() and not self.path.with_name(f"{self.name}.{self.number + 1}").exists()

    def release(self) -> None:
        """Remove it and those that it took over."""
        for number in range(1, self.number + 1):
            self.path.with_name(f"{self.name}.{number}").unlink(missing_ok=True)
        self.file.close()


@dataclass
class Claims:
    """The claims on the cases of a cohort, in `folder`, as a process on `host` sees them."""

    folder: Path
    host: str = field(default_factory=socket.gethostname)
    lease: float = LEASE_SECONDS
    _watched: dict[Path, tuple[int, float]] = field(default_factory=dict)  # last touch, and when that was seen

    def take(self, name: str) -> Claim | None:
        """Claim a case; None if another process, which may be alive, has it. Raises OSError."""
        last = self._last(name)
        if last and not self._is_over(self.folder / f"{name}.{last}"):
            return None
        number = last + 1
        path, draft = self.folder / f"{name}.{number}", self.folder / f"{_DRAFT}{uuid.uuid4().hex}"
        self.folder.mkdir(parents=True, exist_ok=True)  # whoever was done first may have tidied up
        file = draft.open("w+b")
        try:
            with suppress(OSError):  # a disk without locks: the lease has to do
                try_lock_file(file)
            file.write(json.dumps({"host": self.host, "pid": os.getpid()}).encode())
            file.flush()
            os.link(draft, path)  # refuses a name that is taken, and the file is whole and locked from the first moment
        except FileExistsError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        finally:
            draft.unlink(missing_ok=True)
        return Claim(name, number, path, file)

    def is_held(self, name: str) -> bool:
        """Whether a process that may be alive has a case."""
        last = self._last(name)
        return bool(last) and not self._is_over(self.folder / f"{name}.{last}")

    def held_by(self, pid: int) -> list[str]:
        """The cases that a process of this machine had when it ended."""
        found = (path for path in self.folder.glob("*") if not path.name.startswith(_DRAFT))
        return sorted({path.name.rpartition(".")[0] for path in found if self._holder(path) == (self.host, pid)})

    def remove_abandoned(self, name: str) -> None:
        """Remove the claims on a case that nobody needs to run any more, unless their holder may be alive."""
        for number in range(self._last(name), 0, -1):
            path = self.folder / f"{name}.{number}"
            if self._is_over(path):
                path.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The cases that are claimed, by the living or the dead."""
        found = (path.name for path in self.folder.glob("*.*"))
        return sorted({name.rpartition(".")[0] for name in found if not name.startswith(_DRAFT)})

    def remove_drafts(self) -> None:
        """Remove what a process that was killed while it made a claim left."""
        for path in self.folder.glob(f"{_DRAFT}*"):
            if self._is_free(path):
                path.unlink(missing_ok=True)

    def _last(self, name: str) -> int:
        """The highest number of a claim on a case; 0 if there is none."""
        numbers = (path.name[len(name) + 1 :] for path in self.folder.glob(f"{_escaped(name)}.*"))
        return max((int(text) for text in numbers if text.isdecimal()), default=0)

    def _is_over(self, path: Path) -> bool:
        """Whether the holder of a claim is gone."""
        holder = self._holder(path)
        if holder is None:  # removed just now: for whoever looks again
            return False
        return self._is_free(path) and (holder[0] == self.host or self._has_lapsed(path))

    def _holder(self, path: Path) -> tuple[str, int] | None:
        try:
            said = json.loads(path.read_bytes())
            return str(said["host"]), int(said["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def _is_free(path: Path) -> bool:
        """Whether nobody holds the lock, or the disk knows none."""
        try:
            with path.open("r+b") as file:
                return try_lock_file(file)
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _has_lapsed(self, path: Path) -> bool:
        try:
            touched = path.stat().st_mtime_ns
        except OSError:
            return False
        before, since = self._watched.get(path, (0, 0.0))
        if touched != before:
            self._watched[path] = (touched, time.monotonic())
            return False
        return time.monotonic() - since > self.lease


def _escaped(name: str) -> str:
    """A name as a pattern that only it fits."""
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in name)
