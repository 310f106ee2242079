"""The toggle Live: whether propagations start by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.part import Part

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.ui.services import Services


class LiveControls(Part):
    """Shows what the user has chosen, and without a choice what suits this machine."""

    def __init__(self, ui: Any, controller: Controller, services: Services) -> None:
        super().__init__(ui, controller)
        self._services = services
        ui.liveButton.connect("clicked()", guarded(self.toggle))
        self.hear(controller.finished, lambda _summary: self.refresh())

    def toggle(self) -> None:
        """Switch it on or off, and keep that."""
        self._services.setLive(not self.controller.live.isOn)
        self.refresh()

    def refresh(self) -> None:
        """Follow what is kept, which another panel may have changed."""
        isOn = self._services.isLive
        self.controller.live.turn(isOn)
        self.ui.liveButton.checked = isOn
        self.ui.liveButton.toolTip = text.liveText(self._services.sliceMilliseconds, self._services.isSlow)
