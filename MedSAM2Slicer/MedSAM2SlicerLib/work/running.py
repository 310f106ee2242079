"""A propagation on its way into segments: steps are written as they come, and what they left is known at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from slicer.i18n import tr as _

from medsam2_core.directions import STEPS, THREE
from medsam2_core.image.slicing import SliceStack
from medsam2_core.worker.results import ObjectAnswer, ObjectRecord, Propagated, Step
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.measures import milliliters
from MedSAM2SlicerLib.scene.slicemasks import SliceWriter, changeFrom
from MedSAM2SlicerLib.scene.slicereview import SliceReview, reviewAnswer, reviewRecord
from MedSAM2SlicerLib.work.pace import Outlook, secondsOfLook


@dataclass(frozen=True)
class Progress:
    """Slices done and planned, over both directions; the rate and time left are None until they are known.

    The time left may be known before the rate, from earlier runs.
    """

    done: int
    planned: int
    slicesPerSecond: float | None
    secondsLeft: float | None


def tellEmptied(names: Iterable[str]) -> str:
    """Say in a sentence that segments of these names lost all they had; nothing if there are none."""
    quoted = ", ".join(repr(name) for name in dict.fromkeys(names))
    if not quoted:
        return ""
    text = _(
        "What was drawn has overwritten all of {names}: to keep both, undo, and set Modify other segments "
        "to Allow overlap (Segment Editor, Masking)."
    )
    return text.format(names=quoted)


def tellWritten(writer: SliceWriter) -> str:
    """Say what a write did besides, or could not do; nothing if all is as it was asked for."""
    return " ".join(filter(None, [tellEmptied(writer.emptied), _tellKept(writer)]))


def _tellKept(writer: SliceWriter) -> str:
    """Say in a sentence, if so, that the editable area kept in what the mask leaves out."""
    count = writer.written.keptIn
    if not count:
        return ""
    one = _("1 voxel that the mask leaves out stays, since it lies outside the editable area ({area}).")
    many = _("{count} voxels that the mask leaves out stay, since they lie outside the editable area ({area}).")
    return (one if count == 1 else many).format(count=count, area=writer.restriction)


class SegmentRun:
    """One segment's part of a propagation, along a `stack`. Slices that somebody `keeps` are not written."""

    def __init__(
        self, writer: SliceWriter, stack: SliceStack, keeps: Callable[[int], bool], drawnBefore: set[int]
    ) -> None:
        self.stack = stack
        self.reviews: dict[int, SliceReview] = {}
        self._writer, self._axis = writer, stack.axis
        self._keeps, self._drawnBefore = keeps, drawnBefore
        self._shape = writer.sliceShape(stack.axis)
        self._latest: dict[str, tuple[int, Bools]] = {}  # by direction: the slice drawn last, to compare with
        self._prompted: dict[int, Bools] = {}
        writer.begin()

    def write(self, index: int, direction: str, answer: ObjectAnswer) -> None:
        """Write the mask of a slice."""
        mask = answer.mask.full(self._shape)
        if not self._keeps(index):
            self._writer.writeSlices({index: mask}, self._axis)
        self.reviews[index] = reviewAnswer(index, answer, direction, self._change(index, direction, mask))

    def settle(self, record: ObjectRecord, first: int, last: int, isWhole: bool = True) -> dict[int, SliceReview]:
        """Slices first <= index < last are done: empty those that earlier runs drew and this one gave up.

        One that was not `isWhole` has not come to all of them: a worker that began anew knows nothing of the others.
        Returns what is known of all slices now.
        """
        known = reviewRecord(record)
        drawn = self._drawnBefore | self.reviews.keys() if isWhole else self.reviews.keys()
        within = {index for index in drawn if first <= index < last}
        gone = (index for index in within - known.keys() if not self._keeps(index))
        self._writer.writeSlices(dict.fromkeys(sorted(gone)), self._axis)
        self.reviews = {
            index: replace(known[index], change=one.change) for index, one in self.reviews.items() if index in known
        }
        return known | self.reviews

    def end(self) -> None:
        """Keep what is written."""
        self._writer.end()

    @property
    def changed(self) -> frozenset[str]:
        """The segments that were changed: its own, and those it overwrote."""
        return self._writer.written.segmentIds

    @property
    def emptied(self) -> list[str]:
        """Names of the segments that were overwritten until nothing of them was left."""
        return self._writer.emptied

    def masked(self) -> list[str]:
        """Say in a sentence each, if so, that the editable area kept out a part of the mask, and kept others in."""
        return [said for said in (self._tellMaskedOut(), _tellKept(self._writer)) if said]

    def _tellMaskedOut(self) -> str:
        count = self._writer.written.maskedOut
        if not count:
            return ""
        one = _("1 voxel of the mask lies outside the editable area ({area}).")
        text = one if count == 1 else _("{count} voxels of the mask lie outside the editable area ({area}).")
        return text.format(count=count, area=self._writer.restriction)

    def _change(self, index: int, direction: str, mask: Bools) -> float:
        """1 - Dice with the slice this one was propagated from; of what three axes say as before they were asked."""
        if direction == THREE:
            return self.reviews[index].change if index in self.reviews else 0.0
        if direction not in STEPS:
            self._prompted[index] = mask
            return 0.0
        source = index - STEPS[direction]
        latest, before = self._latest.get(direction, (source, None))
        self._latest[direction] = index, mask
        if latest != source or before is None:
            before = self._prompted.get(source)
        return changeFrom(before, mask)


class Running:
    """Writes the steps of a run into its segments, by the worker's object. One undo state holds all of it.

    `outlook` is what there is to be done, as far as that is known. The worker plans on to the range's end where the
    outlook has the slices that were drawn before; so it holds until the run has gone further than that.
    """

    def __init__(
        self,
        runs: Mapping[int, SegmentRun],
        outlook: Outlook | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runs = runs
        self._clock = clock
        self._expected = None if outlook is None else outlook.secondsOfLook
        self._before = self._done = 0
        self._planned = outlook.looks if outlook and self._expected else 0
        self._reach = self._planned if outlook and not outlook.isAtMost else 0
        self._first: tuple[int, float] | None = None  # slices done at the first report of any, and its time

    def write(self, step: Step, ahead: int = 0) -> Progress:
        """Write the step's masks into their slice; about `ahead` slices are in requests still to be made."""
        for answer in step.answers:
            if answer.object_id in self.runs:
                self.runs[answer.object_id].write(step.slice_index, step.direction, answer)
        if step.done:
            self._done, self._planned = self._before + step.done, self._before + step.planned + ahead
            self._first = self._first or (self._done, self._clock())
        return self.progress

    def nextRequest(self) -> None:
        """The steps that follow are those of another request, which count from 0 again."""
        self._before = self._done

    @property
    def progress(self) -> Progress:
        """How far it is. The clock runs from the first slice on: before it a model may have had to be opened."""
        looks, seconds = self._sinceFirst()
        rate = looks / seconds if looks and seconds > 0 else None
        planned = min(self._planned, self._reach) if 0 < self._reach >= self._done else self._planned
        ofLook, left = secondsOfLook(self._expected, looks, seconds), max(planned - self._done, 0)
        return Progress(self._done, planned, rate, None if ofLook is None else left * ofLook)

    @property
    def done(self) -> int:
        """Slices done, as of `Progress`."""
        return self._done

    @property
    def changed(self) -> set[str]:
        """The segments that were changed, the runs' own and those they overwrote."""
        return {segmentId for run in self.runs.values() for segmentId in run.changed}

    def end(self) -> None:
        """Keep what is written."""
        for run in self.runs.values():
            run.end()

    def summary(self, results: Sequence[Propagated], volumeMl: float, stops: Collection[str]) -> str:
        """What came of it in a line; `stops` are the reasons why directions ended."""
        drawn = {(run.stack, index) for run in self.runs.values() for index in run.reviews}
        slices = _("1 slice") if len(drawn) == 1 else _("{count} slices").format(count=len(drawn))
        text = _("{slices}, {volume}, {seconds:.1f} s.").format(
            slices=slices, volume=milliliters(volumeMl), seconds=sum(result.seconds for result in results)
        )
        cancelled = any(result.cancelled for result in results)
        ends = [_("Canceled.")] if cancelled else [f"{one[:1].upper()}{one[1:]}." for one in sorted(stops)]
        emptied = tellEmptied(name for run in self.runs.values() for name in run.emptied)
        return " ".join(
            [text, *ends, *(said for run in self.runs.values() for said in run.masked()), *filter(None, [emptied])]
        )

    def _sinceFirst(self) -> tuple[int, float]:
        if self._first is None:
            return 0, 0.0
        done, began = self._first
        return self._done - done, self._clock() - began


def whyEmpty(sliceIndex: int, writer: SliceWriter, window: str) -> str:
    """Say why a segment marks nothing on a slice after its preview, in a `window` of this name, was written."""
    if writer.written.maskedOut:
        return _("The mask lies outside the editable area ({area}).").format(area=writer.restriction)
    text = _("Nothing found here on slice {index}. Try a box, or another window (now: {window}).")
    return text.format(index=sliceIndex, window=window)
