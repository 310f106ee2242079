"""Masks on the wire: cut to their box, eight pixels a byte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medsam2_core.arrays import Mask, block_of
from medsam2_core.errors import WorkerError
from medsam2_core.worker import fields
from medsam2_core.worker.wire import Buffer, Frame, Header

PixelBox = tuple[int, int, int, int]
"""row0, column0, row1, column1; half-open."""


@dataclass(frozen=True)
class PackedMask:
    """The mask of a slice. `box` holds all its pixels (None: there is none), `bits` those in it, row by row."""

    box: PixelBox | None
    bits: Buffer

    @staticmethod
    def of(mask: Mask) -> PackedMask:
        """Pack a mask (rows, columns)."""
        box = box_of(mask)
        if box is None:
            return PackedMask(None, b"")
        return PackedMask(box, np.packbits(mask[box[0] : box[2], box[1] : box[3]]).tobytes())

    @property
    def crop(self) -> Mask:
        """The pixels of the box (its rows, its columns); (0, 0) where there is none."""
        if self.box is None:
            return np.zeros((0, 0), dtype=bool)
        rows, columns = self.box[2] - self.box[0], self.box[3] - self.box[1]
        bits = np.unpackbits(np.frombuffer(self.bits, dtype=np.uint8), count=rows * columns)
        return bits.view(bool).reshape(rows, columns)

    def full(self, shape: tuple[int, int]) -> Mask:
        """The mask on its slice of `shape` rows and columns, which must hold the box."""
        mask = np.zeros(shape, dtype=bool)
        if self.box is not None:
            mask[self.box[0] : self.box[2], self.box[1] : self.box[3]] = self.crop
        return mask

    def check(self, shape: tuple[int, int]) -> None:
        """Raise WorkerError unless the mask fits a slice of `shape` and has the bits its box needs."""
        row0, column0, row1, column1 = self.box or (0, 0, 0, 0)
        empty = self.box is None
        if not empty and not (0 <= row0 < row1 <= shape[0] and 0 <= column0 < column1 <= shape[1]):
            raise WorkerError(f"A mask came in the box {self.box}, outside a slice of {shape[0]} x {shape[1]} pixels.")
        expected = ((row1 - row0) * (column1 - column0) + 7) // 8
        if memoryview(self.bits).nbytes != expected:
            raise WorkerError(f"A mask came with {memoryview(self.bits).nbytes} bytes instead of {expected}.")


def box_of(mask: Mask) -> PixelBox | None:
    """The box around what a mask (rows, columns) marks; None where that is nothing."""
    rows, columns = block_of(mask)
    return (rows.start, columns.start, rows.stop, columns.stop) if rows.stop else None


def mask_to_wire(mask: PackedMask, payloads: list[Buffer]) -> Header:
    """A mask for a header; its pixels are added to `payloads`."""
    payloads.append(mask.bits)
    return {"box": mask.box, "payload": len(payloads) - 1}


def mask_from_wire(header: Header, frame: Frame, shape: tuple[int, int]) -> PackedMask:
    """The mask that a part of a header describes. Raises WorkerError unless it fits a slice of `shape`."""
    bits = fields.payload(frame, fields.whole(header, "payload"))
    mask = PackedMask(None, bits)
    if header.get("box") is not None:
        row0, column0, row1, column1 = (int(place) for place in fields.numbers(header, "box", 4))
        mask = PackedMask((row0, column0, row1, column1), bits)
    mask.check(shape)
    return mask
