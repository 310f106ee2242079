"""Threshold, smoothing, parts and holes: they redraw what was propagated, without running the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from MedSAM2SlicerLib.scene.cut import PLAIN
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import views
from MedSAM2SlicerLib.ui.choices import DRAWING, WIDGETS
from MedSAM2SlicerLib.ui.later import Later
from MedSAM2SlicerLib.ui.optioncontrols import shownCut
from MedSAM2SlicerLib.ui.part import Part, explain, whyNoRun

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.scene.cut import Cut

_PAUSE = 250  # ms without a change: a slider that is dragged draws where it rests, as one step to undo


class Redrawing(Part):
    """Draws with the values of the controls when they change, and after a propagation that was awaited.

    show(*cut): the segment is drawn with these, after undo or when another one was chosen.
    """

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.show = Signal()
        self._later = Later(self.redraw, _PAUSE)
        self._awaited: Cut | None = None
        self._shown: tuple[str, Cut | None] = "", None  # of a segment
        self.hear(controller.finished, lambda _summary: self._onFinished())

    def onChanged(self) -> None:
        """Redraw as soon as a slider rests."""
        self._later.afterLast()

    def awaitRun(self) -> None:
        """Draw what the propagation that starts now will leave, unless all values are the usual ones."""
        self._awaited = shownCut(self.ui)

    def redraw(self) -> None:
        """Draw what was propagated with these values; nothing happens if nothing was."""
        if self.ui.thresholdSlider.enabled:
            self.controller.redraw(*shownCut(self.ui), near=views.shownSlice(self.controller))

    def update(self) -> None:
        """Enable the controls if there is something to draw, and let them show how it is drawn now."""
        self._follow()
        review = self.controller.review
        whyNoneYet = whyNoRun(self.controller) if review.cut() is None else ""
        whyNot = review.whyBusy() or whyNoneYet or review.whyNotRedraw()
        for name in WIDGETS.keys() & set(DRAWING):
            explain(getattr(self.ui, WIDGETS[name].name), whyNot)

    def close(self) -> None:
        """Stop drawing."""
        super().close()
        self._later.cancel()

    def _onFinished(self) -> None:
        # Only once a propagation: redrawing may itself end with this signal.
        awaited, self._awaited = self._awaited, None
        if awaited not in (None, PLAIN):
            self.controller.redrawRun(*awaited, near=views.shownSlice(self.controller))

    def _follow(self) -> None:
        drawn = self.controller.segmentId, self.controller.review.cut()
        if drawn == self._shown or self._later.isDue:
            return
        self._shown, cut = drawn, drawn[1]
        if cut is not None and cut != shownCut(self.ui):
            self.show.emit(*cut)
