"""The prompt buttons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text, views
from MedSAM2SlicerLib.ui.moremenu import MoreMenu
from MedSAM2SlicerLib.ui.part import Part, explain
from MedSAM2SlicerLib.ui.placing import Placer
from MedSAM2SlicerLib.ui.promptlist import PromptList

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller


class PromptControls(Part):
    """Puts prompts into the scene and shows them slice by slice.

    firstPlaced(sliceNode): the first prompt was set, in this view. changed(): the list has changed.
    placing(kind): what the mouse places from now on, "" for nothing. placed(): in a view. failed(message).
    """

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.firstPlaced, self.changed, self.placing, self.failed = Signal(), Signal(), Signal(), Signal()
        self.placed = Signal()
        self.view: Any = None
        """The slice node of the view that was clicked last."""
        self.placer = Placer(self._onPlaced, self._showPlacing)
        self._buttons = {"include": ui.includeButton, "exclude": ui.excludeButton, "box": ui.boxButton}
        for kind, button in self._buttons.items():
            button.connect("clicked()", guarded(partial(self.place, kind)))
        self.more = MoreMenu(ui, controller, self.place)
        self.list = PromptList(ui, controller)
        ui.removePromptsButton.connect("clicked()", guarded(self.removeAll))
        self.hear(controller.promptsChanged, self.refresh)
        self.hear(controller.reviewed, self._onReviewed)

    def hint(self) -> str:
        """Return what to do with the mouse now, or to begin with."""
        return text.placingText(self.placer.kind) or self.firstHint()

    def firstHint(self) -> str:
        """Return what to do while nothing is being placed."""
        return _("Press Include (a) or Box (d), then click on the object in a slice view.")

    def place(self, kind: str) -> None:
        """Start placing prompts of a kind; a second time ends it."""
        if kind == self.placer.kind:
            self.stopPlacing()
            return
        try:
            self.placer.start(kind, self.controller.prompting.promptNode(kind))
        except MedSAM2Error as error:
            self.failed.emit(str(error))
        self._showPlacing()

    def stopPlacing(self) -> None:
        """End place mode."""
        self.placer.stop()
        self._showPlacing()

    def removeAll(self) -> None:
        """Remove all prompts of the segment."""
        self.stopPlacing()
        self.controller.prompting.removeAllPrompts()

    def refresh(self) -> None:
        """Show the controller's prompts."""
        items = self.controller.review.prompts()
        self.placer.watch(item.nodeId for item in items if item.nodeId)
        self.list.show(items)
        self.changed.emit()

    def update(self, whyNot: str) -> None:
        """Enable the buttons unless there is a reason why not."""
        for button in self._buttons.values():
            explain(button, whyNot)
        self.more.update(whyNot)
        self.list.update()

    def close(self) -> None:
        """Leave place mode and the markups alone."""
        super().close()
        self.placer.close()

    def _onReviewed(self) -> None:
        if self.list.isOutdated:
            self.refresh()

    def _onPlaced(self, node: Any, pointId: str, view: Any, placed: str) -> None:
        self.view = view or self.view
        self.placed.emit()
        if view and placed == "box":
            views.flatten(node, view, self.controller.volumeNode)
            self.controller.prompting.keepBox(node.GetID())
        if view and len(self.controller.review.prompts()) == 1:
            self.firstPlaced.emit(view)
        index = self._sliceOf(node.GetID(), pointId)
        if index is None and pointId:
            index = 0  # a prompt that cannot be used is not listed: a preview, of whatever slice, says why
        if index is None:
            self.refresh()
        else:
            self.controller.prompting.preview(index)

    def _sliceOf(self, nodeId: str, pointId: str) -> int | None:
        """The slice that a new, moved or removed point changes, None if no prompt is left there."""
        items = self.controller.review.prompts()
        if not pointId:
            shown = views.shownSlice(self.controller)
            return shown if shown in {item.sliceIndex for item in items} else None
        ofNode = [item for item in items if item.nodeId == nodeId]
        exact = [item for item in ofNode if item.pointId == pointId]
        # A box, a line or an outline is one prompt, whichever of its points was touched.
        return next((item.sliceIndex for item in exact or ofNode[-1:]), None)

    def _showPlacing(self) -> None:
        for kind, button in self._buttons.items():
            button.checked = kind == self.placer.kind
        self.more.showPlacing(self.placer.kind)
        self.placing.emit(self.placer.kind)
