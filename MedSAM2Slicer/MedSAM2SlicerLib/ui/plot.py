"""The confidence of every slice as a column: what a person looks at to decide which slices to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from MedSAM2SlicerLib.review import DOUBTFUL, SliceReview
from MedSAM2SlicerLib.signal import Signal

_HEIGHT = 72
_STRIP = 6  # above and below the columns, for the marks that tell states apart without color
_DOUBT = "#c84b00"  # dark orange: tells from Qt's highlight also with red-green blindness


class ConfidencePlot(qt.QWidget):
    """One column a slice, as high as the confidence is.

    A prompted slice has the accent color and a dot above, a doubtful one is orange with a tick below. A frame marks the
    slice in view. `clicked` gives the index of the slice under the mouse.
    """

    def __init__(self) -> None:
        qt.QWidget.__init__(self)
        self.clicked = Signal()
        self._slices: Mapping[int, SliceReview] = {}
        self._count = 0
        self._current: int | None = None
        self.setMinimumHeight(_HEIGHT)
        self.setMouseTracking(True)
        self.setAccessibleName(_("Confidence of each slice"))

    def showSlices(self, slices: Mapping[int, SliceReview], count: int) -> None:
        """Show these slices of a volume of `count`."""
        self._slices, self._count = slices, count
        self.update()

    def setCurrent(self, index: int | None) -> None:
        """Mark the slice in view."""
        if index != self._current:
            self._current = index
            self.update()

    def sliceAt(self, x: float) -> int | None:
        """Return the slice whose column is at `x` pixels from the left, None beside the columns."""
        if not self._count or not 0 <= x < self.width:
            return None
        return int(x * self._count / self.width)

    def paintEvent(self, _event: Any) -> None:
        """Draw (called by Qt)."""
        painter = qt.QPainter(self)
        painter.fillRect(0, 0, self.width, self.height, self._color("Base"))
        self._drawThreshold(painter)
        for index, review in self._slices.items():
            self._drawSlice(painter, index, review)
        self._drawCurrent(painter)
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        """Tell which slice was clicked (called by Qt)."""
        index = self.sliceAt(_x(event))
        if index is not None:
            self.clicked.emit(index)

    def mouseMoveEvent(self, event: Any) -> None:
        """Say which slice is under the mouse (called by Qt)."""
        index = self.sliceAt(_x(event))
        self.toolTip = "" if index is None else self._description(index)

    def _description(self, index: int) -> str:
        review = self._slices.get(index)
        if review is None:
            return _("Slice {index}: not segmented").format(index=index)
        values = {"index": index, "confidence": f"{review.confidence:.2f}"}
        if review.state == "prompted":
            return _("Slice {index}: prompted, confidence {confidence}").format(**values)
        if review.doubtful:
            return _("Slice {index}: doubtful, confidence {confidence}").format(**values)
        return _("Slice {index}: confidence {confidence}").format(**values)

    def _drawSlice(self, painter: Any, index: int, review: SliceReview) -> None:
        left, width = self._column(index)
        top = self._y(review.confidence)
        bottom = self.height - _STRIP
        prompted = review.state == "prompted"
        color = self._color("Highlight") if prompted else self._color("Mid")
        if review.doubtful:
            color = qt.QColor(_DOUBT)
            painter.fillRect(left, bottom + 2, width, _STRIP - 2, color)
        painter.fillRect(left, top, width, bottom - top, color)
        if prompted:
            side = _STRIP - 2
            painter.fillRect(left + (width - side) // 2, 0, side, side, color)

    def _drawThreshold(self, painter: Any) -> None:
        painter.setPen(self._color("Midlight"))
        painter.drawLine(0, self._y(DOUBTFUL), self.width, self._y(DOUBTFUL))

    def _drawCurrent(self, painter: Any) -> None:
        if self._current is not None and self._count:
            left, width = self._column(self._current)
            painter.setPen(self._color("Text"))
            painter.drawRect(left - 1, 0, width + 1, self.height - 1)

    def _column(self, index: int) -> tuple[int, int]:
        """Left edge and width in pixels; a gap is left where there is room for one."""
        left, right = (position * self.width // self._count for position in (index, index + 1))
        width = max(right - left, 1)
        return left, width - 1 if width > 3 else width

    def _y(self, confidence: float) -> int:
        room = self.height - 2 * _STRIP
        return _STRIP + round(room * (1 - min(max(confidence, 0.0), 1.0)))

    def _color(self, role: str) -> Any:
        return self.palette.color(getattr(qt.QPalette, role))


def _x(event: Any) -> float:
    position = event.position() if hasattr(event, "position") else event.pos()  # Qt 6, Qt 5
    return float(position.x())
