"""The tab Cohort: the cases of a folder that `medsam2 batch` wrote, reviewed with the tab Volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.cohort.states import ACCEPTED
from MedSAM2SlicerLib.cohort.cohortfolder import ALL, DOUBTFUL, TO_REVIEW, CaseLine
from MedSAM2SlicerLib.cohort.review import CohortReview
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui.casebar import CaseBar
from MedSAM2SlicerLib.ui.casetable import CaseTable
from MedSAM2SlicerLib.ui.choices import choicesOf
from MedSAM2SlicerLib.ui.later import Later
from MedSAM2SlicerLib.ui.part import explain
from MedSAM2SlicerLib.ui.shortcuts import Shortcuts
from MedSAM2SlicerLib.ui.source import Source

if TYPE_CHECKING:
    from MedSAM2SlicerLib.cohort.caseloading import LoadedCase
    from MedSAM2SlicerLib.ui.volumetab import VolumeTab

_REPORT_AFTER = 2000  # ms after the last acceptance
_KEEP_EVERY = 120_000  # ms: of a chest CT that was changed it takes a second


class CohortTab:
    """Opens a cohort and lists its cases. One that is loaded goes to the tab Volume, which `showVolume` brings forward.

    `tabBar` holds the buttons and keys that go through the cases from any tab.
    """

    def __init__(self, uiFile: str, tabBar: Any, volume: VolumeTab, showVolume: Callable[[], None]) -> None:
        self._volume, self._showVolume, self._tabBar = volume, showVolume, tabBar
        self.widget = slicer.util.loadUI(uiFile)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.review = CohortReview(volume.panel.controller.review.whyBusy)
        self.table = CaseTable(self.ui.caseTable)
        self.bar = CaseBar(self.review)
        self.shortcuts = Shortcuts(tabBar, self.bar.actions())
        tabBar.setCornerWidget(self.bar.widget)
        self._report = Later(self.review.writeReport, _REPORT_AFTER)
        self._keeping = qt.QTimer()
        self._keeping.setInterval(_KEEP_EVERY)
        self._keeping.connect("timeout()", guarded(self.review.keep))
        self._fillFilters()
        self._join()
        self.update()

    def enter(self) -> None:
        """Come to the front."""
        self.update()

    def exit(self) -> None:
        """Be hidden; the keys that go through the cases act in the other tabs, too."""

    def close(self) -> None:
        """Release everything but the widget; work on the case is kept as a draft."""
        self.shortcuts.remove()
        self._report.cancel()
        self._keeping.stop()
        self._keeping.deleteLater()
        self.review.close()
        self._tabBar.setCornerWidget(None)
        self.bar.widget.deleteLater()

    def open(self, folder: Path) -> None:
        """Open the results of a cohort."""
        self.ui.messageLabel.text = ""
        self.review.open(folder)
        if self.review.cohort is not None:
            self.shortcuts.install()
            self._keeping.start()

    def update(self) -> None:
        """Show the cases, and enable what can be used."""
        review, cohort = self.review, self.review.cohort
        lines = review.lines()
        self.table.show(lines, review.name)
        self.ui.folderLabel.text = "" if cohort is None else str(cohort.path)
        self.ui.countLabel.text = "" if cohort is None else self._countText(cohort.lines())
        explain(self.ui.filterComboBox, "" if cohort else _("Open a cohort first."))
        explain(self.ui.reportButton, "" if cohort else _("Open a cohort first."))
        self._showSelected()

    def _join(self) -> None:
        ui, review = self.ui, self.review
        ui.openButton.connect("clicked()", guarded(self._askWhere))
        ui.reportButton.connect("clicked()", guarded(self._openReport))
        ui.filterComboBox.connect("currentIndexChanged(int)", guarded(self._onFilter))
        ui.takeBackButton.connect("clicked()", guarded(review.takeBack))
        ui.startOverButton.connect("clicked()", guarded(self._startOver))
        self.table.chosen.connect(review.load)
        self.table.selected.connect(self._showSelected)
        review.changed.connect(self.update)
        review.loaded.connect(self._onLoaded)
        review.reportDue.connect(self._report.afterLast)
        review.noticed.connect(self._say)
        review.failed.connect(self._warn)

    def _fillFilters(self) -> None:
        for name, text in (
            (TO_REVIEW, _("To review")),
            (DOUBTFUL, _("To review, in doubt")),
            (ALL, _("All cases")),
        ):
            self.ui.filterComboBox.addItem(text, name)

    def _countText(self, cases: Sequence[CaseLine]) -> str:
        left = sum(one.isListed(TO_REVIEW) for one in cases)
        return _("{left} of {count} to review").format(left=left, count=len(cases))

    def _showSelected(self) -> None:
        line, loaded = self.table.line(), self.review.name
        isLoaded = line is not None and line.name == loaded
        self.ui.sentenceLabel.text = "" if line is None else line.sentence
        isAccepted = isLoaded and line is not None and line.state == ACCEPTED
        explain(self.ui.takeBackButton, "" if isAccepted else _("The case that is loaded is not accepted."))
        hasWork = line is not None and (isLoaded or line.hasDraft or line.state == ACCEPTED)
        explain(self.ui.startOverButton, "" if hasWork else _("Nobody has worked on the selected case."))

    def _onFilter(self) -> None:
        self.review.setFilter(self.ui.filterComboBox.currentData)

    def _onLoaded(self, case: LoadedCase) -> None:
        """Show the case, and have the tab Volume and Segment Editor at work on it."""
        nodes, panel = case.nodes, self._volume.panel
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActiveVolumeID(nodes.volumeNode.GetID())
        slicer.app.applicationLogic().PropagateVolumeSelection()
        self._volume.use(
            Source(nodes.volumeNode, nodes.segmentationNode, case.segmentId), choicesOf(case.settings, panel.choices())
        )
        editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if editor is not None:
            editor.SetAndObserveSegmentationNode(nodes.segmentationNode)
            editor.SetAndObserveSourceVolumeNode(nodes.volumeNode)
        self._showVolume()
        panel.review.goToFirst()
        used = case.settings.model
        if used not in (None, Path(panel.models.model()).name):
            text = _("{name} was made with the model {model}: choose that one to go on from its result.")
            self._say(text.format(name=nodes.name, model=used))

    def _startOver(self) -> None:
        line = self.table.line()
        if line is not None:
            self.review.startOver(line.name)

    def _say(self, message: str) -> None:
        self.ui.messageLabel.text = message
        self._volume.panel.line.say(message)

    def _warn(self, message: str) -> None:
        self.ui.messageLabel.text = f"⚠ {message}"
        self._volume.panel.line.warn(message)

    def _askWhere(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Open the results of a cohort"))
        if chosen:
            self.open(Path(chosen))

    def _openReport(self) -> None:
        if self.review.cohort is not None:
            self.review.writeReport()
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.review.cohort.path / "index.html")))
