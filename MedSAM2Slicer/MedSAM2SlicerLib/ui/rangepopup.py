"""The slices to propagate through: in words on a button, which opens their controls."""

from __future__ import annotations

from typing import Any

import qt

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.choices import Choices


class RangePopup:
    """The button and what it opens; the controls there are those of `OptionControls`."""

    def __init__(self, ui: Any) -> None:
        self.ui = ui
        ui.rangeFrame.setParent(ui.rangeButton, qt.Qt.Popup)
        ui.rangeButton.connect("clicked()", guarded(self.open))

    def open(self) -> None:
        """Show the controls below the button, until somebody clicks elsewhere."""
        button, frame = self.ui.rangeButton, self.ui.rangeFrame
        frame.adjustSize()
        corner = button.mapToGlobal(qt.QPoint(button.width, button.height))
        frame.move(max(corner.x() - frame.width, 0), corner.y())
        frame.show()

    def update(self, choices: Choices) -> None:
        """Say in words what is chosen."""
        widget = self.ui.rangeWidget
        span = (round(widget.minimumValue), round(widget.maximumValue)) if widget.enabled else None
        self.ui.rangeButton.text = text.rangeText(span, choices)
