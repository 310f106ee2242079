"""Frames between the worker and its client: a JSON header and binary payloads.

A frame is `MAGIC`, the header's length as a big-endian uint32, the header (UTF-8 JSON, an object), and the payloads
back to back. The header's "payloads" lists their lengths.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medsam2_core.errors import WorkerError

PROTOCOL = 2
MAGIC = b"MS2W"
MAX_HEADER_BYTES = 16 << 20  # a result tells of every slice of every object, in about 150 bytes
MAX_PAYLOAD_BYTES = 2 << 30  # of all payloads of a frame together

Buffer = bytes | bytearray | memoryview
Header = dict[str, Any]

_PREFIX = struct.Struct(">4sI")


@dataclass(frozen=True)
class Frame:
    """A header without its "payloads", and the payloads."""

    header: Header
    payloads: tuple[Buffer, ...] = ()


def encode(header: Header, payloads: Sequence[Buffer] = ()) -> list[Buffer]:
    """Buffers that make up a frame, payloads uncopied. Raises WorkerError if they exceed the limits."""
    return [encode_head(header, [memoryview(payload).nbytes for payload in payloads]), *payloads]


def encode_head(header: Header, sizes: Sequence[int]) -> bytes:
    """What of a frame comes before payloads of these sizes. Raises WorkerError if they exceed the limits."""
    text = json.dumps({**header, "payloads": list(sizes)}, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > MAX_HEADER_BYTES or sum(sizes) > MAX_PAYLOAD_BYTES:
        raise WorkerError(
            f"A message of {len(text)} + {sum(sizes)} bytes is too large for the worker "
            f"(limits: {MAX_HEADER_BYTES} + {MAX_PAYLOAD_BYTES}): use fewer prompts or a smaller volume."
        )
    return _PREFIX.pack(MAGIC, len(text)) + text


class Decoder:
    """Frames out of a stream of bytes that comes in any pieces; time is linear in the bytes."""

    def __init__(self) -> None:
        self._part: _Part = _Prefix()
        self._bytes = bytearray()

    def feed(self, data: Buffer) -> list[Frame]:
        """Frames that `data` completes. Raises WorkerError for bytes that are not a frame; the stream is lost then."""
        frames: list[Frame] = []
        view = memoryview(data)
        while self._complete(frames) or len(view):
            wanted = self._part.length - len(self._bytes)
            self._bytes += view[:wanted]
            view = view[wanted:]
        return frames

    def _complete(self, frames: list[Frame]) -> bool:
        """Go on to the frame's next part if this one is all there."""
        self._part.check(self._bytes)
        if len(self._bytes) < self._part.length:
            return False
        following = self._part.following(self._bytes)
        if isinstance(following, Frame):
            frames.append(following)
            following = _Prefix()
        self._part, self._bytes = following, bytearray()
        return True


class _Part:
    """A piece of a frame whose length is known before it comes."""

    length: int

    def check(self, data: bytearray) -> None:
        """Raise WorkerError as soon as what came cannot be right."""

    def following(self, data: bytearray) -> _Part | Frame:
        """Return what comes after this piece, now that it is complete."""
        raise NotImplementedError


class _Prefix(_Part):
    length = _PREFIX.size

    def check(self, data: bytearray) -> None:
        if not MAGIC.startswith(data[: len(MAGIC)]):
            raise WorkerError(f"The other side does not speak MedSAM2Slicer's protocol; it sent {_shown(data)}.")

    def following(self, data: bytearray) -> _Part:
        _, length = _PREFIX.unpack(data)
        if length > MAX_HEADER_BYTES:
            raise WorkerError(f"A message with a header of {length} bytes came: the limit is {MAX_HEADER_BYTES}.")
        return _HeaderPart(length)


class _HeaderPart(_Part):
    def __init__(self, length: int) -> None:
        self.length = length

    def following(self, data: bytearray) -> _Part | Frame:
        header = _parse(data)
        sizes = _payload_sizes(header.pop("payloads", []))
        return _Payloads(header, sizes) if sizes else Frame(header)


class _Payloads(_Part):
    def __init__(self, header: Header, sizes: list[int]) -> None:
        self.length, self._header, self._sizes = sum(sizes), header, sizes

    def following(self, data: bytearray) -> Frame:
        rest, payloads = memoryview(data), []
        for size in self._sizes:
            payloads.append(rest[:size])
            rest = rest[size:]
        return Frame(self._header, tuple(payloads))


def _parse(data: bytearray) -> Header:
    try:
        header = json.loads(data.decode())
    except (ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise WorkerError(f"A message came whose header is not JSON ({_shown(data)}).") from error
    if not isinstance(header, dict):
        raise WorkerError(f"A message came whose header is not a JSON object ({_shown(data)}).")
    return header


def _payload_sizes(sizes: Any) -> list[int]:
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise WorkerError("A message came whose payload sizes are not a list of whole numbers.")
    if sum(sizes) > MAX_PAYLOAD_BYTES:
        raise WorkerError(f"A message with payloads of {sum(sizes)} bytes came: the limit is {MAX_PAYLOAD_BYTES}.")
    return sizes


def _shown(data: bytearray) -> str:
    """Show the beginning of some bytes, fit for one line."""
    return repr(bytes(data[:60]))
