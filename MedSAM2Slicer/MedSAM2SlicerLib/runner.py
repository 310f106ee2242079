"""What the worker does for a controller: previews of slices, and runs through many of them, one request at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error, PromptError
from medsam2_core.worker.results import ObjectAnswer, Step
from MedSAM2SlicerLib.controllersignals import ControllerSignals
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicestates import Cut, SliceReview, reviewAnswer
from MedSAM2SlicerLib.work.driving import drive
from MedSAM2SlicerLib.work.passing import Pass, Redraw
from MedSAM2SlicerLib.work.running import Progress, tellEmptied, whyEmpty
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.workplace import Workplace
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.conversation import Conversation


class Runner:
    """Asks the worker and draws what it answers into the segments of a workplace; errors are told by signals."""

    def __init__(self, client: WorkerClient, workplace: Workplace, signals: ControllerSignals) -> None:
        self._client, self._workplace, self._signals = client, workplace, signals
        self._talk = Conversation()
        self._run: Pass | Redraw | None = None
        self._ran: Sequence[SegmentWork] = ()  # of the last run that came to its end

    @property
    def busy(self) -> bool:
        """Whether a propagation is running."""
        return self._run is not None

    @property
    def waits(self) -> bool:
        """Whether an answer of the worker is still to come."""
        return self._talk.waits

    def whyBusy(self) -> str:
        """Return why to wait while a propagation runs, nothing if none does."""
        return _("A propagation is running. Stop it first (Esc).") if self.busy else ""

    def reviews(self, work: SegmentWork) -> Mapping[int, SliceReview]:
        """Return what is known of a segment's slices, those included that a run draws at this moment."""
        return work.states.slices if self._run is None else self._run.reviews(work)

    def preview(self, sliceIndex: int | None) -> None:
        """Draw the prompts' answer on a slice, None for none. While the worker is busy only the latest slice waits."""
        if self.busy or self._talk.waits or sliceIndex is None:
            self._talk.later = sliceIndex
            return
        with self._signals.telling():
            volume = self._workplace.sliced()
            self._predict(sliceIndex, volume, self._workplace.ensuredWork(volume))

    def previewIn(self, sliceIndex: int, volume: SlicedVolume, work: SegmentWork) -> None:
        """As `preview`, with the volume and the segment at work, for those who have looked them up."""
        if self.busy or self._talk.waits:
            self._talk.later = sliceIndex
            return
        with self._signals.telling():
            self._predict(sliceIndex, volume, work)

    def dropPreview(self, indexes: Collection[int] | None = None) -> None:
        """Forget a preview that is on its way, or waits for the end of a run: it would draw a slice again.

        During a run, only if its slice is one of these; None stands for all.
        """
        if not self.busy:
            self.abandon()
        elif indexes is None or self._talk.later in indexes:
            self._talk.later = None

    def propagate(self, works: Sequence[SegmentWork]) -> None:
        """Carry segments through their intervals. Raises MedSAM2Error if there is nothing to go from."""
        if not works:
            raise PromptError(_("No segment has a prompt: click on the object or draw a box first."))
        plan = self._workplace.plan()
        self._workplace.lookAtVolume(plan.chosen.window)
        for work in works:
            work.noticeEdits(self._workplace.edits.written)
        legs = plan.legs(works, self._workplace.volume.sliced)
        self.abandon()
        self._start(Pass(self._workplace.target, self._workplace.volume, legs, self._openSession))

    def redraw(self, works: Sequence[SegmentWork], cut: Cut, isStep: bool) -> None:
        """Redraw segments from what the worker has kept. Raises MedSAM2Error if that is gone."""
        self.abandon()
        plan = self._workplace.plan()
        self._workplace.lookAtVolume(plan.chosen.window)
        legs = plan.legsToRedraw(works, self._workplace.volume.sliced)
        self._start(Redraw(self._workplace.target, legs, self._openSession, cut, isStep))

    @property
    def ran(self) -> Sequence[SegmentWork]:
        """The segments of the last run that came to its end."""
        return self._ran

    def stop(self) -> None:
        """End a run after the slice at hand; what is drawn stays."""
        if self._talk.waits:
            self._talk.cancel()
        else:  # something went wrong with the answer that was its end
            self.abandon()

    def abandon(self) -> bool:
        """Cancel what is on its way and forget it; whether that was a run. What it has drawn stays."""
        self._talk.leave()
        return self._breakOff()

    def stepped(self, step: Step, progress: Progress) -> None:
        """See `driving.Follower`, as of the two that follow."""
        self._signals.progressed.emit(progress)
        self._signals.sliceDrawn.emit(step.slice_index)

    def ended(self, summary: str) -> None:
        """The run is over: the preview that waited for that is next."""
        run, self._run, later = self._run, None, self._talk.takeLater()
        self._ran = () if run is None else run.works
        self._workplace.target.noteGonePrompts(self._workplace.volume)
        self._tellEnd()
        if summary:
            self._signals.finished.emit(summary)
        self.preview(later)

    def failed(self, error: MedSAM2Error) -> None:
        """The run, or a preview, came to nothing; that it was canceled needs no words."""
        self.abandon()
        if not isinstance(error, Cancelled):
            self._signals.failed.emit(str(error))

    def _predict(self, sliceIndex: int, volume: SlicedVolume, work: SegmentWork) -> None:
        plan = self._workplace.plan()
        self._workplace.lookAtVolume(plan.chosen.window)
        session = self._openSession(plan.chosen.along(volume.stack))
        work.noticeEdits(self._workplace.edits.written)
        work.keepStack()
        objects = plan.objects([work], volume, opened=sliceIndex)
        onDone = self._talk.current(partial(self._onPreview, work, sliceIndex))
        onError = self._talk.current(self.failed)
        self._talk.ask(lambda: self._client.predict(session, sliceIndex, objects, onDone, onError))

    def _start(self, run: Pass | Redraw) -> None:
        self._run = run
        self._signals.busyChanged.emit(True)
        drive(run, self._client, self._talk, self)

    def _openSession(self, options: RunOptions) -> str:
        return self._workplace.openSession(self._client, options)

    def _breakOff(self) -> bool:
        ended, self._run = self._run, None
        if ended is None:
            return False
        ended.breakOff()
        self._tellEnd()
        return True

    def _tellEnd(self) -> None:
        self._workplace.edits.forget()
        self._signals.busyChanged.emit(False)
        self._signals.reviewed.emit()

    def _onPreview(self, work: SegmentWork, sliceIndex: int, answers: tuple[ObjectAnswer, ...]) -> None:
        with self._signals.telling():
            for answer in answers:
                if answer.object_id == work.objectId:
                    self._drawPreview(work, sliceIndex, answer)
            self._signals.previewed.emit(sliceIndex)
            self._signals.reviewed.emit()
        self.preview(self._talk.takeLater())

    def _drawPreview(self, work: SegmentWork, sliceIndex: int, answer: ObjectAnswer) -> None:
        volume = self._workplace.volume.sliced(work.stack)
        writer = self._workplace.target.write(volume, {sliceIndex: answer.mask.full(volume.slicing.shape)})
        self._signals.notice(tellEmptied(writer.emptied))
        work.notePreview(reviewAnswer(sliceIndex, answer, "prompt"))
        self._workplace.remember(work)
        if not work.marks(sliceIndex):
            window = self._workplace.volume.window(self._workplace.window())
            self._signals.noticed.emit(whyEmpty(sliceIndex, writer, window.name))
