"""Frames come out as they went in, however the stream is cut; everything else is a WorkerError."""

from __future__ import annotations

import random
import struct
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam2_core.errors import WorkerError
from medsam2_core.worker.results import ObjectRecord, Propagated, SliceRecord
from medsam2_core.worker.wire import MAGIC, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, Decoder, Frame, encode

headers = st.dictionaries(st.text().filter(lambda name: name != "payloads"), st.integers() | st.text() | st.none())
frames = st.lists(st.tuples(headers, st.lists(st.binary(max_size=50), max_size=3)), max_size=4)


def stream(*items) -> bytes:
    return b"".join(bytes(buffer) for header, payloads in items for buffer in encode(header, payloads))


def cut(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(frames, st.integers())
def test_frames_survive_any_cut(items, seed: int) -> None:
    decoder = Decoder()
    found = [frame for piece in cut(stream(*items), seed) for frame in decoder.feed(piece)]
    assert [(frame.header, [bytes(payload) for payload in frame.payloads]) for frame in found] == items
    assert len(decoder.feed(stream(*items))) == len(items)  # no byte of those before is left


@given(st.binary(max_size=200), frames, st.integers())
def test_any_bytes_are_frames_or_an_error(noise: bytes, items, seed: int) -> None:
    good = stream(*items)
    place = seed % (len(good) + 1)
    decoder = Decoder()
    with suppress(WorkerError):
        for piece in cut(good[:place] + noise + good[place:], seed):
            assert all(isinstance(frame, Frame) for frame in decoder.feed(piece))


def prefix(length: int) -> bytes:
    return struct.pack(">4sI", MAGIC, length)


def framed(header: bytes) -> bytes:
    return prefix(len(header)) + header


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"X", "does not speak"),
        (b"MS2X", "does not speak"),
        (prefix(MAX_HEADER_BYTES + 1), f"header of {MAX_HEADER_BYTES + 1} bytes"),
        (prefix(0), "not JSON"),
        (framed(b"\xff\xfe"), "not JSON"),
        (framed(b"[1]"), "not a JSON object"),
        (framed(b"[" * 100_000), "not JSON"),
        (framed(b'{"payloads": 3}'), "not a list"),
        (framed(b'{"payloads": [-1]}'), "not a list"),
        (framed(b'{"payloads": [true]}'), "not a list"),
        (framed(b'{"payloads": [%d, 1]}' % MAX_PAYLOAD_BYTES), "limit"),
    ],
)
def test_what_is_no_frame_is_refused_as_soon_as_it_shows(data: bytes, text: str) -> None:
    with pytest.raises(WorkerError, match=text):
        Decoder().feed(data)


def test_too_large_a_message_is_not_sent() -> None:
    with pytest.raises(WorkerError, match="too large"):
        encode({"text": "x" * MAX_HEADER_BYTES})


def test_the_result_of_many_objects_on_many_slices_is_sent() -> None:
    slices = tuple(SliceRecord(k, 0.8312345678901234, 7.123456789012345, "forward", 1234.5678901) for k in range(1000))
    result = Propagated(False, 1.0, tuple(ObjectRecord(label, {}, slices) for label in range(1, 41)))
    (frame,) = Decoder().feed(stream((result.to_wire(), [])))
    assert Propagated.from_wire(frame.header, 1000) == result


def test_payloads_are_not_copied_on_the_way_out() -> None:
    payload = bytearray(8)
    assert encode({}, [payload])[1] is payload


def test_a_payload_can_be_written_to() -> None:
    (frame,) = Decoder().feed(stream(({}, [b"ab", b"", b"c"])))
    assert [bytes(payload) for payload in frame.payloads] == [b"ab", b"", b"c"]
    assert not any(memoryview(payload).readonly for payload in frame.payloads)  # torch warns of read-only arrays


def test_decoding_takes_linear_time() -> None:
    """32 MiB in pieces of 4 KiB; copying what came with each piece would take minutes."""
    data = stream(({}, [bytes(32 << 20)]))
    decoder, started = Decoder(), time.process_time()
    for start in range(0, len(data), 4096):
        decoder.feed(memoryview(data)[start : start + 4096])
    assert time.process_time() - started < 5
