"""Keeps apart what this program writes into segments and what other tools do there at the same time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.segments import Written
from MedSAM2SlicerLib.scene.slicemasks import SliceWriter

NoteWritten = Callable[[Collection[str], Collection[int]], None]
"""Takes the IDs of segments that a write has changed, and the slices that it went to."""


class NotingWriter:
    """A `SliceWriter` that tells of each write, at once."""

    def __init__(self, writer: SliceWriter, noteWritten: NoteWritten) -> None:
        self._writer, self._noteWritten = writer, noteWritten
        self.sliceShape, self.begin, self.end = writer.sliceShape, writer.begin, writer.end

    @property
    def written(self) -> Written:
        """See `SegmentWriter`."""
        return self._writer.written

    @property
    def restriction(self) -> str:
        """See `SegmentWriter`."""
        return self._writer.restriction

    @property
    def emptied(self) -> list[str]:
        """See `SegmentWriter`."""
        return self._writer.emptied

    def writeSlices(self, masks: Mapping[int, Bools | None], axis: int) -> Written:
        """See `SegmentWriter`."""
        written = self._writer.writeSlices(masks, axis)
        self._noteWritten(written.segmentIds, masks.keys())
        return written
