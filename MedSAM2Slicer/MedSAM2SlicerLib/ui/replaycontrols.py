"""A run to repeat: as a script for a Python console, or as a file for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui.part import Part, explain, whyNoRun

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller

_FILE = "medsam2-run.json"


class ReplayControls(Part):
    """`said` and `failed`: what came of it, in a sentence."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.said, self.failed = Signal(), Signal()
        ui.copyScriptButton.connect("clicked()", guarded(self.copyScript))
        ui.saveRunButton.connect("clicked()", guarded(self._askWhere))

    def copyScript(self) -> None:
        """Put the script on the clipboard."""
        try:
            script = self.controller.review.script()
        except MedSAM2Error as error:
            self.failed.emit(str(error))
            return
        qt.QApplication.clipboard().setText(script)
        self.said.emit(_("The script is on the clipboard: paste it into the Python console."))

    def saveRun(self, path: Path) -> None:
        """Write the run to a file."""
        try:
            self.controller.review.saveRun(path)
        except (MedSAM2Error, OSError) as error:
            self.failed.emit(str(error))
            return
        self.said.emit(_("The run is in {path}.").format(path=path))

    def update(self) -> None:
        """Enable the buttons if there is a run."""
        whyNot = whyNoRun(self.controller)
        explain(self.ui.copyScriptButton, whyNot)
        explain(self.ui.saveRunButton, whyNot)

    def _askWhere(self) -> None:
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save run"), _FILE, _("Runs (*.json)"))
        if chosen:
            self.saveRun(Path(chosen))
