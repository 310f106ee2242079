"""One pass of the worker over one or several segments: from the undo state before it to the notes that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsam2_core.run.prompts import RunObject
from medsam2_core.run.stack import SliceStack
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import ObjectRecord, Propagated, Step
from MedSAM2SlicerLib.calls import Call
from MedSAM2SlicerLib.client import WorkerClient
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.recording import Recording
from MedSAM2SlicerLib.running import Progress, Running, SegmentRun
from MedSAM2SlicerLib.runrecord import noteCut
from MedSAM2SlicerLib.segments import segmentVolumeMl
from MedSAM2SlicerLib.segmentwork import SegmentWork
from MedSAM2SlicerLib.signal import Slot
from MedSAM2SlicerLib.slicestates import SliceReview
from MedSAM2SlicerLib.target import Target
from MedSAM2SlicerLib.volumeinuse import VolumeInUse


@dataclass(frozen=True)
class Leg:
    """A part of a pass: these segments on their way through slices span[0] <= index < span[1]."""

    span: tuple[int, int]
    works: Sequence[SegmentWork]

    @property
    def objectIds(self) -> list[int]:
        """The worker's objects that run."""
        return [work.objectId for work in self.works]

    @property
    def size(self) -> int:
        """About so many slices are drawn."""
        return (self.span[1] - self.span[0]) * len(self.works)


def planLegs(works: Sequence[SegmentWork], span: tuple[int, int]) -> list[Leg]:
    """Plan a pass of several segments within a range: its parts, each with those that are to go through its slices."""
    found: dict[tuple[int, int], list[SegmentWork]] = {}
    for work in works:
        for part in work.states.intervals(*span):
            found.setdefault(part, []).append(work)
    return [Leg(part, found[part]) for part in sorted(found)]


class Pass:
    """Segments, which are `objects` of the worker, on their way through `legs`, one after the other.

    Each leg is a run of its own, for the worker and in the records. One undo state holds all of them.
    """

    def __init__(
        self,
        target: Target,
        volume: VolumeInUse,
        options: RunOptions,
        legs: Sequence[Leg],
        objects: Sequence[RunObject],
        stop: StopRules,
    ) -> None:
        self._target, self._volume, self._options, self._objects, self._stop = target, volume, options, objects, stop
        self._legs, self._results = list(legs), list[Propagated]()
        self._works = {work.objectId: work for leg in legs for work in leg.works}
        self._recording = Recording(volume, options, stop)
        target.noticeOthers(self.works)
        self._running = Running(
            {
                work.objectId: SegmentRun(
                    target.writer(volume, options.stack, work.segmentId),
                    options.stack.axis,
                    work.states.kept(),
                    set(work.states.slices),
                )
                for work in self._works.values()
            }
        )

    @property
    def works(self) -> list[SegmentWork]:
        """The segments, but for those that were removed meanwhile."""
        return self._present(list(self._works.values()))

    @property
    def goesOn(self) -> bool:
        """Whether another leg follows the one that was settled last."""
        return bool(self._legs) and not self._results[-1].cancelled

    def ask(self, client: WorkerClient, session: str, *slots: Slot) -> Call:
        """Have the worker go through the next leg."""
        leg, direction = self._legs[0], self._options.direction
        return client.propagate(session, self._objects, *leg.span, direction, self._stop, *slots, only=leg.objectIds)

    def write(self, step: Step) -> Progress:
        """Write a step into its segments. Raises VolumeError if one is gone."""
        return self._running.write(step, ahead=sum(leg.size for leg in self._legs[1:]))

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """What is known of a segment's slices while the pass runs."""
        run = self._running.runs.get(work.objectId)
        drawn = {} if run is None else run.reviews
        return {**work.states.slices, **{index: one for index, one in drawn.items() if index not in work.states.kept()}}

    def settle(self, result: Propagated, model: Mapping[str, Any] | None) -> None:
        """Note on the segmentation what came of a leg; `model` are the worker's facts about it."""
        leg = self._legs.pop(0)
        self._results.append(result)
        self._running.nextRequest()
        records = {record.object_id: record for record in result.objects}
        for work in self._present(leg.works):
            if work.objectId in records:
                self._settle(work, leg.span, records[work.objectId], model)

    def finish(self) -> str:
        """Keep what is drawn; returns what came of it in a line."""
        self._running.end()
        self._remember()
        return self._running.summary(self._results, self._volumeMl())

    def breakOff(self) -> None:
        """Keep what is drawn; no record can tell of it, since the worker may have gone further."""
        self._running.end()
        for leg in self._legs[:1]:
            first, last = leg.span
            for work in self._present(leg.works):
                drawn = self._running.runs[work.objectId].reviews
                work.noteBrokenOff({index: drawn[index] for index in drawn if first <= index < last}, first, last)
        self._remember()

    def _settle(
        self, work: SegmentWork, span: tuple[int, int], record: ObjectRecord, model: Mapping[str, Any] | None
    ) -> None:
        run, result = self._running.runs[work.objectId], self._results[-1]
        continues, keepsOthers = work.isKnownToWorker, work.states.hasPropagatedOutside(*span)
        reviews = run.settle(record, *span)
        if result.cancelled:
            work.noteSteps(run.reviews)
        else:
            work.noteRun(reviews, *span)
        work.stops.update(record.stopped)
        thing = next(one for one in self._objects if one.segment.label == work.objectId)
        self._target.noteWindow(self._volume.node, self._recording.window)
        node = self._target.segmentationNode
        if not self._recording.save(node, work.segmentId, model, result, thing, span, keepsOthers, continues):
            work.states.noteUntold(work.states.slices)

    def _present(self, works: Sequence[SegmentWork]) -> list[SegmentWork]:
        """Those whose segment was not removed meanwhile."""
        segmentIds = self._target.segmentIds()
        return [work for work in works if work.segmentId in segmentIds]

    def _remember(self) -> None:
        self._target.remember(self.works, self._running.changed)

    def _volumeMl(self) -> float:
        node = self._target.segmentationNode
        return sum(segmentVolumeMl(node, work.segmentId) for work in self.works)


class Redraw:
    """Segments drawn anew, one after the other, from what the worker has kept, at a `cut`: threshold, smoothing (mm).

    It `isStep` for undo of its own, or goes with the propagation before.
    """

    def __init__(
        self,
        target: Target,
        volume: VolumeInUse,
        works: Sequence[SegmentWork],
        objects: Sequence[RunObject],
        stack: SliceStack,
        cut: tuple[float, float],
        isStep: bool,
    ) -> None:
        self.works = works
        self._target, self._objects = target, objects
        self._cut, self._count = cut, volume.slicing(stack).count
        self._left = list(works)
        self._running = Running(
            {
                work.objectId: SegmentRun(
                    target.writer(volume, stack, work.segmentId, isStep), stack.axis, work.states.kept(), set()
                )
                for work in works
            }
        )

    @property
    def goesOn(self) -> bool:
        """Whether another segment follows the one that was settled last."""
        return bool(self._left)

    def ask(self, client: WorkerClient, session: str, *slots: Slot) -> Call:
        """Have the worker draw the next one."""
        return client.redraw(session, self._objects, self._left[0].objectId, *self._cut, *slots)

    def write(self, step: Step) -> Progress:
        """See `Pass.write`."""
        return self._running.write(step)

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """See `Pass.reviews`."""
        return work.states.slices

    def settle(self, result: Propagated, _model: Mapping[str, Any] | None) -> None:
        """Note the areas."""
        work = self._left.pop(0)
        for record in result.objects:
            work.noteAreas(self._running.runs[work.objectId].settle(record, 0, self._count))
        noteCut(self._target.segmentationNode, work.segmentId, *self._cut)
        if result.cancelled:
            self._left.clear()

    def finish(self) -> str:
        """Keep what is drawn; there is nothing to say of it."""
        self.breakOff()
        return ""

    def breakOff(self) -> None:
        """Keep what is drawn."""
        self._running.end()
        self._target.remember(self.works, self._running.changed)
