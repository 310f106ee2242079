"""Going through a cohort case by case: load, correct, accept. Knows no Qt.

Actions return when they are done and never raise: what comes of them, errors too, is told by signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.cohort.caseloading import LoadedCase, loadCase
from MedSAM2SlicerLib.cohort.casework import fingerprint, makeWork
from MedSAM2SlicerLib.cohort.cohortfolder import TO_REVIEW, CaseLine, CohortFolder
from MedSAM2SlicerLib.scene.scenewatch import SceneWatch
from MedSAM2SlicerLib.signal import Signal


class CohortReview:
    """The cohort that is open, and its case in the scene: one at a time.

    `whyBusy` returns why a case cannot be left now, nothing if it can. changed(): the list or a case in it is another;
    loaded(LoadedCase): a case is in the scene; reportDue(): the report can be written, for which 1000 cases take 0.4 s;
    noticed(str) and failed(str) have a sentence.

    Work that is not accepted is kept as a draft in the case's folder whenever the case is left: for another one, or
    because the scene is closed or a node removed.
    """

    def __init__(self, whyBusy: Callable[[], str]) -> None:
        self.changed, self.loaded, self.reportDue = Signal(), Signal(), Signal()
        self.noticed, self.failed = Signal(), Signal()
        self.filter = TO_REVIEW
        self.cohort: CohortFolder | None = None
        self.case: LoadedCase | None = None
        self._whyBusy = whyBusy
        self._isReportDue = False
        self._mark: dict[str, Any] = {}  # of the case as its folder has it
        self._scene = SceneWatch(self._onNodeRemoved, self._onSceneClosing)

    @property
    def name(self) -> str:
        """The case in the scene; empty if there is none."""
        return "" if self.case is None else self.case.nodes.name

    @property
    def isChanged(self) -> bool:
        """Whether the case was changed since its folder has it."""
        return self.case is not None and fingerprint(self.case.nodes) != self._mark

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
        with self._telling():
            cohort = CohortFolder(path)
            self._leave()
            self.writeReport()
            self.cohort = cohort
            self.changed.emit()

    def close(self) -> None:
        """Leave the case, which stays in the scene, and stop watching that."""
        with self._telling():
            self._keepDraft()
        self.writeReport()
        self._scene.stop()

    def writeReport(self) -> None:
        """Write the report if it is due."""
        if self.cohort is not None and self._isReportDue:
            with self._telling():
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
        with self._telling():
            self._keepDraft()
            self._show(loadCase(self.cohort, name))

    def step(self, by: int) -> None:
        """Load the next case of the list that has results (`by` 1), or the one before (-1)."""
        if self.cohort is None:
            return
        cases = self.cohort.lines()[::by]
        names = [one.name for one in cases]
        behind = cases[names.index(self.name) + 1 :] if self.name else cases
        found = next((one for one in behind if one.canBeLoaded and one.isListed(self.filter)), None)
        if found is None:
            self.noticed.emit(self._whyNoMore(by))
        else:
            self.load(found.name)

    def accept(self) -> None:
        """Accept the case as it is in the scene."""
        self._settle(self._accept, _("{name} is accepted."))

    def takeBack(self) -> None:
        """Take an acceptance back; corrected work is a draft again."""
        self._settle(lambda cohort: cohort.case(self.name).withdraw(), _("{name} is not accepted any more."))

    def startOver(self, name: str) -> None:
        """Put aside all work on a case, and show the model's own segmentation if it is in the scene."""
        if self.cohort is None:
            return
        if whyNot := self._whyBusy():
            self.failed.emit(whyNot)
            return
        with self._telling():
            if name == self.name:
                self._keepDraft()
            self.cohort.startOver(name)
            self._tellOf(name)
            if name == self.name:
                self._show(loadCase(self.cohort, name))
            self.changed.emit()

    def _settle(self, act: Callable[[CohortFolder], None], said: str) -> None:
        if self.cohort is None or self.case is None:
            return
        if whyNot := self._whyBusy():
            self.failed.emit(whyNot)
            return
        with self._telling():
            act(self.cohort)
            self._tellOf(self.name)
            self.changed.emit()
            self.noticed.emit(said.format(name=self.name))

    def _accept(self, cohort: CohortFolder) -> None:
        self._keepDraft(isSilent=True)
        cohort.case(self.name).accept()

    def _tellOf(self, name: str) -> None:
        if self.cohort is not None:
            self.cohort.retell(name)
            self._isReportDue = True
            self.reportDue.emit()

    def _keepDraft(self, isSilent: bool = False) -> None:
        """Keep what was changed since. Raises VolumeError if it cannot be: then the case must not be left."""
        if self.cohort is None or self.case is None:
            return
        now = fingerprint(self.case.nodes)
        if now == self._mark:
            return
        self.cohort.case(self.name).keep_draft(makeWork(self.case.nodes, self.case.window))
        self._mark = now
        self.cohort.retell(self.name)
        if not isSilent:
            self.noticed.emit(_("Your work on {name} is kept as a draft.").format(name=self.name))

    def _show(self, case: LoadedCase) -> None:
        """Have another case in the scene, in place of that before."""
        before, self.case = self.case, case
        self._mark = fingerprint(case.nodes)
        self.loaded.emit(case)
        if before is not None:
            before.nodes.remove()
        self.changed.emit()

    def _leave(self) -> None:
        """Take the case out of the scene. Raises VolumeError if a draft of it cannot be kept."""
        self._keepDraft()
        before, self.case = self.case, None
        if before is not None:
            before.nodes.remove()

    def _whyNoMore(self, by: int) -> str:
        if by > 0:
            return _("That was the last case of this list: choose All cases to see the others.")
        return _("That was the first case of this list.")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except MedSAM2Error as error:
            self.failed.emit(str(error))

    def _onNodeRemoved(self, node: slicer.vtkMRMLNode) -> None:
        if self.case is not None and self.case.nodes.has(node):
            self._lose()

    def _onSceneClosing(self) -> None:
        self._lose()

    def _lose(self) -> None:
        """Somebody takes the case out of the scene."""
        with self._telling():
            self._keepDraft()
        self.case = None
        self.changed.emit()
