"""Where three axes disagreed on an object, to the wire and back: slice by slice, cut to the pixels that count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from medsam2_core.arrays import Array, Bytes
from medsam2_core.counting import counted
from medsam2_core.errors import WorkerError
from medsam2_core.worker import fields
from medsam2_core.worker.masks import PixelBox, box_of
from medsam2_core.worker.results import Grid, slice_index
from medsam2_core.worker.wire import Buffer, Frame, Header


@dataclass(frozen=True)
class DisagreementMap:
    """Percent of the axes, by slice: a box on it and the pixels in that (rows, columns). All others are 0."""

    slices: Mapping[int, tuple[PixelBox, Bytes]]

    @staticmethod
    def of(slices: Iterable[tuple[int, Bytes]]) -> DisagreementMap:
        """Keep what differs of whole slices (rows, columns), which come one after the other."""
        found: dict[int, tuple[PixelBox, Bytes]] = {}
        for index, percent in slices:
            box = box_of(percent > 0)
            if box is not None:
                found[index] = box, percent[box[0] : box[2], box[1] : box[3]].copy()
        return DisagreementMap(found)

    def block(self) -> tuple[tuple[int, int, int], Bytes]:
        """All of it: first slice, row and column, and the voxels from there (slices, rows, columns).

        Where nothing differs that is one voxel of 0.
        """
        if not self.slices:
            return (0, 0, 0), np.zeros((1, 1, 1), np.uint8)
        first, last = min(self.slices), max(self.slices) + 1
        edges: Array = np.array([box for box, _ in self.slices.values()])
        (row0, column0), (row1, column1) = edges[:, :2].min(axis=0).tolist(), edges[:, 2:].max(axis=0).tolist()
        voxels = np.zeros((last - first, row1 - row0, column1 - column0), np.uint8)
        for index, (box, percent) in self.slices.items():
            rows, columns = slice(box[0] - row0, box[2] - row0), slice(box[1] - column0, box[3] - column0)
            voxels[index - first, rows, columns] = percent
        return (first, row0, column0), voxels

    def to_wire(self, payloads: list[Buffer]) -> Header:
        """The fields of a header; pixels are added to `payloads`."""
        slices = []
        for index, (box, percent) in self.slices.items():
            payloads.append(percent.tobytes())
            slices.append({"slice_index": index, "box": box, "payload": len(payloads) - 1})
        return {"slices": slices}

    @staticmethod
    def from_wire(frame: Frame, grid: Grid) -> DisagreementMap:
        """Read a map on a volume of `grid`. Raises WorkerError unless it fits."""
        return DisagreementMap(dict(_slice(item, frame, grid) for item in fields.objects(frame.header, "slices")))


def _slice(item: Header, frame: Frame, grid: Grid) -> tuple[int, tuple[PixelBox, Bytes]]:
    index = slice_index(item, grid[0])
    row0, column0, row1, column1 = (int(place) for place in fields.numbers(item, "box", 4))
    if not (0 <= row0 < row1 <= grid[1] and 0 <= column0 < column1 <= grid[2]):
        raise WorkerError(f"A message came about pixels outside a slice of {grid[1]} x {grid[2]} pixels.")
    values = np.frombuffer(fields.payload(frame, fields.whole(item, "payload")), np.uint8)
    if values.size != (row1 - row0) * (column1 - column0):
        raise WorkerError(f"Slice {index} of a map came with {counted(values.size, 'pixel')} in a box of another size.")
    return index, ((row0, column0, row1, column1), values.reshape(row1 - row0, column1 - column0))
