"""Propagate and Stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller


class RunControls(Part):
    """Starts and stops propagations. starting() and stopping(): one is about to start, was asked to stop."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.starting, self.stopping = Signal(), Signal()
        ui.propagateButton.connect("clicked()", guarded(self.propagate))
        ui.propagateAllButton.connect("clicked()", guarded(self.propagateAll))
        ui.stopButton.connect("clicked()", guarded(self.stop))

    def propagate(self) -> None:
        """Start, unless something is missing (the button says what)."""
        if self.ui.propagateButton.enabled:
            self._start(self.controller.propagate)

    def propagateAll(self) -> None:
        """Start with all segments that have prompts."""
        if self.ui.propagateAllButton.enabled:
            self._start(self.controller.propagateAll)

    def stop(self) -> None:
        """Stop and keep what is done."""
        if self.controller.busy:
            self.stopping.emit()
            self.controller.stop()

    def update(self, whyNot: str) -> None:
        """Enable Propagate unless there is a reason why not, and let it say which slices it goes through."""
        ui, review, busy = self.ui, self.controller.review, self.controller.review.whyBusy()
        ui.propagateButton.text = text.propagateText(review.intervals())
        explain(ui.propagateButton, busy or whyNot, text.outlookText(review.outlook()))
        explain(ui.stopButton, "" if busy else _("Nothing is running."))
        outlook = review.outlookOfAll()
        count = 0 if outlook is None else outlook.segments
        ui.propagateAllButton.text = _("All ({count})").format(count=count)
        ui.propagateAllButton.visible = count > 1
        explain(ui.propagateAllButton, busy, text.outlookText(outlook))

    def _start(self, propagate: Callable[[], None]) -> None:
        self.starting.emit()
        propagate()
