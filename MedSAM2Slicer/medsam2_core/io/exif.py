"""How a photograph is to be turned to be seen, which its pixels as stored do not show."""

from __future__ import annotations

import struct
from pathlib import Path

_AS_STORED = 1
_ORIENTATION = 0x0112  # a tag of TIFF, whose directories EXIF consists of
_EXIF = b"Exif\0\0"
_JPEG_START = b"\xff\xd8"
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_HEAD = 1 << 18  # bytes: EXIF comes first, and fits into 64 KB


def is_turned(path: Path) -> bool:
    """Whether viewers turn or mirror a JPEG or TIFF file, by its orientation. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[:4] in _ORDERS:
            place = struct.unpack(f"{_ORDERS[head[:4]]}I", head[4:8])[0] if len(head) >= 8 else 0
            file.seek(place)  # the directory may stand at the end
            return _orientation(file.read(_HEAD), _ORDERS[head[:4]]) != _AS_STORED
    exif = _exif(head)
    order = _ORDERS.get(exif[:4])
    if order is None or len(exif) < 8:
        return False
    return _orientation(exif[struct.unpack(f"{order}I", exif[4:8])[0] :], order) != _AS_STORED


def _exif(head: bytes) -> bytes:
    """What a JPEG file has as EXIF, nothing if it has none."""
    place = len(_JPEG_START)
    while head.startswith(_JPEG_START) and head[place : place + 1] == b"\xff" and len(head) >= place + 4:
        size = int.from_bytes(head[place + 2 : place + 4], "big")
        content = head[place + 4 : place + 2 + size]
        if content.startswith(_EXIF):
            return content[len(_EXIF) :]
        place += 2 + size
    return b""


def _orientation(directory: bytes, order: str) -> int:
    """What a directory says; as stored if it does not."""
    count = struct.unpack(f"{order}H", directory[:2])[0] if len(directory) >= 2 else 0
    for start in range(2, min(2 + 12 * count, len(directory) - 11), 12):
        tag, _, _, value = struct.unpack(f"{order}HHIH", directory[start : start + 10])
        if tag == _ORIENTATION:
            return int(value)
    return _AS_STORED
