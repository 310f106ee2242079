"""The line at the top of the panel: what happened last, else what to do next; while the model works, how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.part import Part

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.ui.services import Services
    from MedSAM2SlicerLib.work.running import Progress


_LONG = 8  # turns of the panel's timer, of 50 ms: a warm worker draws a slice sooner
_STARTING, _LOOKING = _("Starting the model…"), _("The model is looking at the slice…")
_WARMING = _("the model is getting ready…")


class MessageLine(Part):
    """Messages appear here, never in a window of their own, and go as soon as they no longer hold.

    A message is about the prompts and the segment as they are: whatever changes these, such as another segment, undo or
    a click, takes it away. said(message): there is a new one.
    """

    def __init__(self, ui: Any, controller: Controller, services: Services) -> None:
        super().__init__(ui, controller)
        self._services = services
        self.said = Signal()
        self._message = self._state = self._progress = ""
        self._isStopping, self._waited, self._isWarming = False, 0, False
        self.hear(controller.promptsChanged, self.forget)
        self.hear(controller.segmentChanged, self.forget)
        self.hear(controller.previewed, lambda _slice: self.follow())
        self.hear(controller.progressed, self._onProgress)
        self.hear(controller.busyChanged, self._onBusy)
        self.hear(controller.finished, self.say)
        self.hear(controller.noticed, self.say)
        self.hear(controller.failed, self.warn)

    def say(self, message: str) -> None:
        """Show what happened."""
        self._message = message
        self._show()
        self.said.emit(message)

    def warn(self, message: str) -> None:
        """Show what went wrong."""
        self.say(f"⚠ {message}")

    def forget(self) -> None:
        """Take the message away."""
        self._message = ""
        self._show()

    def showState(self, state: str) -> None:
        """Show this as long as there is no message."""
        self._state = state
        self._show()

    def showStopping(self) -> None:
        """Show that the propagation was asked to stop, until it has."""
        self._isStopping = self.controller.busy
        self._show()

    def follow(self) -> None:
        """Say what an answer that takes long waits for; called often, so that it does little."""
        if self._isWarming != self._services.isWarming:
            self._isWarming = not self._isWarming
            self._show()
        before, self._waited = self._waited, self._waited + 1 if self.controller.waits else 0
        if not self.controller.busy and (before or self._waited):
            self._showBusy(self._isLong)
            self._show()
            if self._isStarting and not before:
                self.said.emit(_STARTING)

    @property
    def _isStarting(self) -> bool:
        return self.controller.waits and not self._services.isModelOpen

    @property
    def _isLong(self) -> bool:
        return self._isStarting or self._waited > _LONG

    def _show(self) -> None:
        label, line = self.ui.messageLabel, self._line()
        if label.text != line:
            label.text = line

    def _line(self) -> str:
        if self._isStopping:
            return _("Stopping…")
        if self.controller.busy:
            done = _STARTING if self._isStarting else self._progress or _("Working…")
            return " · ".join(filter(None, [done, self._message]))
        waits = _STARTING if self._isStarting else _LOOKING if self._isLong else ""
        return self._message or waits or " · ".join(filter(None, [self._state, _WARMING if self._isWarming else ""]))

    def _onProgress(self, progress: Progress) -> None:
        bar = self.ui.progressBar
        bar.maximum = progress.planned
        bar.value = progress.done
        self._progress = text.progressText(progress)
        self._show()

    def _onBusy(self, busy: bool) -> None:
        self._progress, self._isStopping, self._waited = "", False, 0
        self._showBusy(busy)
        self._show()

    def _showBusy(self, busy: bool) -> None:
        """Show a bar that moves, until it gets to know how far it is."""
        bar = self.ui.progressBar
        if busy and not bar.visible:
            bar.setRange(0, 0)
        bar.visible = busy
