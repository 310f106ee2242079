"""Picture files that are cut short, which the libraries fill up, or end before their last pages, without a word."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from medsam2_core.errors import VolumeError

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_TAIL = 1 << 16  # for what a camera appends to a JPEG file
_BMP_PLAIN = (0, 3)  # BI_RGB and BI_BITFIELDS, which are not compressed
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_STARTS, _COUNTS = (273, 324), (279, 325)  # of strips and of tiles
_NUMBERS = {3: "H", 4: "I"}
_MOST_PAGES = 1 << 20  # of a chain that leads back into itself


def require_whole(path: Path) -> None:
    """Raise VolumeError for a JPEG, BMP or TIFF file that is cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4)
        if start[:3] == _JPEG_START:
            is_whole = _has_jpeg_end(file, size)
        elif start[:2] == b"BM":
            is_whole = _bmp_size(file) <= size
        elif start in _TIFF:
            is_whole = _has_all_pages(file, _TIFF[start], size)
        else:
            return
    if not is_whole:
        raise VolumeError("The file is incomplete (its end is missing): copy or download it again.")


def _has_jpeg_end(file: IO[bytes], size: int) -> bool:
    file.seek(max(0, size - _TAIL))
    return _JPEG_END in file.read()


def _bmp_size(file: IO[bytes]) -> int:
    """How many bytes a BMP file has at least, by its header; 0 where that does not say it."""
    file.seek(10)
    head = file.read(28)
    if len(head) < 28:
        return 1 << 62
    pixels, form, columns, rows, _, bits, compression, image = struct.unpack("<IIiiHHII", head)
    if form < 40:  # of OS/2
        return 0
    if compression not in _BMP_PLAIN:
        return int(pixels + image)
    return int(pixels + (columns * bits + 31) // 32 * 4 * abs(rows))


def _has_all_pages(file: IO[bytes], order: str, size: int) -> bool:
    """Whether a TIFF file has all of its pages: where each begins, and where its pixels end."""
    try:
        return all(end <= size for end in _tiff_ends(file, order))
    except struct.error:  # it ends in the middle of a page's table
        return False


def _tiff_ends(file: IO[bytes], order: str) -> Iterator[int]:
    """Where the pixels of each page end. Raises struct.error if the file ends before they are told."""
    (place,) = _unpacked(file, f"{order}I", 4)
    for _ in range(_MOST_PAGES):
        if not place:
            return
        (entries,) = _unpacked(file, f"{order}H", place)
        table = [_unpacked(file, f"{order}HHI4s", place + 2 + 12 * entry) for entry in range(entries)]
        found = {row[0]: row[1:] for row in table}
        for starts, counts in zip(_STARTS, _COUNTS, strict=True):
            if starts in found and counts in found:
                both = (_numbers(file, order, *found[tag]) for tag in (starts, counts))
                yield max((begin + length for begin, length in zip(*both, strict=False)), default=0)
        (place,) = _unpacked(file, f"{order}I", place + 2 + 12 * entries)


def _numbers(file: IO[bytes], order: str, kind: int, count: int, value: bytes) -> tuple[int, ...]:
    """The numbers of an entry, which are in the entry itself where they fit; none of a kind that is not known."""
    if kind not in _NUMBERS:
        return ()
    form = f"{order}{count}{_NUMBERS[kind]}"
    length = struct.calcsize(form)
    if length <= len(value):
        return struct.unpack(form, value[:length])
    return _unpacked(file, form, struct.unpack(f"{order}I", value)[0])


def _unpacked(file: IO[bytes], form: str, place: int) -> tuple[Any, ...]:
    file.seek(place)
    return struct.unpack(form, file.read(struct.calcsize(form)))
