"""Long work in short pieces: the same result as in one go, and the event loop gets its turns."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from medsam2_core.errors import WorkerError
from medsam2_core.worker.wire import PROTOCOL, encode
from MedSAM2SlicerLib.scene.growing import GrowingArray, VoxelHash
from MedSAM2SlicerLib.worker.connection import Connection, Timeouts
from MedSAM2SlicerLib.worker.transports import piecesOf, sizeOf


def counting(rows: int = 6) -> GrowingArray:
    """Rows of their own number, and every other step does something else first."""
    array = np.empty((rows, 5), np.uint8)

    def steps():
        for row in range(rows):
            yield row
            array[row] = row
            yield row + 1

    return GrowingArray(array, steps())


WANTED = np.repeat(np.arange(6, dtype=np.uint8), 5).tobytes()


def test_the_pieces_are_the_whole() -> None:
    assert b"".join(counting().pieces()) == WANTED
    assert counting().whole().tobytes() == WANTED
    assert sizeOf(counting()) == len(WANTED)


def test_it_may_be_asked_for_while_it_is_sent_and_sent_again() -> None:
    growing = counting()
    pieces = growing.pieces()
    first = [next(pieces) for _ in range(4)]
    assert growing.whole().tobytes() == WANTED
    assert b"".join([*first, *pieces]) == WANTED
    assert b"".join(growing.pieces()) == WANTED


def test_what_could_not_be_made_is_never_taken_for_whole() -> None:
    def steps():
        yield 1
        raise MemoryError("no room")

    growing = GrowingArray(np.empty((6, 5), np.uint8), steps())
    for ask in (growing.whole, growing.whole, lambda: list(growing.pieces())):
        with pytest.raises(MemoryError, match="no room"):
            ask()


def test_pieces_are_small_and_in_order() -> None:
    large = np.arange(3 << 20, dtype=np.uint32)
    pieces = list(piecesOf([b"head", memoryview(large), b"", counting()]))
    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(pieces) == b"head" + large.tobytes() + WANTED


@pytest.mark.parametrize("kind", [np.int16, np.float32, ">i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_hash_in_pieces_is_the_hash_of_the_whole(kind: object, order: str) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 99, (40, 300, 301)), kind, order=order)
    little = array.astype(array.dtype.newbyteorder("<"))
    wanted = hashlib.sha256(f"{little.dtype.str} {array.shape}".encode() + little.tobytes("C")).hexdigest()
    assert VoxelHash(array).result() == wanted
    hashed, turns = VoxelHash(array), 1
    while hashed.work(0.0):
        turns += 1
    assert turns > 3
    assert hashed.result() == wanted


class Wire:
    """A transport that is a stub, and the listener of a connection through it, which takes its time."""

    running = True

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.connection = Connection(self, Timeouts(), time.monotonic)
        self.connection.start([], None, self)
        self.received(b"".join(encode({"event": "hello", "protocol": PROTOCOL})))

    def start(self, *_: object) -> None: ...

    def kill(self, grace: float = 0.0) -> None: ...

    def pump(self, seconds: float) -> None: ...

    def greeted(self, hello: object) -> None: ...

    def framed(self, frame) -> None:
        self.heard.append(frame.header["id"])
        time.sleep(0.03)

    def lost(self, error: WorkerError, _had_greeted: bool) -> None:
        self.heard.append(str(error))


def batch() -> bytes:
    return b"".join(b"".join(encode({"id": number})) for number in range(4))


def test_messages_that_come_at_once_do_not_hold_the_event_loop() -> None:
    wire = Wire()
    wire.received(batch())
    assert wire.heard == [0]
    wire.connection.tick(True)
    wire.connection.pump(60)
    assert wire.heard == [0, 1, 2]


def test_what_had_come_is_delivered_before_the_end() -> None:
    wire = Wire()
    wire.received(batch())
    wire.ended("it crashed")
    assert wire.heard == [0, 1, 2, 3, "It crashed."]
