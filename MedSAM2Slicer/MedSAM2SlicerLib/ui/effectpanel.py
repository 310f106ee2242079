"""The panel's parts in the Segment Editor effect: the editor chooses what is worked on, the mouse makes prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from MedSAM2SlicerLib.ui.promptcontrols import PromptControls
from MedSAM2SlicerLib.ui.source import Source, SourceControls

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.mouse.slicegestures import Ras


class EditorSource(SourceControls):
    """What Segment Editor has selected. The panel's own selectors are hidden and choose nothing."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        self._selected = Source()
        super().__init__(ui, controller)
        ui.sourceFrame.hide()
        for selector in (ui.volumeSelector, ui.segmentationSelector, ui.segmentSelector):
            selector.blockSignals(True)

    def source(self) -> Source:
        """Return what is selected."""
        return self._selected

    def whyNot(self) -> str:
        """Return why nothing can be drawn, nothing if it can."""
        reason = super().whyNot()
        return reason or ("" if self._selected.segmentId else _("Select a segment in the table above first."))

    def follow(self) -> None:
        """Notice other voxels in the volume; what is selected the editor tells."""
        self.controller.setVolume(self._selected.volume)

    def _show(self, source: Source) -> None:
        self._selected = source


class GestureControls(PromptControls):
    """Include and Exclude say what a click in a view means; there is no place mode for points."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        self._include = True
        self._draws = False
        self._whyNot = ""
        self._announcing = False
        super().__init__(ui, controller)
        self._showPlacing()

    def firstHint(self) -> str:
        """Return what to do with the mouse while nothing is being placed."""
        if self._draws:
            inside, outside = _("Draw a line inside the object; s ends."), _("Draw over what to leave out; s ends.")
            return inside if self._include else outside
        if not self._include:
            return _("Click on what the mask should leave out; a switches back to including.")
        return _("Click on the object in a slice view, or drag a box around it.")

    def place(self, kind: str) -> None:
        """Choose what clicks mean (Exclude a second time goes back), or place a prompt of another kind."""
        if kind == "scribble":
            self._draws = not self._draws
            self.stopPlacing()
            return
        if kind not in ("include", "exclude"):
            super().place(kind)
            return
        self._include = kind == "include" or not self._include
        self.stopPlacing()

    def addPoint(self, ras: Ras, view: Any) -> None:
        """Add a point that was clicked in a slice view."""
        self._add(lambda: self.controller.prompting.addPoint(ras, self._include), view)

    def addBox(self, corner: Ras, opposite: Ras, view: Any) -> None:
        """Add a box that was drawn in a slice view."""
        self._add(lambda: self.controller.prompting.addBox(corner, opposite, view), view)

    def addStroke(self, path: Sequence[Ras], view: Any) -> None:
        """Add a stroke that was drawn in a slice view."""
        self._add(lambda: self.controller.prompting.addScribble(path, self._include), view)

    def isDrawing(self) -> bool:
        """Return whether a drag is a stroke."""
        return self._draws

    def mayPrompt(self) -> bool:
        """Return whether prompts can be added now; if not, why is told."""
        if self._whyNot:
            self.failed.emit(self._whyNot)
        return not self._whyNot

    def update(self, whyNot: str) -> None:
        """Enable the buttons unless there is a reason why not."""
        self._whyNot = whyNot
        super().update(whyNot)

    def refresh(self) -> None:
        """Show the controller's prompts, but not those that are about to change."""
        if not self._announcing:
            super().refresh()

    def _add(self, add: Callable[[], None], view: Any) -> None:
        """Add a prompt; the first one decides on the axis, and so on the slice that it lies on."""
        self._announcing, self.view = True, view
        try:
            if not self.controller.review.prompts():
                self.firstPlaced.emit(view)
            self.placer.watch([])  # the controller itself draws the slice of what it adds
            add()
        finally:
            self._announcing = False
            self.refresh()

    def _showPlacing(self) -> None:
        super()._showPlacing()
        if not self.placer.kind:
            self.ui.includeButton.checked = self._include
            self.ui.excludeButton.checked = not self._include
            self.more.showPlacing("scribble" if self._draws else "")
