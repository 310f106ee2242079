"""The prompt buttons and the list of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.promptnodes import otherMarkups
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text, views
from MedSAM2SlicerLib.ui.part import Part, explain
from MedSAM2SlicerLib.ui.placing import Placer

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.promptnodes import PromptItem


class PromptControls(Part):
    """Puts prompts into the scene and shows them slice by slice.

    firstPlaced(sliceNode): the first prompt was set, in this view. changed(): the list is another than before.
    failed(message).
    """

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.firstPlaced, self.changed, self.failed = Signal(), Signal(), Signal()
        self.placer = Placer(self._onPlaced, self._showPlacing)
        self._buttons = {
            "include": ui.includeButton,
            "exclude": ui.excludeButton,
            "box": ui.boxButton,
            "line": ui.lineButton,
            "curve": ui.outlineButton,
        }
        for kind, button in self._buttons.items():
            button.connect("clicked()", lambda kind=kind: self.place(kind))
        self.menu = qt.QMenu(ui.segmentPromptButton)
        self.menu.connect("aboutToShow()", self.fillMenu)
        ui.segmentPromptButton.setMenu(self.menu)
        ui.removePromptsButton.connect("clicked()", self.removeAll)
        ui.promptTable.connect("cellClicked(int,int)", self.goToRow)
        _layOut(ui.promptTable)
        self._slices: list[int] = []
        self._edited: list[int] = []
        self.hear(controller.promptsChanged, self.refresh)
        self.hear(controller.reviewed, self._onReviewed)

    def place(self, kind: str) -> None:
        """Start placing prompts of a kind; a second time ends it."""
        if kind == self.placer.kind:
            self.stopPlacing()
            return
        try:
            self.placer.start(kind, self.controller.promptNode(kind))
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
        self.controller.removeAllPrompts()

    def refresh(self) -> None:
        """Show the controller's prompts."""
        bySlice: dict[int, list[PromptItem]] = {}
        items = self.controller.prompts()
        for item in items:
            bySlice.setdefault(item.sliceIndex, []).append(item)
        self._edited = self.controller.edited()
        self._slices = sorted({*bySlice, *self._edited})
        self.placer.watch(item.nodeId for item in items if item.nodeId)
        table = self.ui.promptTable
        table.visible = bool(self._slices)
        table.setRowCount(len(self._slices))
        for row, index in enumerate(self._slices):
            table.setItem(
                row, 0, qt.QTableWidgetItem(text.promptText(index, bySlice.get(index, []), index in self._edited))
            )
            table.setCellWidget(row, 1, self._removeButton(index))
        self.changed.emit()

    def goToRow(self, row: int) -> None:
        """Bring the slice of a row into view."""
        views.showSlice(self.controller, self._slices[row])

    def fillMenu(self) -> None:
        """Offer the other segments of the segmentation, and lines of the scene such as measurements."""
        self.menu.clear()
        for segmentId, name in otherSegments(self.controller):
            action = self.menu.addAction(name)
            action.connect("triggered()", lambda segmentId=segmentId: self.controller.addSegmentPrompt(segmentId, None))
        for line in otherMarkups("vtkMRMLMarkupsLineNode"):
            action = self.menu.addAction(_("{name} (line)").format(name=line.GetName()))
            nodeId = line.GetID()
            action.connect("triggered()", lambda nodeId=nodeId: self._takeLine(nodeId))
        if not self.menu.actions():
            self.menu.addAction(_("There is no other segment, and no line.")).setEnabled(False)

    def update(self, whyNot: str) -> None:
        """Enable the buttons unless there is a reason why not."""
        for button in (*self._buttons.values(), self.ui.segmentPromptButton):
            explain(button, whyNot)
        explain(self.ui.removePromptsButton, "" if self._slices else _("There are no prompts yet."))

    def close(self) -> None:
        """Leave place mode and the markups alone."""
        super().close()
        self.placer.close()

    def _takeLine(self, nodeId: str) -> None:
        self.controller.addLinePrompt(slicer.mrmlScene.GetNodeByID(nodeId))

    def _removeButton(self, sliceIndex: int) -> Any:
        button = qt.QToolButton()
        button.text = "✕"
        button.autoRaise = True
        says = _("Remove the prompts of slice {index}.").format(index=sliceIndex)
        button.toolTip = says
        button.setAccessibleName(says)
        button.connect("clicked()", lambda: self._removeFrom(sliceIndex))
        return button

    def _removeFrom(self, sliceIndex: int) -> None:
        """Take the prompts of a slice away; of one that has none, the edit, which is what it is listed for."""
        items = [item for item in self.controller.prompts() if item.sliceIndex == sliceIndex]
        for item in items:
            self.controller.removePrompt(item)
        if not items:
            self.controller.disown(sliceIndex)

    def _onReviewed(self) -> None:
        if self.controller.edited() != self._edited:
            self.refresh()

    def _onPlaced(self, node: Any, pointId: str, view: Any, isNewBox: bool) -> None:
        if view and isNewBox:
            views.flatten(node, view, self.controller)
            self.controller.keepBox(node.GetID())
        if view and len(self.controller.prompts()) == 1:
            self.firstPlaced.emit(view)
        index = self._sliceOf(node.GetID(), pointId)
        if index is None and pointId:
            index = 0  # a prompt that cannot be used is not listed: a preview, of whatever slice, says why
        if index is None:
            self.refresh()
        else:
            self.controller.preview(index)

    def _sliceOf(self, nodeId: str, pointId: str) -> int | None:
        """The slice that a new, moved or removed point changes, None if no prompt is left there."""
        items = self.controller.prompts()
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


def otherSegments(controller: Controller) -> list[tuple[str, str]]:
    """Return IDs and names of the segments beside the one being drawn."""
    node = controller.segmentationNode
    if not node:
        return []
    segments = node.GetSegmentation()
    others = [one for one in segments.GetSegmentIDs() if one != controller.segmentId]
    return [(one, segments.GetSegment(one).GetName()) for one in others]


def _layOut(table: Any) -> None:
    table.setColumnCount(2)
    table.horizontalHeader().setVisible(False)
    table.verticalHeader().setVisible(False)
    table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
    table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
    table.verticalHeader().setDefaultSectionSize(24)
