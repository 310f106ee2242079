"""What is missing before anything can run, and the button that sets it up. Hidden where nothing is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services


class Banner:
    """`changed`: something was installed. `failed`: a message. `otherPython`: the person has one elsewhere."""

    def __init__(self, ui: Any, services: Services) -> None:
        self.ui = ui
        self.changed, self.failed, self.otherPython = Signal(), Signal(), Signal()
        self._services = services
        ui.setUpButton.connect("clicked()", guarded(self.setUp))
        ui.otherPythonButton.connect("clicked()", guarded(self.otherPython.emit))

    def refresh(self) -> None:
        """Look again what is missing."""
        text = self._services.missingText()
        self.ui.bannerLabel.text = text
        self.ui.bannerFrame.visible = bool(text)

    def whyNot(self) -> str:
        """Return why nothing can run yet, nothing if it can."""
        return _("Set up MedSAM-2 first (see above).") if self.ui.bannerLabel.text else ""

    def setUp(self) -> None:
        """Ask once, install, and say what came of it."""
        try:
            restart = self._services.setUp(_agreed)
        except MedSAM2Error as error:
            self.failed.emit(str(error))
            return
        finally:
            self.refresh()
        self.changed.emit()
        if restart and slicer.util.confirmOkCancelDisplay(_("Slicer has to restart to use what was installed.")):
            slicer.util.restart()


def _agreed(question: str) -> bool:
    return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Set up MedSAM-2")))
