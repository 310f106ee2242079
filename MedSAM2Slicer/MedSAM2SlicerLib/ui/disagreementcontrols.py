"""Show disagreement: the map of where three axes differ, in the slice views or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller


class DisagreementControls(Part):
    """The button, which is down for as long as the map is shown."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        ui.disagreementButton.connect("clicked()", guarded(self.toggle))

    def toggle(self) -> None:
        """Show the map, or remove it."""
        if self.controller.disagreement.isShown:
            self.controller.disagreement.hide()
        else:
            self.controller.disagreement.show()
        self.update()

    def update(self) -> None:
        """Show whether it is there, and enable what can be used."""
        isShown = self.controller.disagreement.isShown
        explain(self.ui.disagreementButton, "" if isShown else self.controller.disagreement.whyNot())
        self.ui.disagreementButton.checked = isShown
