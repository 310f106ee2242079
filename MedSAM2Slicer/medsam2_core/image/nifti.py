"""What ITK's NIfTI reader gets wrong without a word: files cut short, and a file's uncompressed namesake."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medsam2_core.errors import VolumeError


def is_nifti(path: Path) -> bool:
    """Whether `path` is named as a one-file NIfTI volume."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


@contextmanager
def without_namesake(path: Path) -> Iterator[Path]:
    """`path`, or a copy elsewhere of an `a.nii.gz` beside an `a.nii`, from which ITK would take the voxels of both."""
    if not (path.name.lower().endswith(".nii.gz") and path.with_name(path.name[:-3]).exists()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="medsam2-") as folder:
        yield Path(shutil.copyfile(path, Path(folder) / path.name))


def require_complete(path: Path, expected: int) -> None:
    """Raise VolumeError unless the file holds, once decompressed, at least `expected` bytes.

    ITK reads a shorter file without complaint, as zeros or noise.
    """
    if _size(path, expected) < expected:
        raise VolumeError("The file is incomplete (its end is missing): copy or download it again.")


def _size(path: Path, expected: int) -> int:
    """The bytes in `path` once decompressed, as far as it can be; cheap if that is the `expected` number."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path.stat().st_size
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") == expected % 2**32:  # gzip ends with the size it had
            return expected
    return _decompressed_size(path)


def _decompressed_size(path: Path) -> int:
    size = 0
    with gzip.open(path) as file:
        try:
            while chunk := file.read(1 << 20):
                size += len(chunk)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            pass  # what follows is lost; the size says how much there was
    return size
