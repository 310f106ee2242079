"""Segments drawn again from what the worker has kept, which is a `driving.Run` of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medsam2_core.worker.results import Propagated, Step
from MedSAM2SlicerLib.record.runrecord import noteCut
from MedSAM2SlicerLib.scene.cut import Cut, drawingOf
from MedSAM2SlicerLib.scene.slicereview import SliceReview
from MedSAM2SlicerLib.signal import Slot
from MedSAM2SlicerLib.work.meanwhile import Drawn, Meanwhile
from MedSAM2SlicerLib.work.passing import Leg, OpenSession
from MedSAM2SlicerLib.work.running import Progress, Running, SegmentRun
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.client import WorkerClient


class Redraw:
    """Segments redrawn from what the worker has kept, at a `cut`.

    Each has a leg of its own, through all of its slices, the one `near` first. It `isStep` for undo of its own, or goes
    with the propagation before.
    """

    def __init__(
        self,
        target: Target,
        legs: Sequence[Leg],
        openSession: OpenSession,
        cut: Cut,
        isStep: bool,
        near: int | None,
    ) -> None:
        self._near = near
        self.works = [work for leg in legs for work in leg.works]
        self._target, self._openSession, self._cut, self._left = target, openSession, cut, list(legs)
        self._leg: Leg | None = None  # that was asked for last
        self._running = Running(
            {
                work.objectId: SegmentRun(
                    target.writer(leg.lane.volume, work.segmentId, isStep),
                    work.stack,
                    work.keeps,
                    set(),
                )
                for leg in legs
                for work in leg.works
            }
        )
        self._meanwhile = Meanwhile(target, legs[0].lane.volume, lambda: self.works, self._drawnOf)

    @property
    def goesOn(self) -> bool:
        """Whether another segment follows the one that was settled last."""
        return bool(self._left)

    def ask(self, client: WorkerClient, onStep: Slot, onDone: Slot, onError: Slot) -> Call:
        """Have the worker draw the next one."""
        self._leg = leg = self._left[0]
        (objectId,) = leg.objectIds
        session, drawing = self._openSession(leg.lane.options), drawingOf(self._cut)
        return client.redraw(session, leg.lane.objects, objectId, drawing, onStep, onDone, onError, self._near)

    def write(self, step: Step) -> Progress:
        """See `Pass.write`."""
        with self._meanwhile.ours():
            return self._running.write(step)

    def whyOver(self) -> str:
        """See `Pass.whyOver`."""
        return self._meanwhile.whyOver()

    def lookForEdits(self) -> None:
        """See `Meanwhile.lookForEdits`."""
        self._meanwhile.lookForEdits()

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """See `Pass.reviews`."""
        return work.seen({})

    def settle(self, result: Propagated, _model: Mapping[str, Any] | None) -> None:
        """Note the areas."""
        leg = self._left.pop(0)
        (work,) = leg.works
        for record in result.objects:
            with self._meanwhile.ours():
                reviews = self._running.runs[work.objectId].settle(record, *leg.span)
            work.noteCut(reviews, self._cut)
        noteCut(self._target.segmentation, work.segmentId, drawingOf(self._cut))
        if result.cancelled:
            self._left.clear()

    def finish(self) -> str:
        """Keep what is drawn; there is nothing to say of it."""
        self.breakOff()
        return ""

    def breakOff(self) -> None:
        """Keep what is drawn."""
        self._meanwhile.end()
        self._running.end()
        self._target.remember(self.works, self._running.changed)

    def _drawnOf(self, work: SegmentWork) -> Drawn:
        """Nothing of a segment that counts as drawn while there is more to come."""
        leg = self._leg
        return ({}, 0, 0) if leg is None or work not in leg.works else ({}, *leg.span)
