"""The DICOM files of a folder, and those that should be one: an empty or damaged slice must not go unnoticed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from medsam2_core.errors import VolumeError

_MOST_FILES = 50_000  # a patient's CD holds a few thousand; a whole disk would be read for minutes
_INDEX = "DICOMDIR"
_SUFFIXES = (".dcm", ".dicom", ".ima")
_PREAMBLE = 128
_HEAD = _PREAMBLE + 4
_LONGEST_FIRST = 1024  # bytes of the first element of a file without preamble


def is_index(path: Path) -> bool:
    """Whether a file is the index of a CD, by its name."""
    return path.name.upper() == _INDEX


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes. Raises OSError if it cannot be read."""
    return _starts_dicom(_head(path))


def find_files(folder: Path) -> list[Path]:
    """All DICOM files in a folder and those below it, but not the index of a CD, in order.

    Raises VolumeError for a folder that cannot be searched, holds too many files, or an empty or damaged slice.
    """
    found: list[Path] = []
    others: list[tuple[Path, bytes]] = []
    for path in _regular_files(folder):
        head = _readable_head(path)
        if _starts_dicom(head):
            found.append(path)
        else:
            others.append((path, head))
    _refuse_damaged(others, found)
    return found


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _readable_head(path: Path) -> bytes:
    try:
        return _head(path)
    except OSError as error:
        raise VolumeError(
            f"The file {path} cannot be read ({error.strerror or error}): change its permissions, or move it away."
        ) from error


def _starts_dicom(head: bytes) -> bool:
    return head[_PREAMBLE:] == b"DICM" or _starts_data_set(head)


def _starts_data_set(head: bytes) -> bool:
    """Whether a file has no preamble but starts with an element of group 0002 or 0008, as old archives write it."""
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    with_type = head[4:6].isalpha() and head[4:6].isupper()
    return with_type or int.from_bytes(head[4:8], "little") < _LONGEST_FIRST


def _regular_files(folder: Path) -> Iterator[Path]:
    """Files that can be read to an end; hidden ones and the index of a CD are left out."""
    count = 0
    for place, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                raise VolumeError(f"The folder holds more than {_MOST_FILES} files: give one closer to the series.")
            path = Path(place, name)
            if not (name.startswith(".") or is_index(path)) and path.exists() and stat.S_ISREG(path.stat().st_mode):
                yield path


def _refuse_folder(error: OSError) -> None:
    raise VolumeError(
        f"The folder {error.filename} cannot be searched ({error.strerror}): change its permissions, or move it away."
    ) from error


def _refuse_damaged(others: Sequence[tuple[Path, bytes]], found: Sequence[Path]) -> None:
    """Raise VolumeError for a file that should be a slice, by its name or its neighbors, but is not DICOM."""
    patterns = {_pattern(path) for path in found}
    without_suffix = {path.parent for path in found if not path.suffix or path.suffix[1:].isdigit()}
    for path, head in others:
        named = path.suffix.lower() in _SUFFIXES or _pattern(path) in patterns
        unnamed = not path.suffix and path.parent in without_suffix and not _is_text(head)
        if named or unnamed:
            raise VolumeError(
                f"The file {path.name} is not DICOM although its name or place is that of a slice, so one is damaged "
                "or empty: copy the series again, or move this file away if it does not belong to it."
            )


def _pattern(path: Path) -> tuple[Path, str]:
    """The folder, and the name with each number in it as #."""
    return path.parent, re.sub(r"\d+", "#", path.name)


def _is_text(head: bytes) -> bool:
    return bool(head.strip()) and all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
