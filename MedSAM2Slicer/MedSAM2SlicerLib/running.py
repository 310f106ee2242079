"""A propagation on its way into a segment: steps are written as they come, and what it left is known at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slicer.i18n import tr as _

from medsam2_core.worker.results import ObjectRecord, Propagated, Step
from MedSAM2SlicerLib.review import SliceReview, reviewAnswer
from MedSAM2SlicerLib.segments import SegmentWriter

OBJECT_ID = 1
"""The worker's number for the segment: each segment has a session of its own."""


@dataclass(frozen=True)
class Progress:
    """Slices done and planned, over both directions; the rate and time left are None until they are known."""

    done: int
    planned: int
    slicesPerSecond: float | None
    secondsLeft: float | None


class Running:
    """Writes the steps of the object `OBJECT_ID` into its segment. One undo state holds all of it."""

    def __init__(self, writer: SegmentWriter, axis: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.reviews: dict[int, SliceReview] = {}
        self._writer, self._axis, self._clock = writer, axis, clock
        self._shape = writer.sliceShape(axis)
        self._started = clock()
        writer.begin()

    def write(self, step: Step) -> Progress:
        """Write the step's mask into its slice."""
        for answer in step.answers:
            if answer.object_id == OBJECT_ID:
                self._writer.writeSlices({step.slice_index: answer.mask.full(self._shape)}, self._axis)
                self.reviews[step.slice_index] = reviewAnswer(step.slice_index, answer, step.direction)
        return self._progress(step)

    def finish(self, result: Propagated, drawnBefore: set[int]) -> ObjectRecord | None:
        """Empty the slices that earlier runs drew and this one gave up; returns what is known of the object now."""
        record = next((one for one in result.objects if one.object_id == OBJECT_ID), None)
        if record is not None:
            gone = (drawnBefore | self.reviews.keys()) - {one.slice_index for one in record.slices}
            self._writer.writeSlices(dict.fromkeys(sorted(gone)), self._axis)
        self._writer.end()
        return record

    def summary(self, result: Propagated, stops: Mapping[str, str], volumeMl: float) -> str:
        """What came of it in a line; `stops` says why each direction ended."""
        text = _("{count} slices, {volume:.1f} mL, {seconds:.1f} s.").format(
            count=len(self.reviews), volume=volumeMl, seconds=result.seconds
        )
        ends = [_("Cancelled.")] if result.cancelled else [f"{one[:1].upper()}{one[1:]}." for one in stops.values()]
        return " ".join([text, *ends, *self._maskedOut()])

    def end(self) -> None:
        """Keep what is written."""
        self._writer.end()

    def _progress(self, step: Step) -> Progress:
        seconds = self._clock() - self._started
        if not step.done or seconds <= 0:
            return Progress(step.done, step.planned, None, None)
        rate = step.done / seconds
        return Progress(step.done, step.planned, rate, max(step.planned - step.done, 0) / rate)

    def _maskedOut(self) -> list[str]:
        """A sentence if the editable area kept out a part of the mask, else none."""
        count = self._writer.written.maskedOut
        if not count:
            return []
        text = _("{count} voxels of the mask lie outside the editable area ({area}).")
        return [text.format(count=count, area=self._writer.restriction)]
