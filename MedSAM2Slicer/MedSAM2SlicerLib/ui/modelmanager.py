"""The window that downloads models and removes downloaded ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from medsam2_core.weights.store import ModelState
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.process import Program
from MedSAM2SlicerLib.worker.commands import lastLine

if TYPE_CHECKING:
    from medsam2_core.weights.catalog import ModelEntry
    from MedSAM2SlicerLib.ui.services import Services

_ACTION = 4  # column of the buttons
_PERCENT = re.compile(r"(\d+)%")


class ModelManager:
    """A table of the models. `changed` is emitted when a file was fetched or removed.

    A download runs in a process of its own, so that Slicer stays usable; an interrupted one resumes next time.
    """

    def __init__(self, services: Services) -> None:
        self.changed = Signal()
        self._services = services
        self._download: Program | None = None
        self._said = ""
        self._makeDialog()

    @property
    def downloading(self) -> bool:
        """Whether a download is under way."""
        return self._download is not None

    def open(self) -> None:
        """Show the window."""
        self._refresh()
        self.dialog.show()
        self.dialog.raise_()

    def offer(self, name: str) -> None:
        """Ask whether to download a model, with its size and license, and do it."""
        entry = self._services.store.catalog[name]
        if self._download or not slicer.util.confirmOkCancelDisplay(_question(entry), windowTitle=_("Download model")):
            return
        self.open()
        self._said = ""
        self._download = Program(self._onOutput, self._onEnded)
        self._download.start(self._services.downloadCommand(name))
        self._show(_("Downloading {title}…").format(title=entry.title), busy=True)

    def remove(self, name: str) -> None:
        """Delete a downloaded model."""
        try:
            self._services.store.remove(name)
        except MedSAM2Error as error:
            self._show(str(error))
            return
        self._show(_("{name} was removed.").format(name=name))
        self._refresh()
        self.changed.emit()

    def cancel(self) -> None:
        """End the download; what has arrived is kept for the next try."""
        if self._download:
            self._download.cancel()

    def close(self) -> None:
        """Close the window and end the download."""
        if self._download:
            self._download.close()
            self._download = None
        self.dialog.close()
        self.dialog.deleteLater()

    def _makeDialog(self) -> None:
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("MedSAM2Slicer models"))
        self.dialog.resize(820, 420)
        headings = [_("Model"), _("State"), _("Size"), _("License"), ""]
        self.table = qt.QTableWidget(0, len(headings))
        self.table.setHorizontalHeaderLabels(headings)
        self.table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.table.verticalHeader().setVisible(False)
        self.table.setAccessibleName(_("Models"))
        self.message = qt.QLabel(_("Downloaded models are kept in {folder}").format(folder=self._services.store.folder))
        self.message.setWordWrap(True)
        self.bar = qt.QProgressBar()
        self.cancelButton = qt.QPushButton(_("Cancel download"))
        self.cancelButton.connect("clicked()", guarded(self.cancel))
        layout = qt.QVBoxLayout(self.dialog)
        for widget in (self.table, self.message, self.bar, self.cancelButton):
            layout.addWidget(widget)
        self.bar.hide()
        self.cancelButton.hide()

    def _refresh(self) -> None:
        store = self._services.store
        self.table.setRowCount(len(store.catalog))
        for row, entry in enumerate(store.catalog.values()):
            state = store.state(entry.name)
            cells = (entry.title, _stateText(state), text.megabytes(entry.size_bytes), entry.license)
            for column, cell in enumerate(cells):
                item = qt.QTableWidgetItem(cell)
                item.setToolTip(f"{entry.intended_use}\n{entry.license_text}")
                self.table.setItem(row, column, item)
            self.table.setCellWidget(row, _ACTION, self._button(entry.name, state))
        self.table.resizeColumnsToContents()

    def _button(self, name: str, state: ModelState) -> Any:
        button = qt.QPushButton(_("Remove") if state is ModelState.INSTALLED else _("Download…"))
        action = self.remove if state is ModelState.INSTALLED else self.offer
        button.connect("clicked()", guarded(lambda: action(name)))
        button.enabled = state is not ModelState.BUNDLED and not self._download
        if state is ModelState.BUNDLED:
            button.toolTip = _("This model comes with MedSAM2Slicer.")
        return button

    def _onOutput(self, said: str) -> None:
        self._said += said
        percents = _PERCENT.findall(self._said)
        if percents:
            self.bar.setRange(0, 100)
            self.bar.value = int(percents[-1])

    def _onEnded(self, code: int) -> None:
        self._download = None
        if code == 0:
            self._show(_("The download is complete."))
        elif code < 0:
            self._show(_("The download was stopped. What has arrived is kept; Download resumes from there."))
        else:
            self._show(lastLine(self._said).removeprefix("medsam2: "))
        self._refresh()
        self.changed.emit()

    def _show(self, message: str, busy: bool = False) -> None:
        self.message.text = message
        self.bar.setRange(0, 0)
        self.bar.visible = busy
        self.cancelButton.visible = busy
        if busy:
            self._refresh()


def _question(entry: ModelEntry) -> str:
    return _("{title}: {size}. {license}\n\n{use}\n\nDownload?").format(
        title=entry.title, size=text.megabytes(entry.size_bytes), license=entry.license_text, use=entry.intended_use
    )


def _stateText(state: ModelState) -> str:
    names = {
        ModelState.BUNDLED: _("built in"),
        ModelState.INSTALLED: _("downloaded"),
        ModelState.MISSING: _("not downloaded"),
    }
    return names[state]
