"""Label images as PNG files, which every program reads: written here, since ITK's writer reports no full disk."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft

_START = b"\x89PNG\r\n\x1a\n"
_GRAY = 0  # color type
_LEVEL = 6  # zlib's own default


def write_labels(path: Path, labels: npt.NDArray[np.integer[Any]]) -> None:
    """Write labels (rows, columns), 0 to 65535, as gray values: 8 bits if they fit, else 16.

    An existing file is replaced only by a complete new one. Raises VolumeError, if it cannot be written.
    """
    with Draft(path) as draft:
        try:
            draft.file.write(_png(labels))
            draft.keep()
        except OSError as error:
            raise draft.refusal(error) from error


def _png(labels: npt.NDArray[np.integer[Any]]) -> bytes:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise VolumeError(f"The labels go from {lowest} to {highest}: use 0 to 65535.")
    kind = np.dtype(">u1" if highest < 256 else ">u2")
    rows, columns = labels.shape
    pixels = labels.astype(kind).view(np.uint8).reshape(rows, -1)
    lines = np.pad(pixels, ((0, 0), (1, 0)))  # each begins with its filter: none
    header = struct.pack(">IIBBBBB", columns, rows, 8 * kind.itemsize, _GRAY, 0, 0, 0)
    packed = zlib.compress(lines.tobytes(), _LEVEL)
    return _START + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
