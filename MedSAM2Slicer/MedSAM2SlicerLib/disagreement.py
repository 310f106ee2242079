"""Where three axes disagreed on the segment at work, shown in the slice views on demand."""

from __future__ import annotations

from functools import partial

from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error, PromptError
from medsam2_core.worker.disagreement import DisagreementMap
from MedSAM2SlicerLib.controllersignals import ControllerSignals
from MedSAM2SlicerLib.runner import Runner
from MedSAM2SlicerLib.work.planning import whyNotRedraw
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.workplace import Workplace
from MedSAM2SlicerLib.worker.client import WorkerClient


class Disagreement:
    """Asks the worker for the map and has the workplace's overlay show it, for as long as it says what is drawn."""

    def __init__(self, client: WorkerClient, workplace: Workplace, runner: Runner, signals: ControllerSignals) -> None:
        self._client, self._workplace, self._runner, self._signals = client, workplace, runner, signals
        self._ends = (
            (signals.starting, self.hide),
            (signals.segmentChanged, self.hide),
            (signals.reviewed, self._follow),
        )
        if self.isShown:  # by the controller before, at the same workplace
            self._listen()

    @property
    def isShown(self) -> bool:
        """Whether the map is in the views."""
        return self._workplace.overlay.isShown

    def whyNot(self) -> str:
        """Return why the map cannot be shown now, nothing if it can."""
        return self._runner.whyBusy() or self._whyNone()

    def show(self) -> None:
        """Ask for the map and show it when it comes."""
        with self._signals.telling():
            if whyNot := self.whyNot():
                raise PromptError(whyNot)
            volume = self._workplace.sliced()
            work = self._workplace.ensuredWork(volume)
            session = self._workplace.openSession(self._client, self._workplace.plan().chosen.along(volume.stack))
            self._client.disagreement(session, work.objectId, partial(self._onMap, work), self._onError)

    def hide(self) -> None:
        """Remove it from the views."""
        self._workplace.overlay.hide()
        for signal, slot in self._ends:
            signal.disconnect(slot)

    def _onMap(self, work: SegmentWork, found: DisagreementMap) -> None:
        with self._signals.telling():
            if work is self._workplace.work() and not self.whyNot():
                name = _("{segment} disagreement").format(segment=work.prompts.name)
                self._workplace.overlay.show(found, self._workplace.volume.sliced(work.stack), name)
                self._listen()
            self._signals.reviewed.emit()

    def _onError(self, error: MedSAM2Error) -> None:
        if not isinstance(error, Cancelled):
            self._signals.failed.emit(str(error))

    def _listen(self) -> None:
        """Hear of what ends it, for as long as it is shown: each click would pay for that."""
        for signal, slot in self._ends:
            signal.disconnect(slot)
            signal.connect(slot)

    def _follow(self) -> None:
        """A redrawing changes nothing of it, an undo does."""
        if self._whyNone():
            self.hide()

    def _whyNone(self) -> str:
        """Why there is no map of what is drawn."""
        work = self._workplace.work()
        if work is None or not any(one.disagreement is not None for one in work.states.slices.values()):
            return _("Propagate along three axes first (Follow along, in the last line).")
        return whyNotRedraw([work])
