"""What the worker does for a controller: previews of slices, and runs through many of them, one request at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from medsam2_core.directions import AXES
from medsam2_core.errors import Cancelled, MedSAM2Error, PromptError, VolumeError, WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.worker.results import ObjectAnswer, Step
from MedSAM2SlicerLib.controllersignals import ControllerSignals
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.cut import Cut
from MedSAM2SlicerLib.scene.fitting import whyMoved
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicereview import SliceReview, reviewAnswer
from MedSAM2SlicerLib.work.awaited import Awaited, Look, Looks, goThrough, mayDraw, ownLook
from MedSAM2SlicerLib.work.driving import drive
from MedSAM2SlicerLib.work.pace import Outlook, Paces, outlook
from MedSAM2SlicerLib.work.passing import Leg, Pass, nearestFirst
from MedSAM2SlicerLib.work.planning import Plan
from MedSAM2SlicerLib.work.redraw import Redraw
from MedSAM2SlicerLib.work.running import Progress, tellWritten, whyEmpty
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.workplace import Workplace
from MedSAM2SlicerLib.worker.callqueue import State
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.conversation import Conversation

_QUICK = 1000.0  # milliseconds of a look, that a click elsewhere may have to wait for at most
_IMAGE_SIZE = 512


class Runner:
    """Asks the worker and draws what it answers into the segments of a workplace; signals report errors."""

    def __init__(self, client: WorkerClient, workplace: Workplace, signals: ControllerSignals, paces: Paces) -> None:
        self._client, self._workplace, self._signals, self._paces = client, workplace, signals, paces
        self._talk = Conversation()
        self._run: Pass | Redraw | None = None
        self._isInterrupted = False
        self._awaited = Awaited()
        self.isLive = False
        """Whether a propagation of one segment makes way for the next prompt; see `live`."""
        self._ran: Sequence[SegmentWork] = ()  # of the last run that came to its end

    @property
    def busy(self) -> bool:
        """Whether a propagation is running."""
        return self._run is not None

    @property
    def waits(self) -> bool:
        """Whether an answer of the worker is still to come."""
        return self._talk.waits

    @property
    def previews(self) -> Looks:
        """The slices that were clicked on and are still to be drawn."""
        return self._awaited.left(self._drawn)

    @property
    def imageSize(self) -> int:
        """Side of the model's input in pixels; before the model was opened, of most models."""
        return int((self._client.modelFacts or {}).get("image_size") or _IMAGE_SIZE)

    @property
    def slicesInView(self) -> tuple[Any, ...]:
        """What a slice's index hangs on, to be compared."""
        node = self._workplace.volume.node  # by its ID: whoever keeps this must not keep the volume
        return node and node.GetID(), self._workplace.target.segmentId, self._workplace.options

    @property
    def looksAhead(self) -> bool:
        """Whether it pays to see a slice ahead of a prompt: with a model that sees whole slices, known to be quick.

        Not while the worker does anything, for anybody, since a click would have to wait for all that was asked before.
        """
        isAtRest = self._client.isReady and self._client.state is State.READY and not (self.busy or self.waits)
        if not (isAtRest and self._seesWhole):
            return False
        pace = self._paces.pace(self._workplace.options).first
        return pace is not None and pace <= _QUICK

    def whyBusy(self) -> str:
        """Return why to wait while a propagation runs; empty if none does."""
        return _("A propagation is running. Stop it first (Esc).") if self.busy else ""

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """Return what is known of a segment's slices, those included that a run draws at this moment."""
        return work.seen({}) if self._run is None else self._run.reviews(work)

    def preview(self, sliceIndex: int | None) -> None:
        """Draw the prompts' answer on a slice, None for none. While the worker is busy it waits for its turn."""
        if sliceIndex is not None:
            work = self._workplace.work()
            self.previewAgain({sliceIndex: ownLook(work, sliceIndex)})

    def previewAgain(self, previews: Looks) -> None:
        """Draw slices that were to be drawn, as `preview` does."""
        self._awaited.add(previews)
        self._goOn()

    def previewIn(self, sliceIndex: int, volume: SlicedVolume, work: SegmentWork) -> None:
        """As `preview`, with the volume and the segment at work, for those who have looked them up."""
        look = ownLook(work, sliceIndex)
        if self.busy or self.waits:
            self._awaited.add({sliceIndex: look})
            return
        with self._signals.telling():
            self._predict(sliceIndex, look, volume, work)

    def dropPreview(self, indexes: Collection[int] | None = None) -> None:
        """Forget previews that are on their way, or wait for their turn: they would draw slices again.

        Those of these slices, None for all. `previewAgain` goes on with the others.
        """
        left = {} if indexes is None else {index: one for index, one in self.previews.items() if index not in indexes}
        if self.busy:
            self._awaited.forget(self.previews.keys() - left.keys())
        elif len(left) < len(self.previews):
            self.abandon()
            self._awaited.add(left)

    def outlook(self, works: Sequence[SegmentWork]) -> Outlook:
        """Return what a propagation of segments has before it. Raises VolumeError without a usable volume."""
        return self._outlook(self._workplace.plan(), works)

    def propagate(self, works: Sequence[SegmentWork], near: int | None = None) -> None:
        """Carry segments through their intervals, the one `near` a slice first.

        Raises MedSAM2Error if there is nothing to go from.
        """
        self._signals.starting.emit()
        if not works:
            raise PromptError(_("No segment has a prompt: click on the object or draw a box first."))
        plan = self._workplace.plan()
        self._workplace.look(plan.chosen.window, works)
        previews = self.previews
        work = self._workplace.work() if previews else None
        if work is not None:
            goThrough(work, previews, {item.sliceIndex for item in self._workplace.prompts()})
        legs, ahead = plan.legs(works, self._workplace.volume.sliced), self._outlook(plan, works)
        self.abandon()
        target, isTentative = self._workplace.target, self.isLive and len(works) == 1
        run = Pass(target, self._workplace.volume, nearestFirst(legs, near), self._openSession, isTentative, ahead)
        target.closeStep()
        if previews:
            outside = self._outside(legs, previews)
            self._awaited.ask({index: look for index, look in previews.items() if index not in outside})
            self._awaited.add(outside)
        self._start(run)

    def warm(self, sliceIndex: int) -> None:
        """Have the worker open the volume and see a slice ahead of the first prompt, if it is at rest."""
        volume = None if self.busy or self.waits else self._workplace.slicedIfUsable()
        if volume is not None and 0 <= sliceIndex < volume.slicing.count:
            session = self._openSession(self._workplace.plan().chosen.along(volume.stack))
            self._client.look(session, sliceIndex)

    def redraw(self, works: Sequence[SegmentWork], cut: Cut, isStep: bool, near: int | None = None) -> None:
        """Redraw segments from what the worker has kept, the slice `near` first. Raises MedSAM2Error if it is gone."""
        awaited = self.previews
        self.abandon()
        try:
            plan = self._workplace.plan()
            self._workplace.look(plan.chosen.window, works)
            legs = plan.legsToRedraw(works, self._workplace.volume.sliced)
            self._start(Redraw(self._workplace.target, legs, self._openSession, cut, isStep, near))
        finally:
            self.previewAgain(awaited)  # when it is over

    @property
    def ran(self) -> Sequence[SegmentWork]:
        """The segments of the last run that came to its end."""
        return self._ran

    def stop(self) -> None:
        """End a run after the current slice; what is drawn stays, and what was clicked is drawn."""
        later = self._later
        self._stop(keep=True)
        if not (self.busy or self.waits):  # the worker had not begun, or nothing more was to come from it
            self.previewAgain(later)

    def interrupt(self) -> None:
        """End a run that makes way: a prompt has come, and the propagation begins again with it."""
        run = self._tentative
        if run is not None and not self._isInterrupted:
            self._isInterrupted = True
            run.makeWay()
            self._stop(keep=False)

    @property
    def makesWay(self) -> bool:
        """Whether a run is going on that makes way for the next prompt."""
        return self._tentative is not None

    def makeWay(self) -> None:
        """End a run that makes way at once; what it has drawn stays."""
        if self.makesWay:
            self.abandon()

    def lookForEdits(self) -> None:
        """Look at what others have done during a run."""
        if self._run is not None and not self._gaveUp():
            self._run.lookForEdits()

    def _gaveUp(self) -> bool:
        """Give up a run that makes way if somebody has undone what it drew; returns whether that is so."""
        run = self._tentative
        if run is None or not (self._workplace.edits.isForeignTravel and run.isUndone):
            return False
        self._leave()
        self._run = None
        run.giveUp()
        self._tellEnd()
        self._signals.undone.emit()
        return True

    def lookForMoves(self) -> None:
        """End a run whose volume was moved, or that cannot write for another such reason, and say why."""
        if self._run is not None and (whyOver := self._run.whyOver()):
            self.failed(VolumeError(whyOver))

    def abandon(self) -> bool:
        """Cancel what is on its way and forget it; whether that was a run. What it has drawn stays."""
        self._leave()
        return self._breakOff()

    def stepped(self, step: Step, progress: Progress) -> None:
        """See `driving.Follower`, as of the two that follow."""
        if self._isInterrupted:
            return
        self._signals.progressed.emit(progress)
        self._signals.sliceDrawn.emit(step.slice_index)

    def ended(self, summary: str) -> None:
        """The run is over: the preview that waited for that is next."""
        later = self._later
        self._awaited.clear()
        run, self._run = self._run, None
        self._ran = () if run is None else run.works
        if isinstance(run, Pass):
            self._paces.notePace(self._workplace.options, run.pace)
        self._workplace.target.noteGonePrompts(self._workplace.volume)
        isInterrupted = self._isInterrupted
        self._tellEnd()
        if summary and not isInterrupted:
            self._signals.finished.emit(summary)
        self._goOnWith(later)

    def failed(self, error: MedSAM2Error) -> None:
        """The run, or a preview, came to nothing; that it was canceled needs no words.

        The previews that waited for that are next, unless there is no worker for them.
        """
        goesOn = self._isInterrupted or not isinstance(error, Cancelled | WorkerError)
        later = self._later if goesOn else {}
        self.abandon()
        if not isinstance(error, Cancelled):
            self._signals.failed.emit(str(error))
        self._goOnWith(later)

    @property
    def _tentative(self) -> Pass | None:
        """The run, if it makes way for the next prompt."""
        return self._run if isinstance(self._run, Pass) and self._run.isTentative else None

    @property
    def _later(self) -> Looks:
        """What is next once the worker's request is over: what a run has not drawn of what it was to draw, too."""
        return self.previews if self.busy else self._awaited.later

    def _drawn(self) -> Collection[int]:
        """The slices of the segment at work that a run has drawn."""
        return self._run.drawn(self._workplace.target.segmentId) if isinstance(self._run, Pass) else ()

    def _stop(self, keep: bool) -> None:
        if self._talk.waits:
            self._talk.cancel(keep)
        else:  # something went wrong with the answer that was its end
            self.abandon()

    def _leave(self) -> None:
        self._awaited.clear()
        self._talk.leave()

    def _outside(self, legs: Sequence[Leg], previews: Looks) -> Looks:
        """The slices still to be drawn that no leg goes through, or may not."""
        segmentId = self._workplace.target.segmentId
        spans = [leg.span for leg in legs if segmentId in [work.segmentId for work in leg.works]]
        work = self._workplace.work()
        free = [index for index in previews if work is None or not work.states.keeps(index)]
        within = {index for index in free for first, last in spans if first <= index < last}
        return {index: look for index, look in previews.items() if index not in within}

    def _goOnWith(self, later: Looks) -> None:
        if later:
            self._awaited.first(later)
        self._goOn()

    def _goOn(self) -> None:
        """Ask for the previews that wait, one after the other, but not of slices that became the user's since."""
        while not (self.busy or self.waits) and (waiting := self._awaited.next()) is not None:
            index, before = waiting
            with self._signals.telling():
                volume = self._workplace.sliced()
                work = self._workplace.ensuredWork(volume)
                self._workplace.catchUp()
                if mayDraw(work, index, before):
                    self._predict(index, before, volume, work)

    def _predict(self, sliceIndex: int, look: Look | None, volume: SlicedVolume, work: SegmentWork) -> None:
        plan = self._workplace.plan()
        self._workplace.look(plan.chosen.window, [work])
        session = self._openSession(plan.chosen.along(volume.stack))
        work.keepStack()
        objects = plan.objects([work], volume, opened=sliceIndex)
        onDone = self._talk.current(partial(self._onPreview, work, sliceIndex, volume.geometry))
        onError = self._talk.current(self.failed)
        self._awaited.ask({sliceIndex: look})
        self._talk.ask(lambda: self._client.predict(session, sliceIndex, objects, onDone, onError))

    def _outlook(self, plan: Plan, works: Sequence[SegmentWork]) -> Outlook:
        options, sliced = self._workplace.options, self._workplace.volume.sliced
        courses = [plan.course(work, sliced(work.stack)) for work in works]
        return outlook(courses, AXES[options.directions], self._paces.pace(options), isShared=self._seesWhole)

    @property
    def _seesWhole(self) -> bool:
        """Whether the model looks at whole slices; not known before it was opened."""
        chosen = self._workplace.options.fieldOfView
        own = (self._client.modelFacts or {}).get("field_of_view")
        return (own if chosen == "auto" else chosen) == "whole"

    def _start(self, run: Pass | Redraw) -> None:
        self._run = run
        self._signals.busyChanged.emit(True)
        if isinstance(run, Pass) and run.progress.planned:
            self._signals.progressed.emit(run.progress)
        drive(run, self._client, self._talk, self, self._writing)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Enclose what a run writes. Raises Cancelled where what it wrote before was undone."""
        if self._gaveUp():
            raise Cancelled(_("Undone."))
        with self._workplace.edits.ours():
            yield

    def _openSession(self, options: RunOptions) -> str:
        return self._workplace.openSession(self._client, options)

    def _breakOff(self) -> bool:
        ended, self._run = self._run, None
        if ended is None:
            return False
        with self._workplace.edits.ours():
            ended.breakOff()
        self._tellEnd()
        return True

    def _tellEnd(self) -> None:
        self._isInterrupted = False
        self._workplace.edits.forgetOurs()
        self._signals.busyChanged.emit(False)
        self._signals.reviewed.emit()

    def _onPreview(self, work: SegmentWork, sliceIndex: int, grid: Geometry, answers: tuple[ObjectAnswer, ...]) -> None:
        self._awaited.answered()
        with self._signals.telling():
            volumeNode, segmentation = self._workplace.volume.usable, self._workplace.target.segmentation
            if whyOver := whyMoved(volumeNode, grid, segmentation):
                raise VolumeError(whyOver)
            self._workplace.catchUp()  # the slice may have become the user's since it was asked for
            for answer in answers:
                if answer.object_id == work.objectId and not work.states.keeps(sliceIndex):
                    self._drawPreview(work, sliceIndex, answer)
            self._signals.previewed.emit(sliceIndex)
            self._signals.reviewed.emit()
        self._goOn()

    def _drawPreview(self, work: SegmentWork, sliceIndex: int, answer: ObjectAnswer) -> None:
        volume = self._workplace.volume.sliced(work.stack)
        writer = self._workplace.target.write(volume, {sliceIndex: answer.mask.full(volume.slicing.shape)})
        self._signals.notice(tellWritten(writer))
        work.notePreview(reviewAnswer(sliceIndex, answer, "prompt"))
        self._workplace.remember(work)
        if not work.marks(sliceIndex):
            window = self._workplace.volume.window(self._workplace.window())
            self._signals.noticed.emit(whyEmpty(sliceIndex, writer, window.name))
