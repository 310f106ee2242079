"""Propagate and Stop, progress, and what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.running import Progress


class RunControls(Part):
    """Starts and stops propagations; messages appear in the panel, never in a window of their own.

    starting(): a propagation is about to start.
    """

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.starting = Signal()
        ui.propagateButton.connect("clicked()", self.propagate)
        ui.propagateAllButton.connect("clicked()", self.propagateAll)
        ui.stopButton.connect("clicked()", self.stop)
        self.hear(controller.progressed, self._onProgress)
        self.hear(controller.busyChanged, self._onBusy)
        self.hear(controller.finished, self.say)
        self.hear(controller.noticed, self.say)
        self.hear(controller.failed, self.warn)

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
            self.controller.stop()

    def say(self, message: str) -> None:
        """Show what happened."""
        self.ui.messageLabel.text = message
        self.ui.messageLabel.visible = bool(message)

    def warn(self, message: str) -> None:
        """Show what went wrong."""
        self.say(f"⚠ {message}")

    def update(self, whyNot: str) -> None:
        """Enable Propagate unless there is a reason why not, and let it say which slices it goes through."""
        ui, busy = self.ui, self.controller.whyBusy()
        ui.propagateButton.text = text.propagateText(self.controller.intervals())
        explain(ui.propagateButton, busy or whyNot)
        explain(ui.stopButton, "" if busy else _("Nothing is running."))
        count = self.controller.segmentsWithPrompts()
        ui.propagateAllButton.text = _("Propagate all ({count})").format(count=count)
        ui.propagateAllButton.visible = count > 1
        explain(ui.propagateAllButton, busy)

    def _start(self, propagate: Callable[[], None]) -> None:
        self.say("")
        self.starting.emit()
        propagate()

    def _onProgress(self, progress: Progress) -> None:
        bar = self.ui.progressBar
        bar.maximum = progress.planned
        bar.value = progress.done
        bar.format = text.progressText(progress)

    def _onBusy(self, busy: bool) -> None:
        bar = self.ui.progressBar
        bar.visible = busy
        if busy:
            bar.setRange(0, 0)  # moves until the first slice is there
            bar.format = ""
