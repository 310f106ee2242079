"""The segment's prompts: one line in words, which unfolds to a list of slices."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui import text, views
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.prompts.promptnodes import PromptItem

_ROW, _MOST = 24, 110  # pixels: height of a row, and of the list
_ARROW = 24  # pixels that the button needs beside its text


class PromptList(Part):
    """Lists prompts and edited slices; a click on a row goes to its slice, a cross takes its prompts away."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self._slices: list[int] = []
        self._edited: list[int] = []
        self._lines = [""]
        _layOut(ui.promptTable)
        ui.promptTable.connect("cellClicked(int,int)", guarded(self.goToRow))
        ui.promptListButton.connect("toggled(bool)", guarded(self._fold))

    @property
    def isOutdated(self) -> bool:
        """Whether other slices were edited than are listed."""
        return bool(self.controller.review.edited() != self._edited)

    def show(self, items: list[PromptItem]) -> None:
        """List these prompts, and the slices that the controller knows as edited."""
        bySlice: dict[int, list[PromptItem]] = {}
        for item in items:
            bySlice.setdefault(item.sliceIndex, []).append(item)
        self._edited = self.controller.review.edited()
        self._slices = sorted({*bySlice, *self._edited})
        self._lines = text.promptsTexts(len(items), self._slices, len(self._edited))
        table = self.ui.promptTable
        table.setRowCount(len(self._slices))
        for row, index in enumerate(self._slices):
            line = text.promptText(index, bySlice.get(index, []), index in self._edited)
            table.setItem(row, 0, qt.QTableWidgetItem(line))
            table.setCellWidget(row, 1, self._removeButton(index))
        table.setFixedHeight(min(_ROW * len(self._slices) + 2, _MOST))
        self._fold()

    def goToRow(self, row: int) -> None:
        """Bring the slice of a row into view."""
        views.showSlice(self.controller, self._slices[row])

    def follow(self) -> None:
        """Say as much as there is room for; called often, so that it does little."""
        button = self.ui.promptListButton
        metrics, room = button.fontMetrics(), max(button.width - _ARROW, 0)
        fits = (one for one in self._lines if metrics.boundingRect(one).width() <= room)
        button.text = next(fits, None) or metrics.elidedText(self._lines[-1], qt.Qt.ElideRight, room)

    def update(self) -> None:
        """Enable what can be used."""
        whyNot = "" if self._slices else _("There are no prompts yet.")
        explain(self.ui.promptListButton, whyNot)
        explain(self.ui.removePromptsButton, whyNot)

    def _fold(self) -> None:
        """Show the list if it is unfolded and there is something to list."""
        button = self.ui.promptListButton
        button.setArrowType(qt.Qt.DownArrow if button.checked else qt.Qt.RightArrow)
        self.ui.promptListFrame.visible = bool(self._slices) and button.checked
        self.follow()

    def _removeButton(self, sliceIndex: int) -> Any:
        button = qt.QToolButton()
        button.text = "✕"
        button.autoRaise = True
        says = _("Remove the prompts of slice {index}.").format(index=sliceIndex)
        button.toolTip = says
        button.setAccessibleName(says)
        button.connect("clicked()", guarded(partial(self._removeFrom, sliceIndex)))
        return button

    def _removeFrom(self, sliceIndex: int) -> None:
        """Take the prompts of a slice away; of one that has none, the edit, which is what it is listed for."""
        items = [item for item in self.controller.review.prompts() if item.sliceIndex == sliceIndex]
        for item in items:
            self.controller.prompting.removePrompt(item)
        if not items:
            self.controller.disown(sliceIndex)


def _layOut(table: Any) -> None:
    table.setColumnCount(2)
    table.horizontalHeader().setVisible(False)
    table.verticalHeader().setVisible(False)
    table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
    table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
    table.verticalHeader().setDefaultSectionSize(_ROW)
