"""Where the model process runs, what it keeps, its log, and the page for a bug report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui.part import explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services


class SupportControls:
    """`changed`: the worker starts in another way. `failed`: a message."""

    def __init__(self, ui: Any, services: Services) -> None:
        self.ui = ui
        self.changed, self.failed = Signal(), Signal()
        self._services = services
        self.page: DoctorPage | None = None
        ui.workerCommandEdit.text = services.workerText
        ui.workerCommandEdit.connect("editingFinished()", guarded(self.onCommand))
        ui.keepSlicesComboBox.connect("activated(int)", guarded(self._onKeepSlices))
        ui.advancedSection.connect("contentsCollapsed(bool)", guarded(self._onOpened))
        ui.logButton.connect("clicked()", guarded(self._openLog))
        ui.doctorButton.connect("clicked()", guarded(self._openDoctor))

    def askForPython(self) -> None:
        """Let the person choose a Python that has PyTorch."""
        chosen = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Choose a Python that has PyTorch"))
        if chosen:
            self.ui.workerCommandEdit.text = chosen
            self.onCommand()

    def onCommand(self) -> None:
        """Use the worker command that a person typed."""
        wanted = self.ui.workerCommandEdit.text.strip()
        if wanted == self._services.workerText:
            return
        try:
            self._services.setWorkerText(wanted)
        except MedSAM2Error as error:
            self.failed.emit(str(error))
            return
        self._offerKeeping()
        self.changed.emit()

    def update(self) -> None:
        """Enable what can be used."""
        there = self._services.logPath.is_file()
        explain(self.ui.logButton, "" if there else _("There is no log yet: the model has not run."))

    def close(self) -> None:
        """Close the page."""
        if self.page:
            self.page.dialog.deleteLater()

    def _onOpened(self) -> None:
        self.update()  # the model may have run meanwhile
        self._offerKeeping()

    def _offerKeeping(self) -> None:
        self.ui.keepSlicesComboBox.currentIndex = int(self._services.keepsSlices)
        explain(self.ui.keepSlicesComboBox, self._services.whyNotKeepSlices())

    def _onKeepSlices(self) -> None:
        wanted = bool(self.ui.keepSlicesComboBox.currentIndex)
        if wanted != self._services.keepsSlices:
            self._services.setKeepsSlices(wanted)
            self.changed.emit()

    def _openLog(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._services.logPath)))

    def _openDoctor(self) -> None:
        self.close()
        self.page = DoctorPage()
        self.page.show(self._services.doctorText)


class DoctorPage:
    """A window with text to copy. It names no volume and no patient; nothing is sent anywhere."""

    def __init__(self) -> None:
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("MedSAM2Slicer doctor"))
        self.dialog.resize(720, 480)
        self.text = qt.QPlainTextEdit()
        self.text.readOnly = True
        self.text.setAccessibleName(_("Report"))
        font = qt.QFont("monospace")  # the page has columns
        font.setStyleHint(qt.QFont.Monospace)
        self.text.setFont(font)
        self.copyButton = qt.QPushButton(_("Copy"))
        self.copyButton.toolTip = _("Copy the page, to paste it into a bug report.")
        self.copyButton.connect("clicked()", guarded(self.copy))
        layout = qt.QVBoxLayout(self.dialog)
        layout.addWidget(self.text)
        layout.addWidget(self.copyButton)

    def show(self, makeText: Any) -> None:
        """Open the window and fill it with what `makeText` returns, which may take seconds."""
        self.text.plainText = _("Looking…")
        self.copyButton.enabled = False
        self.dialog.show()
        self.text.plainText = makeText()
        self.copyButton.enabled = True

    def copy(self) -> None:
        """Put the page on the clipboard."""
        self.text.selectAll()
        self.text.copy()
