"""The runs of a record, repeated in one session of the worker; see `driving.Run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from medsam2_core.run.prompts import RunObject
from medsam2_core.run.sequence import PlacedRun
from medsam2_core.run.settings import RunSettings, usual
from medsam2_core.worker.results import ObjectAnswer, Propagated, Step
from MedSAM2SlicerLib.record.runrecord import saveRun
from MedSAM2SlicerLib.scene.oblique import masksOn
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicemasks import SliceWriter
from MedSAM2SlicerLib.scene.slicereview import SliceReview, reviewAnswer, reviewRecord
from MedSAM2SlicerLib.signal import Slot
from MedSAM2SlicerLib.work.meanwhile import Drawn, Meanwhile
from MedSAM2SlicerLib.work.running import Progress
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.client import WorkerClient


@dataclass(frozen=True)
class ReplaySegment:
    """A segment that is made again."""

    target: Target
    writer: SliceWriter


@dataclass(frozen=True)
class _Request:
    """One thing to ask the worker for, and what becomes of its result."""

    ask: Callable[[WorkerClient, Slot, Slot, Slot], Call]
    settle: Callable[[Any], object]


class ReplayRun:
    """Propagates as often as was propagated, then draws what is left to draw, and stores all as the segments' records.

    What was known of the segments does not count, but slices that somebody changes meanwhile are left alone. `settings`
    are those that the runs share. `session` is the worker's; its objects go into `segments`, by label.
    """

    def __init__(
        self,
        session: str,
        volume: SlicedVolume,
        runs: Sequence[PlacedRun],
        settings: RunSettings,
        segments: Mapping[int, ReplaySegment],
        voxelsSha256: str,
    ) -> None:
        self._session, self._volume, self._runs, self._settings = session, volume, runs, settings
        self._segments, self._voxelsSha256 = segments, voxelsSha256
        self._results: list[Propagated] = []
        self._model: Mapping[str, Any] = {}
        self._left = [*map(self._propagation, runs), *self._outside(), *self._cuts()]
        self._works = {label: segment.target.work(volume) for label, segment in segments.items()}
        self._drawn: dict[str, dict[int, SliceReview]] = {work.segmentId: {} for work in self._works.values()}
        for label, segment in segments.items():
            self._works[label].startOver()
            segment.writer.begin()
        target = next(iter(segments.values())).target
        self._meanwhile = Meanwhile(target, volume, lambda: [*self._works.values()], self._drawnOf)

    @property
    def goesOn(self) -> bool:
        """Whether there is another request to make."""
        return bool(self._left)

    def ask(self, client: WorkerClient, onStep: Slot, onDone: Slot, onError: Slot) -> Call:
        """Make the next request."""
        return self._left[0].ask(client, onStep, onDone, onError)

    def write(self, step: Step) -> Progress:
        """Write a step; the slices of all runs are counted."""
        self._draw(step.slice_index, step.direction, step.answers)
        place = len(self._results)
        before, after = (
            sum(one.expected_slices for one in part) for part in (self._runs[:place], self._runs[place + 1 :])
        )
        return Progress(before + step.done, before + step.planned + after, None, None)

    def settle(self, result: Any, model: Mapping[str, Any] | None) -> None:
        """Take a result."""
        self._model = model or {}
        self._left.pop(0).settle(result)

    def finish(self) -> str:
        """Keep what is drawn and store the records; there is nothing to say of it."""
        with self._meanwhile.ours():
            self._empty(self._results[-1])
        self.breakOff()
        self._save()
        self._noteSlices()
        return ""

    def breakOff(self) -> None:
        """Keep what is drawn."""
        self._meanwhile.end()
        for segment in self._segments.values():
            segment.writer.end()

    def _propagation(self, run: PlacedRun) -> _Request:
        def ask(client: WorkerClient, *slots: Slot) -> Call:
            onStep, onDone, onError = slots
            return client.propagate(
                self._session, run.objects, onStep=onStep, onDone=onDone, onError=onError, **run.settings
            )

        return _Request(ask, self._results.append)

    def _outside(self) -> list[_Request]:
        """Slices that prompts changed where no later run went."""
        last = self._runs[-1]
        prompted = {index for run in self._runs for item in run.objects for index in item.slices}
        return [self._prediction(index, last.objects) for index in sorted(prompted - set(range(last.first, last.last)))]

    def _prediction(self, index: int, objects: Sequence[RunObject]) -> _Request:
        def ask(client: WorkerClient, _onStep: Slot, onDone: Slot, onError: Slot) -> Call:
            return client.predict(self._session, index, objects, onDone, onError)

        return _Request(ask, partial(self._draw, index, "prompt"))

    def _cuts(self) -> list[_Request]:
        """All drawn again as the record tells, if that is not how a propagation draws."""
        return [] if self._settings.of("drawing") == usual("drawing") else list(map(self._cut, self._segments))

    def _cut(self, label: int) -> _Request:
        def ask(client: WorkerClient, *slots: Slot) -> Call:
            onStep, onDone, onError = slots
            objects, drawing = self._runs[-1].objects, self._settings.of("drawing")
            return client.redraw(self._session, objects, label, drawing, onStep, onDone, onError)

        return _Request(ask, lambda _result: None)

    def _draw(self, index: int, direction: str, answers: Sequence[ObjectAnswer]) -> None:
        axis = self._volume.stack.axis
        with self._meanwhile.ours():
            for answer in answers:
                work, writer = self._works[answer.object_id], self._segments[answer.object_id].writer
                if not work.keeps(index):
                    writer.writeSlices({index: answer.mask.full(writer.sliceShape(axis))}, axis)
                    self._drawn[work.segmentId][index] = reviewAnswer(index, answer, direction)

    def _drawnOf(self, work: SegmentWork) -> Drawn:
        """What is drawn of a segment: through which slices the runs go is not told, as they are none of the scene's."""
        return self._drawn[work.segmentId], 0, 0

    def _empty(self, result: Propagated) -> None:
        """Empty the slices that runs gave up, and those that held something else before."""
        for record in result.objects:
            drawn = {one.slice_index for one in record.slices}
            segment, work = self._segments[record.object_id], self._works[record.object_id]
            masks = masksOn(self._volume, segment.target.segmentation, segment.target.segmentId)
            gone = sorted(index for index in masks.prints().keys() - drawn if not work.keeps(index))
            segment.writer.writeSlices(dict.fromkeys(gone), self._volume.stack.axis)

    def _noteSlices(self) -> None:
        """Have the scene know where the slices come from, and what others lost to them."""
        for run, result in zip(self._runs, self._results, strict=True):
            for record in result.objects:
                self._works[record.object_id].noteRun(reviewRecord(record), run.first, run.last)
        for segment in self._segments.values():
            segment.target.remember([*self._works.values()], segment.writer.written.segmentIds)

    def _save(self) -> None:
        settings = self._settings.of_model(self._model)
        for place, (run, result) in enumerate(zip(self._runs, self._results, strict=True)):
            for item in run.objects:
                target = self._segments[item.segment.label].target
                saveRun(
                    target.segmentation,
                    target.segmentId,
                    self._volume.node,
                    replace(settings, **run.settings),
                    item.prompts,
                    result,
                    item.segment.label,
                    self._voxelsSha256,
                    continues=place > 0,
                )
