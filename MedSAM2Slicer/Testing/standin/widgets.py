"""Stand-ins for the ctk and qMRML widgets that the panel uses: their properties, signals and habits, in small."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal
from shiboken6 import isValid

_HEADER = 24  # height of a section's button


class ctkCollapsibleButton(QtWidgets.QWidget):
    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setContentsMargins(0, _HEADER, 0, 0)

    def _getText(self) -> str:
        return self._text

    def _setText(self, text: str) -> None:
        self._text = text

    def _getCollapsed(self) -> bool:
        return self._collapsed

    def _setCollapsed(self, collapsed: bool) -> None:
        changed, self._collapsed = collapsed != self._collapsed, collapsed
        self._showContents()
        if changed:
            self.contentsCollapsed.emit(collapsed)

    text = Property(str, _getText, _setText)
    collapsed = Property(bool, _getCollapsed, _setCollapsed)

    def _showContents(self) -> None:
        self.setMaximumHeight(_HEADER if self._collapsed else 16777215)

    def mousePressEvent(self, event: Any) -> None:
        if event.position().y() < _HEADER:
            self._setCollapsed(not self._collapsed)

    def paintEvent(self, _event: Any) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(0, 0, self.width, _HEADER - 4, QtGui.QColor("#d8dde6"))
        painter.drawText(8, _HEADER - 9, f"{'▸' if self._collapsed else '▾'} {self._text}")
        painter.end()


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """Of a text with a <br> it shows what is before that, an ellipsis, and a link to the rest."""

    def setCollapsibleText(self, text: str) -> None:
        teaser, lineBreak, _rest = text.partition("<br>")
        more = '&hellip; <a href="#more">Show details.</a></html>'
        self.setHtml(f"{teaser}{more}" if lineBreak else text)


class ctkRangeWidget(QtWidgets.QWidget):
    valuesChanged = Signal(float, float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._low, self._high = QtWidgets.QDoubleSpinBox(self), QtWidgets.QDoubleSpinBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for box, stretch in ((self._low, 0), (self._high, 0)):
            layout.addWidget(box, stretch)
            box.valueChanged.connect(self._onValue)
        layout.insertWidget(1, QtWidgets.QSlider(QtCore.Qt.Horizontal, self), 1)

    def setRange(self, minimum: float, maximum: float) -> None:
        self._low.setRange(minimum, maximum)
        self._high.setRange(minimum, maximum)

    def setValues(self, low: float, high: float) -> None:
        self._low.setValue(low)
        self._high.setValue(high)

    def _onValue(self) -> None:
        self.valuesChanged.emit(self._low.value, self._high.value)

    def _setDecimals(self, decimals: int) -> None:
        self._low.setDecimals(decimals)
        self._high.setDecimals(decimals)

    minimum = Property(float, lambda self: self._low.minimum, lambda self, value: self.setRange(value, self.maximum))
    maximum = Property(float, lambda self: self._high.maximum, lambda self, value: self.setRange(self.minimum, value))
    minimumValue = Property(float, lambda self: self._low.value, lambda self, value: self._low.setValue(value))
    maximumValue = Property(float, lambda self: self._high.value, lambda self, value: self._high.setValue(value))
    singleStep = Property(float, lambda self: self._low.singleStep, lambda self, value: self._low.setSingleStep(value))
    decimals = Property(int, lambda self: self._low.decimals, _setDecimals)


class ctkSliderWidget(QtWidgets.QWidget):
    valueChanged = Signal(float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box, self._slider = QtWidgets.QDoubleSpinBox(self), QtWidgets.QSlider(QtCore.Qt.Horizontal, self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider, 1)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._onValue)

    def _onValue(self, value: float) -> None:
        self._slider.setRange(0, 100)
        self._slider.setValue(round(100 * (value - self.minimum) / (self.maximum - self.minimum)))
        self.valueChanged.emit(value)

    value = Property(float, lambda self: self._box.value, lambda self, value: self._box.setValue(value))
    minimum = Property(float, lambda self: self._box.minimum, lambda self, value: self._box.setMinimum(value))
    maximum = Property(float, lambda self: self._box.maximum, lambda self, value: self._box.setMaximum(value))
    singleStep = Property(float, lambda self: self._box.singleStep, lambda self, step: self._box.setSingleStep(step))
    pageStep = Property(float, lambda self: 10 * self._box.singleStep, lambda self, step: None)
    decimals = Property(int, lambda self: self._box.decimals, lambda self, value: self._box.setDecimals(value))
    suffix = Property(str, lambda self: self._box.suffix, lambda self, text: self._box.setSuffix(text))


class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    signatures = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qMRMLNodeComboBox(QtWidgets.QComboBox):
    currentNodeChanged = Signal(object)
    signatures = ("currentNodeChanged(vtkMRMLNode*)",)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._current: Any = None
        self.currentIndexChanged.connect(self._onIndex)

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        events = (scene.NodeAddedEvent, scene.NodeRemovedEvent)
        tags = [scene.AddObserver(event, lambda *_: self._populate()) for event in events]
        self.destroyed.connect(lambda: [scene.RemoveObserver(tag) for tag in tags])
        self._populate()

    def currentNode(self) -> Any:
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        self._choose(node if node in self._nodes() else None)

    def nodes(self) -> list[Any]:
        return self._nodes()

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        kinds = self.property("nodeTypes") or []
        hidden = self.property("hideChildNodeTypes") or []
        found = [node for kind in kinds for node in slicer.util.getNodesByClass(kind, self._scene)]
        return [node for node in found if not node.GetHideFromEditors() and not any(node.IsA(one) for one in hidden)]

    def _populate(self) -> None:
        nodes = self._nodes()
        self.blockSignals(True)
        self.clear()
        self.addItem(self.property("noneDisplay") or "None", None)
        for node in nodes:
            self.addItem(node.GetName(), node.GetID())
        self.blockSignals(False)
        self._choose(self._current if self._current in nodes else None)

    def _choose(self, node: Any) -> None:
        changed, self._current = node is not self._current, node
        self.blockSignals(True)
        self.setCurrentIndex(self._nodes().index(node) + 1 if node else 0)
        self.blockSignals(False)
        if changed:
            self.currentNodeChanged.emit(node)

    def _onIndex(self, index: int) -> None:
        nodes = self._nodes()
        self._choose(nodes[index - 1] if 0 < index <= len(nodes) else None)


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Has a label of its own, and keeps the last segment's ID when the segmentation has no segments or is gone."""

    currentSegmentChanged = Signal(str)
    _none = "None"
    signatures = (*qMRMLWidget.signatures, "currentSegmentChanged(QString)")

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QComboBox(self)
        label = QtWidgets.QLabel("Segment: ", self)
        label.setObjectName("label_Segment")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label)
        layout.addWidget(self._box, 1)
        self._box.currentIndexChanged.connect(self._onIndex)
        self._node: Any = None
        self._tags: list[int] = []
        self._segmentId = ""

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        if node is self._node:
            return
        for tag in self._tags:
            self._node.RemoveObserver(tag)
        self._node = node
        events = (slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved)
        self._tags = [node.AddObserver(event, lambda *_: self._onSegments()) for event in events] if node else []
        self._populate()

    def currentSegmentID(self) -> str:
        return self._segmentId

    def setCurrentSegmentID(self, segmentId: str) -> None:
        index = self._box.findData(segmentId or self._none)
        if index >= 0:
            self._box.setCurrentIndex(index)

    def _onSegments(self) -> None:
        if isValid(self):
            self._populate()

    def _populate(self) -> None:
        segmentation = self._node.GetSegmentation() if self._node else None
        ids = list(segmentation.GetSegmentIDs()) if segmentation else []
        self._box.blockSignals(True)
        self._box.clear()
        if ids and self.property("noneEnabled"):
            self._box.addItem(self._none, self._none)
        for segmentId in ids:
            self._box.addItem(segmentation.GetSegment(segmentId).GetName(), segmentId)
        self._box.setCurrentIndex(self._box.findData(self._segmentId or self._none))
        self._box.blockSignals(False)
        if ids and self._box.currentIndex < 0:
            self._box.setCurrentIndex(1 if self.property("noneEnabled") else 0)

    def _onIndex(self, index: int) -> None:
        data = self._box.itemData(index)
        self._segmentId = "" if data == self._none else data
        self.currentSegmentChanged.emit(self._segmentId)


WIDGETS: list[type] = [
    ctkCollapsibleButton,
    ctkFittedTextBrowser,
    ctkRangeWidget,
    ctkSliderWidget,
    qMRMLWidget,
    qMRMLNodeComboBox,
    qMRMLSegmentSelectorWidget,
]
