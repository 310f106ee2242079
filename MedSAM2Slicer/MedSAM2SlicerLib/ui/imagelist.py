"""The list of the tab Images: which images are a set, and what is known of each, the most doubtful first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.images.frameimages import FrameImages
from MedSAM2SlicerLib.images.volumeimages import VolumeImages, imageVolumes
from MedSAM2SlicerLib.signal import Signal

if TYPE_CHECKING:
    from MedSAM2SlicerLib.images.setcontroller import ImageAnswer, ImageRow, SetController

_CHECK, _NAME, _CONFIDENCE, _AREA = range(4)
_ROW = 22  # pixels
_PROMPTED, _DRAWN = "●", "✎"  # before names


@dataclass(frozen=True)
class _Row:
    """A volume, None for a frame; whether it is checked, and what the columns behind its check mark say."""

    node: Any
    isChecked: bool
    texts: list[str]


class ImageList:
    """Volumes of one slice with check marks, or the frames of the sequence that is chosen.

    failed(text): why a sequence cannot be used. chosen(index): a person clicked on an image. renewed(): the set is
    another one, so what was said is of no use.
    """

    def __init__(self, ui: Any, controller: SetController) -> None:
        self.ui, self.controller = ui, controller
        self.failed, self.chosen, self.renewed = Signal(), Signal(), Signal()
        self._unchecked: set[Any] = set()  # nodes, as the ones below: another scene's have the same IDs
        self._set: object = None
        self._isPutOff = False
        self._checked: list[Any] = []  # the volumes that are the set; none where it is of frames
        self._others: list[Any] = []
        self._shown: list[int] = []  # the images of the rows
        self._filled: list[_Row] = []
        self._names: list[str] = []
        _layOut(ui.imageTable)
        ui.sequenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", guarded(self.refresh))
        controller.busyChanged.connect(self._onBusy)
        ui.imageTable.connect("cellClicked(int,int)", guarded(self._onClicked))

    def refresh(self) -> None:
        """Take up the images of the scene as they are now; during a run that waits for its end."""
        wasPutOff, self._isPutOff = self._isPutOff, self.controller.busy
        if self._isPutOff:
            return
        browser = self.ui.sequenceSelector.currentNode()
        volumes = imageVolumes(slicer.mrmlScene)
        self._unchecked &= set(volumes)
        nodes = [] if browser else volumes
        self._checked = [node for node in nodes if node not in self._unchecked]
        self._others = [node for node in nodes if node in self._unchecked]
        chosen = (browser, self._checked)
        # A run on frames of which some were removed ends with what is to be done.
        if chosen == self._set and (self.controller.busy or not self.controller.images.isOutdated):
            self.show()
            return
        self._set, inView = chosen, self.controller.images.inView
        whyNot = ""
        try:
            self.controller.setImages(FrameImages(browser, inView) if browser else VolumeImages(self._checked, inView))
        except MedSAM2Error as error:
            self.controller.setImages(VolumeImages([], inView))
            whyNot = str(error)
        if not wasPutOff:  # else nobody would read how the run ended
            self.renewed.emit()
        if whyNot:
            self.failed.emit(whyNot)

    def clear(self) -> None:
        """Have no images, as the scene is being closed: a run ends, and the next scene may have the same IDs."""
        self._set, self._checked, self._others = None, [], []
        self.controller.setImages(VolumeImages([], self.controller.images.inView))
        self.renewed.emit()

    def show(self) -> None:
        """Show what is known of the images; behind them are the volumes that are not checked."""
        rows = self.controller.rows()
        self._shown = [row.index for row in rows]
        nodes = [self._checked[row.index] if self._checked else None for row in rows]
        filled = [self._row(node, _texts(row)) for node, row in zip(nodes, rows, strict=True)]
        filled += [self._row(node, [node.GetName(), "", ""]) for node in self._others]
        before, self._filled, self._names = self._filled, filled, self._namesNow()
        self.ui.imageTable.setRowCount(len(filled))
        for place, row in enumerate(filled):
            if [row] != before[place : place + 1]:  # of hundreds of rows, a click changes one
                self._fill(place, row)
        shown = self.controller.images.shown
        if shown in self._shown:
            self.ui.imageTable.selectRow(self._shown.index(shown))
        else:
            self.ui.imageTable.clearSelection()

    def follow(self) -> None:
        """Show the names that volumes have now (20 times a second, as the scene tells of no new names)."""
        if self._names != self._namesNow():
            self.show()

    def _namesNow(self) -> list[str]:
        return [node.GetName() for node in (*self._checked, *self._others)]

    def _row(self, node: Any, texts: list[str]) -> _Row:
        return _Row(node, node not in self._unchecked, texts)

    def _fill(self, place: int, row: _Row) -> None:
        table = self.ui.imageTable
        table.setCellWidget(place, _CHECK, None if row.node is None else self._box(row))
        for column, text in enumerate(row.texts, _NAME):
            table.setItem(place, column, qt.QTableWidgetItem(text))
        table.item(place, _NAME).setToolTip(_markTip(row.texts[0]))

    def _box(self, row: _Row) -> Any:
        box = qt.QCheckBox()
        box.checked = row.isChecked
        box.setAccessibleName(_("Segment {name}").format(name=row.texts[0]))
        box.connect("toggled(bool)", guarded(partial(self._onChecked, row.node)))
        return box

    def _onChecked(self, node: Any, isChecked: bool) -> None:
        (self._unchecked.discard if isChecked else self._unchecked.add)(node)
        qt.QTimer.singleShot(0, guarded(self.refresh))  # later, since the box itself goes with its row

    def _onBusy(self, _busy: bool) -> None:
        if self._isPutOff:
            qt.QTimer.singleShot(0, guarded(self.refresh))  # when the run has said how it ended

    def _onClicked(self, place: int, _column: int) -> None:
        if place < len(self._shown):
            self.chosen.emit(self._shown[place])


def _texts(row: ImageRow) -> list[str]:
    name = f"{_DRAWN} {row.name}" if row.isHandDrawn else f"{_PROMPTED} {row.name}" if row.isPrompted else row.name
    if row.answer is None:
        return [name, "", ""]
    return [name, f"{1 - row.answer.doubt:.2f}", _areaText(row.answer)]


def _markTip(name: str) -> str:
    """What the mark before a name means."""
    tips = {_DRAWN: _("Drawn by hand: a run keeps it."), _PROMPTED: _("With prompts.")}
    return tips.get(name.partition(" ")[0], "")


def _areaText(answer: ImageAnswer) -> str:
    if not answer.pixels:
        return _("not found")
    if answer.areaMm2 is None:
        return _("1 pixel") if answer.pixels == 1 else _("{count} pixels").format(count=answer.pixels)
    return _("{area:.0f} mm²").format(area=answer.areaMm2)


def _layOut(table: Any) -> None:
    table.setColumnCount(4)
    table.setHorizontalHeaderLabels(["", _("Image"), _("Confidence"), _("Area")])
    header = table.horizontalHeader()
    for column in (_CHECK, _CONFIDENCE, _AREA):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(_NAME, qt.QHeaderView.Stretch)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(_ROW)
