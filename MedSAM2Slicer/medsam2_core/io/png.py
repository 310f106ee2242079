"""PNG files, of labels and of few colors: written here, since ITK's writer reports no full disk.

ITK's reader makes colors of palettes, so those are read here.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import write_file

_START = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3  # color types
_LEVEL = 6  # zlib's own default


def write_labels(path: Path, labels: npt.NDArray[np.integer[Any]]) -> None:
    """Write labels (rows, columns), 0 to 65535, as gray values: 8 bits if they fit, else 16.

    An existing file is replaced only by a complete new one. Raises VolumeError, if it cannot be written.
    """
    write_file(path, gray_png(labels))


def gray_png(labels: npt.NDArray[np.integer[Any]]) -> bytes:
    """A file of gray values (rows, columns), as `write_labels` writes it. Raises VolumeError for other values."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > np.iinfo(np.uint16).max:
        raise VolumeError(f"The labels go from {lowest} to {highest}: use 0 to 65535.")
    return _png(labels.astype(">u1" if highest < 256 else ">u2"), _GRAY)


def palette_png(places: npt.NDArray[np.uint8], colors: Sequence[tuple[int, int, int]]) -> bytes:
    """A file of pixels (rows, columns) that are places in a list of up to 256 colors (0 to 255 each)."""
    return _png(places, _PALETTE, _chunk(b"PLTE", bytes(part for color in colors for part in color)))


def read_palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """The palette (place, 3) of a PNG file whose pixels are places in one, else None. Raises OSError."""
    with path.open("rb") as file:
        start = file.read(33)  # and its header
        if start[:8] != _START or start[25:26] != bytes([_PALETTE]):
            return None
        while len(head := file.read(8)) == 8:
            size, name = struct.unpack(">I4s", head)
            if name == b"PLTE":
                return np.frombuffer(file.read(size), np.uint8).reshape(-1, 3)
            file.seek(size + 4, os.SEEK_CUR)
    return None


def _png(pixels: npt.NDArray[Any], color_type: int, palette: bytes = b"") -> bytes:
    """A file of pixels (rows, columns), most significant byte first."""
    rows, columns = pixels.shape
    lines = np.pad(pixels.view(np.uint8).reshape(rows, -1), ((0, 0), (1, 0)))  # each begins with its filter: none
    header = struct.pack(">IIBBBBB", columns, rows, 8 * pixels.itemsize, color_type, 0, 0, 0)
    packed = zlib.compress(lines.tobytes(), _LEVEL)
    return _START + _chunk(b"IHDR", header) + palette + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
