"""A propagation (a `driving.Run`) of one or several segments: from the undo state before it to the notes it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules, read_stop
from medsam2_core.worker.results import ObjectRecord, Propagated, Step
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.recording import Recording
from MedSAM2SlicerLib.scene.cut import PLAIN
from MedSAM2SlicerLib.scene.segments import segmentVolumeMl
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicereview import SliceReview
from MedSAM2SlicerLib.signal import Slot
from MedSAM2SlicerLib.work.meanwhile import Drawn, Meanwhile
from MedSAM2SlicerLib.work.pace import Outlook, Pace, measuredPace
from MedSAM2SlicerLib.work.running import Progress, Running, SegmentRun
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

Span = tuple[int, int]
"""Slices first <= index < last."""

OpenSession = Callable[[RunOptions], str]
"""Has the worker know the session that a run with these options needs; returns its key."""


@dataclass(frozen=True)
class Lane:
    """A volume's slices that a pass goes along: how, with which objects of the worker's session, when they stop."""

    volume: SlicedVolume
    options: RunOptions
    objects: Sequence[RunObject]
    stop: StopRules

    def object(self, objectId: int) -> RunObject:
        """Return one of the objects."""
        return next(one for one in self.objects if one.segment.label == objectId)


@dataclass(frozen=True)
class Leg:
    """A part of a pass: these segments on their way through slices span[0] <= index < span[1] of a lane."""

    lane: Lane
    span: Span
    works: Sequence[SegmentWork]

    @property
    def objectIds(self) -> list[int]:
        """The worker's objects that run."""
        return [work.objectId for work in self.works]

    @property
    def size(self) -> int:
        """About how many slices are drawn."""
        return (self.span[1] - self.span[0]) * len(self.works)


def nearestFirst(legs: Sequence[Leg], near: int | None) -> list[Leg]:
    """Return legs in the order of their distance to the slice `near`; None: as they are."""
    if near is None:
        return list(legs)
    return sorted(legs, key=lambda leg: max(leg.span[0] - near, near - leg.span[1] + 1, 0))


class Pass:
    """Segments on their way through `legs`, the intervals to draw, one after the other.

    Each is a run of its own, for the worker and in the records. One undo state holds all of them.
    One that `isTentative` may have to make way for the next prompt: the leg that it does so in is seen as far as it was
    drawn by then, and else as if it had never begun, so that what follows does not depend on how far the worker came.
    """

    def __init__(
        self,
        target: Target,
        volume: VolumeInUse,
        legs: Sequence[Leg],
        openSession: OpenSession,
        isTentative: bool = False,
        outlook: Outlook | None = None,
    ) -> None:
        self.isTentative = isTentative
        self._target, self._volume, self._openSession = target, volume, openSession
        self._legs, self._results = list(legs), list[Propagated]()
        self._leg: Leg | None = None  # that was asked for last
        self._stops = set[str]()  # of this pass
        self._makesWay, self._unseen = False, list[Step]()
        self._works = {work.objectId: work for leg in legs for work in leg.works}
        lanes = {leg.lane.options.stack: leg.lane for leg in legs}
        self._recordings = {stack: Recording(volume, one.options, one.stop) for stack, one in lanes.items()}
        target.noticeOthers(self.works)
        self._running = Running(
            {
                work.objectId: SegmentRun(
                    target.writer(lanes[work.stack].volume, work.segmentId),
                    work.stack,
                    work.keeps,
                    set(work.states.slices),
                )
                for work in self._works.values()
            },
            outlook,
        )
        self._meanwhile = Meanwhile(target, legs[0].lane.volume, lambda: self.works, self._drawnOf)

    @property
    def works(self) -> list[SegmentWork]:
        """The segments, except those that were removed meanwhile."""
        segmentIds = self._target.segmentIds()
        return [work for work in self._works.values() if work.segmentId in segmentIds]

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._running.progress

    @property
    def pace(self) -> Pace:
        """What it tells of the time that slices take: nothing if several segments shared it."""
        return measuredPace(self._results, self._running.done) if len(self._works) == 1 else Pace()

    @property
    def goesOn(self) -> bool:
        """Whether another leg follows the one that was settled last."""
        return bool(self._legs) and not (self._makesWay or self._results[-1].cancelled)

    def ask(self, client: WorkerClient, onStep: Slot, onDone: Slot, onError: Slot) -> Call:
        """Have the worker go through the next leg."""
        self._leg = leg = self._legs[0]
        lane = leg.lane
        session, settings, only = self._openSession(lane.options), lane.options.of("run"), leg.objectIds
        return client.propagate(
            session,
            lane.objects,
            *leg.span,
            lane.stop,
            onStep,
            onDone,
            onError,
            only=only,
            tentative=self.isTentative,
            **settings,
        )

    def write(self, step: Step) -> Progress:
        """Write a step into its segments, unless it makes way. Raises VolumeError if one is gone."""
        self._volume.work()
        if self._makesWay:
            self._unseen.append(step)
            return self.progress
        return self._draw(step)

    def makeWay(self) -> None:
        """A prompt has come: what the worker says from now on counts only if it had done all before it heard of that.

        Slices that it was ahead by were not seen, and a prompt on one of them is not a correction.
        """
        self._makesWay = True

    def whyOver(self) -> str:
        """Return why nothing more can be drawn, see `Meanwhile.whyOver`."""
        return self._meanwhile.whyOver()

    def lookForEdits(self) -> None:
        """See `Meanwhile.lookForEdits`."""
        self._meanwhile.lookForEdits()

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """What is known of a segment's slices while the pass runs."""
        run = self._running.runs.get(work.objectId)
        return work.seen({} if run is None else run.reviews)

    def drawn(self, segmentId: str) -> set[int]:
        """The slices that it has drawn of a segment."""
        runs = self._running.runs
        return {index for work in self.works if work.segmentId == segmentId for index in runs[work.objectId].reviews}

    def settle(self, result: Propagated, model: Mapping[str, Any] | None) -> None:
        """Note on the segmentation what came of a leg; `model` are the worker's facts about it."""
        for step in () if result.taken_back else self._unseen:
            self._draw(step)
        leg = self._legs.pop(0)
        self._results.append(result)
        self._running.nextRequest()
        records = {record.object_id: record for record in result.objects}
        present = self.works
        for work in leg.works:
            if result.taken_back:
                self._takeBack(work, leg)
            elif work not in present:  # undo may bring it back
                work.noteBrokenOff(self._drawnOn(leg, work), *leg.span)
            elif work.objectId in records:
                self._settle(work, leg, records[work.objectId], model)

    def finish(self) -> str:
        """Keep what is drawn; returns what came of it in a line."""
        works, node = self.works, self._target.segmentation
        self._end()
        self._target.remember([*self._works.values()], self._running.changed)
        volumeMl = sum(segmentVolumeMl(node, work.segmentId) for work in works)
        return self._running.summary(self._results, volumeMl, self._stops)

    def breakOff(self) -> None:
        """Keep what is drawn; no record can tell of it, since the worker may have gone further."""
        self._end()
        for leg in self._legs[:1]:
            for work in leg.works:
                if self.isTentative:
                    self._takeBack(work, leg)
                else:
                    work.noteBrokenOff(self._drawnOn(leg, work), *leg.span)
        self._target.remember([*self._works.values()], self._running.changed)

    @property
    def isUndone(self) -> bool:
        """Whether somebody has undone what it drew, by the look of its segments."""
        hasDrawn = any(run.reviews for run in self._running.runs.values())
        return hasDrawn and any(work.isAsRemembered for work in self.works)

    def giveUp(self) -> None:
        """Note nothing of what was drawn, which is undone: segments are as they were at an earlier look."""
        self._end()
        self._target.noticeOthers([])

    def _draw(self, step: Step) -> Progress:
        with self._meanwhile.ours():
            return self._running.write(step, ahead=sum(leg.size for leg in self._legs[1:]))

    def _end(self) -> None:
        self._meanwhile.end()
        self._running.end()

    def _takeBack(self, work: SegmentWork, leg: Leg) -> None:
        work.noteTakenBack(self._drawnOn(leg, work), *leg.span)

    def _drawnOn(self, leg: Leg, work: SegmentWork) -> dict[int, SliceReview]:
        (first, last), drawn = leg.span, self._running.runs[work.objectId].reviews
        return {index: drawn[index] for index in drawn if first <= index < last}

    def _drawnOf(self, work: SegmentWork) -> Drawn:
        """What the leg that is under way has drawn of a segment."""
        leg = self._leg
        return ({}, 0, 0) if leg is None or work not in leg.works else (self._drawnOn(leg, work), *leg.span)

    def _settle(self, work: SegmentWork, leg: Leg, record: ObjectRecord, model: Mapping[str, Any] | None) -> None:
        run, result, span = self._running.runs[work.objectId], self._results[-1], leg.span
        continues, keepsOthers = work.isKnownToWorker, work.states.hasPropagatedOutside(*span)
        keepsCut = keepsOthers and work.states.cut not in (None, PLAIN)  # a record tells of one for all slices
        with self._meanwhile.ours():
            reviews = run.settle(record, *span, isWhole=not result.cancelled)
        if result.cancelled:
            work.noteSteps(run.reviews)
        else:
            work.noteRun(reviews, *span)
        self._stops |= _stopsWithin(span, record.stopped, work.stops)
        work.stops.update(record.stopped)
        recording, thing = self._recordings[work.stack], leg.lane.object(work.objectId)
        self._target.noteWindow(self._volume.usable, recording.window)
        node = self._target.segmentation
        saved = recording.save(node, work.segmentId, model, result, thing, span, keepsOthers, continues)
        if keepsCut or not saved:
            work.states.noteUntold(work.states.slices)


def _stopsWithin(span: tuple[int, int], stopped: Mapping[str, str], before: Mapping[str, str]) -> set[str]:
    """Why directions ended on slices span[0] <= index < span[1]; `stopped` tells of earlier propagations too."""
    stops = {way: read_stop(sentence) for way, sentence in stopped.items()}
    return {
        stopped[way]
        for way, stop in stops.items()
        if (span[0] <= stop[0] < span[1] if stop else before.get(way) != stopped[way])
    }
