"""The effect's panel where Slicer has it: a window of a screen's size, with Segment Editor's own controls sketched.

What stands around the panel is drawn as large as in Slicer 5.13, to see what of the panel needs no scrolling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from picture_user import LEVEL, WINDOW, Bools

_BARS, _TITLE, _STATUS = 56, 30, 44  # pixels: menu and tool bar; the module's name; Data Probe, closed, and status bar
_EFFECTS = (
    "None|Threshold|Paint|Draw|Erase|Level tracing|Grow from seeds|Fill between slices|Margin|Hollow|Smoothing|Scissors"
)
_EFFECTS += "|Islands|Logical|Mask volume|MedSAM-2"
_ACROSS = 8  # effects in a row
_MOST = 16777215  # pixels: Qt's largest size
_COLOR = np.array([86, 181, 233])  # of the segment


def screen(face: Any, width: int, size: tuple[int, int], segments: list[str], organ: Bools, index: int) -> Any:
    """Return a window of this size, its panel so wide, with the effect's own widget and slice `index` of the CT."""
    import qt

    window = qt.QWidget()
    window.setFixedSize(*size)
    layout = qt.QGridLayout(window)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addWidget(_bar("File   Edit   View   Help", _BARS), 0, 0, 1, 2)
    layout.addWidget(_bar("Modules:  Segment Editor", _TITLE), 1, 0)
    area = qt.QScrollArea()
    area.setFixedWidth(width)
    area.setFrameShape(qt.QFrame.NoFrame)
    area.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    area.setWidgetResizable(True)
    area.setWidget(_editor(face.uiWidget, segments))
    layout.addWidget(area, 2, 0)
    layout.addWidget(_bar("▸ Data Probe", _STATUS), 3, 0)
    layout.addWidget(_view(face.controller, organ, index, size[0] - width, size[1] - _BARS), 1, 1, 3, 1)
    return window


def _editor(panel: Any, segments: list[str]) -> Any:
    import qt

    editor = qt.QWidget()
    column = qt.QVBoxLayout(editor)
    column.setSpacing(4)
    for label, value in (("Segmentation:", "Segmentation"), ("Source volume:", "CT")):
        box = qt.QComboBox()
        box.addItem(value)
        column.addLayout(_row(qt.QLabel(label), box))
    column.addLayout(_row(*map(qt.QPushButton, ("Add", "Remove", "Show 3D", "Export"))))
    column.addWidget(_table(segments))
    effects = qt.QGridLayout()
    effects.setSpacing(2)
    for place, name in enumerate(_EFFECTS.split("|")):
        button = qt.QToolButton()
        button.text, button.checkable = name[:2], True
        button.setFixedSize(36, 30)
        button.checked = name == "MedSAM-2"
        effects.addWidget(button, place // _ACROSS, place % _ACROSS)
    column.addLayout(effects)
    column.addWidget(qt.QLabel("MedSAM-2: Segment an object from a click or a box…"))
    panel.setMinimumSize(0, 0)
    panel.setMaximumSize(_MOST, _MOST)
    column.addWidget(panel)
    column.addLayout(_row(*map(qt.QPushButton, ("Undo", "Redo"))))
    column.addWidget(qt.QLabel("▸ Masking"))
    column.addStretch(1)
    panel.show()
    return editor


def _table(segments: list[str]) -> Any:
    import qt

    table = qt.QTableWidget(len(segments), 1)
    table.setHorizontalHeaderLabels(["Name"])
    table.horizontalHeader().setStretchLastSection(True)
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(24)
    for row, name in enumerate(segments):
        table.setItem(row, 0, qt.QTableWidgetItem(name))
    table.selectRow(0)
    table.setFixedHeight(24 * len(segments) + 28)
    return table


def _row(*widgets: Any) -> Any:
    import qt

    row = qt.QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row


def _bar(text: str, height: int) -> Any:
    import qt

    label = qt.QLabel(f"  {text}")
    label.setFixedHeight(height)
    return label


def _view(controller: Any, organ: Bools, index: int, width: int, height: int) -> Any:
    """An axial slice with the mask upon it, as large as there is room for."""
    import qt
    import slicer.util

    voxels = slicer.util.arrayFromVolume(controller.volumeNode)[index].astype(float)
    gray = np.clip((voxels - LEVEL) / WINDOW + 0.5, 0, 1) * 255
    rgb = np.repeat(gray[..., None], 3, axis=2)
    rgb[organ[index]] = 0.65 * rgb[organ[index]] + 0.35 * _COLOR
    rgb = rgb[::-1]  # the patient's front up
    label = qt.QLabel()
    label.setStyleSheet("background: black")
    label.setFixedSize(width, height)
    label.setAlignment(qt.Qt.AlignCenter)
    side = min(width, height)
    label.setPixmap(_pixmap(rgb.astype(np.uint8)).scaled(side, side, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
    return label


def _pixmap(rgb: npt.NDArray[np.uint8]) -> Any:
    import qt

    rows, columns, _three = rgb.shape
    picture = qt.QPixmap()
    picture.loadFromData(b"P6 %d %d 255\n" % (columns, rows) + np.ascontiguousarray(rgb).tobytes())
    return picture
