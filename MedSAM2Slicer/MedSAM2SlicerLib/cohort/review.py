"""Going through a cohort case by case: load, correct, accept. Knows no Qt.

Actions return when they are done and never raise: signals report the results and errors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from medsam2_core.cohort.acceptance import CaseFolder
from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib.cohort.caseatwork import CaseAtWork
from MedSAM2SlicerLib.cohort.caseloading import LoadedCase
from MedSAM2SlicerLib.cohort.cohortfolder import TO_REVIEW, CaseLine, CohortFolder
from MedSAM2SlicerLib.scene.scenewatch import SceneWatch
from MedSAM2SlicerLib.signal import Signal, tellingBy


class CohortReview:
    """The cohort that is open, and its case in the scene: one at a time.

    `whyBusy` returns why a case cannot be left now, nothing if it can. changed(): the list or a case in it is another;
    loaded(LoadedCase): a case is in the scene; reportDue(): the report can be written, for which 1000 cases take 0.4 s;
    noticed(str) and failed(str) have a sentence.

    Work that is not accepted is kept as a draft in the case's folder whenever the case is left: for another one, or
    because the scene is closed or a node removed; and by `keep`.
    """

    def __init__(self, whyBusy: Callable[[], str]) -> None:
        self.changed, self.loaded, self.reportDue = Signal(), Signal(), Signal()
        self.noticed, self.failed = Signal(), Signal()
        self.filter = TO_REVIEW
        self.cohort: CohortFolder | None = None
        self._whyBusy = whyBusy
        self._work: CaseAtWork | None = None
        self._takeOut: Callable[[], None] | None = None  # removes what is left of a case that lost a node
        self._tried = ""  # the case that was to be loaded last: one that cannot be must not stop the way
        self._isReportDue = False
        self._scene = SceneWatch(self._onNodeRemoved, self._onSceneClosing)

    @property
    def case(self) -> LoadedCase | None:
        """The case in the scene."""
        return None if self._work is None else self._work.case

    @property
    def name(self) -> str:
        """Its name; empty if there is none."""
        return "" if self._work is None else self._work.name

    def lines(self) -> list[CaseLine]:
        """List the cases that fit the filter, the one in the scene with them, the most doubtful first."""
        cases = [] if self.cohort is None else self.cohort.lines()
        return [one for one in cases if one.isListed(self.filter) or one.name == self.name]

    def setFilter(self, chosen: str) -> None:
        """List others."""
        self.filter = chosen
        self.changed.emit()

    def open(self, path: Path) -> None:
        """Open the results of a cohort; a case of another one is left first."""
        if self._work is not None and (whyNot := self._whyBusy()):
            self.failed.emit(whyNot)
            return
        with tellingBy(self.failed):
            said = self._kept()  # before the folder is read, which may be the same
            try:
                cohort = CohortFolder(path)
                self._leave()
            finally:
                self._say(said)
            self.writeReport()
            self.cohort, self._tried = cohort, ""
            self.changed.emit()

    def close(self) -> None:
        """Leave the case, which stays in the scene, and stop watching that."""
        with tellingBy(self.failed):
            self._say(self._kept())
        self.writeReport()
        self._scene.stop()

    def keep(self) -> None:
        """Keep what was changed as a draft, without a word: Slicer may crash. Not while a propagation runs."""
        work = self._work
        if work is None or self._whyBusy() or work.isOvertaken:
            return
        with tellingBy(self.failed):
            if work.keep():
                self.changed.emit()

    def writeReport(self) -> None:
        """Write the report if it is due."""
        if self.cohort is not None and self._isReportDue:
            with tellingBy(self.failed):
                self.cohort.writeReport()
                self._isReportDue = False
                self.changed.emit()

    def load(self, name: str) -> None:
        """Load a case; the one before is left, and taken out of the scene."""
        if self.cohort is None or name == self.name:
            return
        if whyNot := self._whyBusy() or self.cohort.line(name).sentence:
            self.failed.emit(whyNot)
            return
        self._tried = name
        with tellingBy(self.failed):
            said = self._kept()
            try:
                work = CaseAtWork(self.cohort, name)
                self._show(work)
            finally:
                self._say(said)
            if work.told:
                self.failed.emit(work.told)

    def step(self, by: int) -> None:
        """Load the next case of the list that has results (`by` 1), or the one before (-1)."""
        if self.cohort is None:
            return
        cases = self.cohort.lines()[::by]
        names = [one.name for one in cases]
        behind = cases[names.index(self._tried) + 1 :] if self._tried in names else cases
        found = next((one for one in behind if one.canBeLoaded and one.isListed(self.filter)), None)
        if found is None:
            self.noticed.emit(self._whyNoMore(by))
        else:
            self.load(found.name)

    def accept(self) -> None:
        """Accept the case as it is in the scene."""
        self._settle(CaseFolder.accept, _("{name} is accepted."))

    def takeBack(self) -> None:
        """Take an acceptance back; corrected work is a draft again."""
        self._settle(CaseFolder.withdraw, _("{name} is no longer accepted."))

    def startOver(self, name: str) -> None:
        """Put aside all work on a case, and show the model's own segmentation if it is in the scene."""
        cohort = self._atRest()
        if cohort is None:
            return
        with tellingBy(self.failed):
            if name == self.name:
                self._kept()
            cohort.startOver(name)
            self._tellOf(name)
            if name == self.name:
                self._show(CaseAtWork(cohort, name))
            self.changed.emit()

    def _settle(self, act: Callable[[CaseFolder], None], said: str) -> None:
        """Keep the case as it is, and have its folder say so; not if somebody else has changed that."""
        cohort, work = self._atRest(), self._work
        if cohort is None or work is None:
            return
        with tellingBy(self.failed):
            if work.isOvertaken:
                said, again = work.keep(), CaseAtWork(cohort, work.name)
                self._show(again)
                text = _("{name} was changed by somebody else meanwhile and is loaded again: look at it once more.")
                raise VolumeError(" ".join([said, again.told, text.format(name=work.name)]).strip())
            work.keep()
            act(cohort.case(work.name))
            work.note()
            self._tellOf(work.name)
            self.changed.emit()
            self.noticed.emit(said.format(name=work.name))

    def _atRest(self) -> CohortFolder | None:
        """The cohort; None, which is told, while a propagation runs."""
        whyNot = self._whyBusy()
        if whyNot and self.cohort is not None:
            self.failed.emit(whyNot)
        return None if whyNot else self.cohort

    def _tellOf(self, name: str) -> None:
        if self.cohort is not None:
            self.cohort.retell(name)
            self._isReportDue = True
            self.reportDue.emit()

    def _kept(self) -> str:
        """Keep what was changed; returns what came of it, which is heard if it is said once the case is left.

        Raises VolumeError if it cannot be kept: then the case must not be left.
        """
        return "" if self._work is None else self._work.keep()

    def _say(self, said: str) -> None:
        if said:
            self.noticed.emit(said)

    def _show(self, work: CaseAtWork) -> None:
        """Have another case in the scene, in place of that before."""
        before, self._work = self.case, work
        self.loaded.emit(work.case)
        self._remove(before)
        self.changed.emit()

    def _leave(self) -> None:
        """Take the case, which is kept, out of the scene."""
        before, self._work = self.case, None
        self._remove(before)

    def _remove(self, before: LoadedCase | None) -> None:
        """Take a case out of the scene, or what is left of one that lost a node."""
        takeOut, self._takeOut = self._takeOut, None
        if before is not None:
            before.nodes.remove()
        elif takeOut is not None:
            takeOut()

    def _whyNoMore(self, by: int) -> str:
        if by > 0:
            return _("That was the last case of this list: choose All cases to see the others.")
        return _("That was the first case of this list.")

    def _onNodeRemoved(self, node: slicer.vtkMRMLNode) -> None:
        if self.case is not None and self.case.nodes.has(node):
            takeOut = self.case.nodes.remover()
            if self._lose():  # else what was changed is in the scene alone
                self._takeOut = takeOut

    def _onSceneClosing(self) -> None:
        self._takeOut = None
        self._lose()

    def _lose(self) -> bool:
        """Somebody takes the case out of the scene. Returns whether what was changed is kept."""
        isKept = False
        with tellingBy(self.failed):
            self._say(self._kept())
            isKept = True
        self._work = None
        self.changed.emit()
        return isKept
