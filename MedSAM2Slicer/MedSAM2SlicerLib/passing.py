"""One pass of the worker over one or several segments: from the undo state before it to the notes that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medsam2_core.run.prompts import RunObject
from medsam2_core.run.stack import SliceStack
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import Propagated, Step
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.recording import Recording
from MedSAM2SlicerLib.running import Progress, Running, SegmentRun
from MedSAM2SlicerLib.runrecord import noteCut, removeRun
from MedSAM2SlicerLib.segments import segmentVolumeMl
from MedSAM2SlicerLib.segmentwork import SegmentWork
from MedSAM2SlicerLib.slicestates import SliceReview
from MedSAM2SlicerLib.target import Target
from MedSAM2SlicerLib.volumeinuse import VolumeInUse


class Pass:
    """Segments `works`, which are `objects` of the worker, on their way through slices span[0] <= index < span[1]."""

    def __init__(
        self,
        target: Target,
        volume: VolumeInUse,
        options: RunOptions,
        works: Sequence[SegmentWork],
        objects: Sequence[RunObject],
        span: tuple[int, int],
        stop: StopRules,
    ) -> None:
        self.works = works
        self._target, self._span = target, span
        self._keepsOthers = {work.objectId: work.states.hasPropagatedOutside(*span) for work in works}
        self._recording = Recording(volume, options, span, stop)
        self._objects = {item.segment.label: item for item in objects}
        self._running = Running(
            {
                work.objectId: SegmentRun(
                    target.writer(volume, options.stack, work.segmentId),
                    options.stack.axis,
                    span,
                    work.states.kept(),
                    set(work.states.slices),
                )
                for work in works
            }
        )

    @property
    def objectIds(self) -> list[int]:
        """The objects that run."""
        return [work.objectId for work in self.works]

    def write(self, step: Step) -> Progress:
        """Write a step into its segments. Raises VolumeError if one is gone."""
        return self._running.write(step)

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """What is known of a segment's slices while the pass runs."""
        run = self._running.runs.get(work.objectId)
        drawn = {} if run is None else run.reviews
        return {**work.states.slices, **{index: one for index, one in drawn.items() if index not in work.states.kept()}}

    def finish(self, result: Propagated, model: Mapping[str, Any] | None) -> str:
        """Note on the segmentation what came of it; returns that in a line. `model`: the worker's facts about it."""
        for work in self.works:
            record = next((one for one in result.objects if one.object_id == work.objectId), None)
            run = self._running.runs[work.objectId]
            if record is None:
                run.end()
                continue
            continues = work.isKnownToWorker
            reviews = run.finish(record)
            drawn = {index: one for index, one in reviews.items() if index in run.reviews}
            if result.cancelled:
                work.noteSteps(drawn)
            else:
                work.noteRun(reviews, *self._span)
            work.stops.update(record.stopped)
            thing, keeps = self._objects[work.objectId], self._keepsOthers[work.objectId]
            node = self._target.segmentationNode
            self._recording.save(node, work.segmentId, model, result, thing, keeps, continues)
            work.remember()
        self._target.rememberOthers(self.works)
        return self._running.summary(result, self._volumeMl())

    def breakOff(self) -> None:
        """Keep what is drawn; a record of earlier runs does not tell the segment's story any more."""
        self._running.end()
        for work in self.works:
            drawn = self._running.runs[work.objectId].reviews
            if drawn:
                removeRun(self._target.segmentationNode, work.segmentId)
            work.noteSteps(drawn)
            work.remember()
        self._target.rememberOthers(self.works)

    def _volumeMl(self) -> float:
        node = self._target.segmentationNode
        return sum(segmentVolumeMl(node, work.segmentId) for work in self.works)


class Redraw:
    """The slices of one segment, drawn anew from what the worker has kept, at a `cut`: threshold and smoothing (mm).

    It `isStep` for undo of its own, or goes with the propagation that it follows.
    """

    def __init__(
        self,
        target: Target,
        volume: VolumeInUse,
        work: SegmentWork,
        stack: SliceStack,
        cut: tuple[float, float],
        isStep: bool,
    ) -> None:
        self._target, self._work, self._cut = target, work, cut
        span = (0, volume.slicing(stack).count)
        writer = target.writer(volume, stack, work.segmentId, isStep)
        self._run = SegmentRun(writer, stack.axis, span, work.states.kept(), set())
        self._running = Running({work.objectId: self._run})

    def write(self, step: Step) -> Progress:
        """See `Pass.write`."""
        return self._running.write(step)

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """See `Pass.reviews`."""
        return work.states.slices

    def finish(self, result: Propagated, _model: Mapping[str, Any] | None) -> str:
        """Note the areas; there is nothing to say of it."""
        for record in result.objects:
            self._work.noteAreas(self._run.finish(record))
        noteCut(self._target.segmentationNode, self._work.segmentId, *self._cut)
        self._leave()
        return ""

    def breakOff(self) -> None:
        """Keep what is drawn."""
        self._run.end()
        self._leave()

    def _leave(self) -> None:
        self._work.remember()
        self._target.rememberOthers([self._work])
