"""The table of a cohort's cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from medsam2_core.cohort.states import ACCEPTED, DONE, FAILED, OPEN
from MedSAM2SlicerLib.cohort.cohortfolder import CaseLine
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.scene.measures import milliliters
from MedSAM2SlicerLib.signal import Signal

_ROW = 22  # pixels: height


class CaseTable:
    """Shows cases in their order. chosen(name): a row was double-clicked; selected(): another row is selected.

    Only what changed is written: a table of 1000 cases is made anew with another filter alone.
    """

    def __init__(self, table: Any) -> None:
        self.chosen, self.selected = Signal(), Signal()
        self._table = table
        self._shown: list[CaseLine] = []
        self._loaded = ""
        header = table.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in range(1, table.columnCount):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(_ROW)
        table.connect("cellDoubleClicked(int,int)", guarded(self._onDoubleClicked))
        table.connect("itemSelectionChanged()", guarded(self.selected.emit))

    def line(self) -> CaseLine | None:
        """Return the selected case; None if none is."""
        row = self._table.currentRow()
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def show(self, lines: Sequence[CaseLine], name: str) -> None:
        """List these cases, and select the one that is loaded, of this name, when it is another than before.

        Else the selection stays with its case: somebody may be about to act on that.
        """
        selected, isOther = self.line(), name != self._loaded
        self._loaded = name
        wanted = {line.name for line in lines}
        for row in reversed(range(len(self._shown))):
            if self._shown[row].name not in wanted:
                self._table.removeRow(row)
                del self._shown[row]
        if [line.name for line in self._shown] != [line.name for line in lines]:
            self._shown = []
            self._table.setRowCount(len(lines))
        for row, line in enumerate(lines):
            if row >= len(self._shown):
                self._shown.append(line)
            elif self._shown[row] == line:
                continue
            self._shown[row] = line
            self._write(row, line)
        kept = name if isOther or selected is None or selected.name not in wanted else selected.name
        if kept in wanted:
            self._table.selectRow([line.name for line in self._shown].index(kept))

    def _write(self, row: int, line: CaseLine) -> None:
        confidence = "" if line.confidence is None else f"{line.confidence:.2f}"
        numbers = (milliliters(line.volumeMl), confidence, f"{line.doubt:.2f}") if line.canBeLoaded else ("", "", "")
        for column, text in enumerate((line.name, stateText(line), *numbers)):
            item = qt.QTableWidgetItem(text)
            if column > 1:
                item.setTextAlignment(int(qt.Qt.AlignRight | qt.Qt.AlignVCenter))
            item.setToolTip(line.sentence or line.name)
            self._table.setItem(row, column, item)

    def _onDoubleClicked(self, row: int) -> None:
        self.chosen.emit(self._shown[row].name)


def stateText(line: CaseLine) -> str:
    """Return the state of a case in a word or two."""
    texts = {
        OPEN: _("not done"),
        FAILED: _("failed"),
        DONE: _("to review"),
        ACCEPTED: _("accepted"),
    }
    if line.hasDraft:
        return _("accepted, draft") if line.state == ACCEPTED else _("draft")
    return texts[line.state]
