"""Drafts: a file is written beside its place, and put there in one step when it is complete.

A draft is locked while its process lives, so what a killed one left behind is known and removed by the next.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from medsam2_core.errors import VolumeError
from medsam2_core.files.links import real_path
from medsam2_core.files.lock import try_lock_file

_PREFIX = ".medsam2-"
_PAGE = b"\0" * (1 << 20)


class Draft:
    """A new file for `target`, whose folder must exist: written through `file`, kept by `keep`, else removed.

    `reserve` bytes of the disk are taken at once, so that there is room in the end. Raises VolumeError, in a sentence
    that says what to do, if the folder cannot be written or has no room, or `target` is a folder, a pipe, a device or a
    link in a circle.
    """

    def __init__(self, target: Path, reserve: int = 0) -> None:
        self._shown = target
        self._target = real_path(target)  # a link stays a link; what it points to is replaced
        self.file, self._path = self._made()
        try:
            reserve_space(self.file, reserve)
        except OSError as error:
            self.discard()
            raise self.refusal(error) from error
        except BaseException:
            self.discard()
            raise

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.discard()

    def keep(self) -> None:
        """Put what was written in the target's place. Raises OSError; the target is as it was then."""
        self.file.truncate()
        self.file.flush()
        os.fsync(self.file.fileno())
        # mkstemp keeps others out; the file gets the rights of the one it replaces, or of any new one.
        rights = self._target.stat().st_mode & 0o777 if self._target.exists() else 0o666 & ~_umask()
        with suppress(OSError):  # not every file system knows rights
            self._path.chmod(rights)
        if sys.platform == "win32":
            self.file.close()  # an open file cannot be renamed there
        self._path.replace(self._target)
        self.file.close()

    def save(self, content: bytes) -> None:
        """Write the whole of the file, and `keep` it. Raises VolumeError; the target is as it was then."""
        try:
            self.file.write(content)
            self.keep()
        except OSError as error:
            raise self.refusal(error) from error

    def discard(self) -> None:
        """Remove the draft, unless it was kept."""
        if sys.platform == "win32":
            self.file.close()
        if not self.file.closed:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # what is still to be written has no room
                self.file.close()
        else:
            self._path.unlink(missing_ok=True)

    def refusal(self, error: OSError) -> VolumeError:
        """What to tell of an error while the draft was made or written."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return VolumeError(
                f"{self._shown}: There is not enough space to write it ({os.strerror(error.errno)}): free some disk "
                "space or choose another folder."
            )
        return self._refused(error)

    def _refused(self, error: OSError) -> VolumeError:
        is_link = os.path.islink(self._shown)  # noqa: PTH114 (whose folder may not be entered is none)
        folder = (self._target if is_link else self._shown).parent
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return VolumeError(f"{self._shown}: The folder {folder} does not exist: create it or choose another.")
        return VolumeError(
            f"{self._shown}: The folder {folder} cannot be written ({error.strerror or error}): "
            "change its permissions, free some space or choose another."
        )

    def _made(self) -> tuple[IO[bytes], Path]:
        """An empty file of ours, locked."""
        while True:
            try:
                _require_possible(self._shown)
                remove_abandoned(self._target.parent)
                handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=self._target.suffix, dir=self._target.parent)
            except OSError as error:
                raise self._refused(error) from error
            file = os.fdopen(handle, "w+b")
            with suppress(OSError):  # a disk without locks: what is abandoned there stays
                if not try_lock_file(file) or not Path(name).exists():
                    file.close()  # another process took it for abandoned in between
                    continue
            return file, Path(name)


def reserve_space(file: IO[bytes], size: int) -> None:
    """Take bytes of the disk for an empty file. Raises OSError if there is no room for them."""
    if size <= 0:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, len(_PAGE)):
        file.write(_PAGE[: size - start])
    file.flush()
    file.seek(0)


def write_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all. Raises VolumeError; what was there before is there still then."""
    with Draft(path) as draft:
        draft.save(content)


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts in a folder whose process has ended."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError), path.open("r+b") as file:
            if try_lock_file(file):
                path.unlink()


def _require_possible(target: Path) -> None:
    """Raise OSError for a name that could not be given to the file in the end, such as one that is too long.

    Raises VolumeError for what is there and no file: it would be replaced, and who reads from it would wait for ever.
    """
    with suppress(FileNotFoundError):
        kind = target.stat().st_mode
        if stat.S_ISDIR(kind):
            raise VolumeError(f"{target}: This is a folder: give the name of a file in it.")
        if not stat.S_ISREG(kind):
            raise VolumeError(f"{target}: This is a pipe, socket or device: give the name of a file.")


def _umask() -> int:
    """The process's mask for new files; reading it is only possible by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
