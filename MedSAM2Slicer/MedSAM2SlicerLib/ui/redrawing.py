"""Threshold and smoothing: they draw anew what was propagated, without running the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from MedSAM2SlicerLib.ui.choices import Choices
from MedSAM2SlicerLib.ui.later import Later
from MedSAM2SlicerLib.ui.part import Part, explain, whyNoRun

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller

_PAUSE = 250  # ms without a change: a slider that is dragged draws where it rests, as one step to undo


class Redrawing(Part):
    """Draws with the values of the sliders when they change, and after a propagation that was `awaited`."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self._later = Later(self.redraw, _PAUSE)
        self._awaiting = False
        self.hear(controller.finished, lambda _summary: self._onFinished())

    def onChanged(self) -> None:
        """Draw anew as soon as a slider rests."""
        self._later.afterLast()

    def awaitRun(self) -> None:
        """Draw what the propagation that starts now will leave, unless both values are the usual ones."""
        self._awaiting = True

    def redraw(self) -> None:
        """Draw what was propagated with these values; nothing happens if nothing was."""
        if self.ui.thresholdSlider.enabled:
            self.controller.redraw(*self._values())

    def update(self) -> None:
        """Enable the sliders if there is something to draw."""
        whyNot = self.controller.whyBusy() or whyNoRun(self.controller) or self.controller.whyNotRedraw()
        explain(self.ui.thresholdSlider, whyNot)
        explain(self.ui.smoothingSlider, whyNot)

    def close(self) -> None:
        """Draw nothing any more."""
        super().close()
        self._later.cancel()

    def _onFinished(self) -> None:
        # Only once a propagation: drawing anew may itself end with this signal.
        awaited, self._awaiting = self._awaiting, False
        if awaited and self._values() != (Choices.threshold, Choices.smoothingMm):
            self.controller.redrawRun(*self._values())

    def _values(self) -> tuple[float, float]:
        return round(self.ui.thresholdSlider.value, 2), round(self.ui.smoothingSlider.value, 1)
