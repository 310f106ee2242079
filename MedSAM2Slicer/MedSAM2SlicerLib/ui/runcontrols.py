"""Propagate and Stop, progress, and what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller, Progress


class RunControls(Part):
    """Starts and stops propagations; messages appear in the panel, never in a window of their own."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        ui.propagateButton.connect("clicked()", self.propagate)
        ui.stopButton.connect("clicked()", self.stop)
        self.hear(controller.progressed, self._onProgress)
        self.hear(controller.busyChanged, self._onBusy)
        self.hear(controller.finished, self.say)
        self.hear(controller.noticed, self.say)
        self.hear(controller.failed, self.warn)

    def propagate(self) -> None:
        """Start, unless something is missing (the button says what)."""
        if self.ui.propagateButton.enabled:
            self.say("")
            self.controller.propagate()

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
        """Enable Propagate unless there is a reason why not."""
        busy = self.controller.busy
        explain(self.ui.propagateButton, _("A propagation is running. Stop it first (Esc).") if busy else whyNot)
        explain(self.ui.stopButton, "" if busy else _("Nothing is running."))

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
