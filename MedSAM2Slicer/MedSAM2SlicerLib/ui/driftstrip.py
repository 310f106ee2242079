"""What is known of every slice as a column: what a person looks at to decide which slices to check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.scene.slicereview import ACCEPTED, EDITED, LOCKED, PROMPTED, PROPAGATED, STALE, SliceReview
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text

_HEIGHT = 50
_LANE = 8  # above and below the columns, for the marks that tell states apart without color
_SIDE = 5  # of the marks
_GREEN = "#009e73"  # this and the next tell from each other and from Qt's highlight also with red-green blindness
_DOUBT = "#c84b00"
# Where slices share a pixel, what the user did is drawn over what was propagated.
_ORDER = (PROPAGATED, STALE, ACCEPTED, LOCKED, EDITED, PROMPTED)


class DriftStrip(qt.QWidget):
    """One column a slice: its color is the state, its height the confidence.

    Above a column a square is a prompt, an empty square an edit, a line an acceptance and a bar a lock; below it a tick
    is a doubt. Stale columns are dotted. A frame marks the slice in view. `clicked` gives the index of the slice under
    the mouse.
    """

    def __init__(self) -> None:
        qt.QWidget.__init__(self)
        self.clicked = Signal()
        self._slices: Mapping[int, SliceReview] = {}
        self._doubtful: Collection[int] = ()
        self._count = 0
        self._current: int | None = None
        self.setMinimumHeight(_HEIGHT)
        self.setMouseTracking(True)
        self.setAccessibleName(_("State and confidence of each slice"))

    def showSlices(self, slices: Mapping[int, SliceReview], doubtful: Collection[int], count: int) -> None:
        """Show these slices of a volume of `count`."""
        self._slices, self._doubtful, self._count = slices, doubtful, count
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

    @guarded
    def paintEvent(self, _event: Any) -> None:
        """Draw (called by Qt)."""
        painter = qt.QPainter(self)
        painter.fillRect(0, 0, self.width, self.height, self._color("Base"))
        for review in sorted(self._slices.values(), key=lambda one: _ORDER.index(one.state)):
            self._drawColumn(painter, review)
            self._drawMark(painter, review)
        for index in self._doubtful:
            left, width = self._column(index)
            painter.fillRect(left, self.height - _SIDE, width, _SIDE, qt.QColor(_DOUBT))
        self._drawCurrent(painter)
        painter.end()

    @guarded
    def mousePressEvent(self, event: Any) -> None:
        """Tell which slice was clicked (called by Qt)."""
        index = self.sliceAt(_x(event))
        if index is not None:
            self.clicked.emit(index)

    @guarded
    def mouseMoveEvent(self, event: Any) -> None:
        """Say which slice is under the mouse (called by Qt)."""
        index = self.sliceAt(_x(event))
        if index is None:
            self.toolTip = ""
        else:
            self.toolTip = text.sliceText(index, self._slices.get(index), index in self._doubtful)

    def _drawColumn(self, painter: Any, review: SliceReview) -> None:
        left, width = self._column(review.sliceIndex)
        top = _LANE + round((self.height - 2 * _LANE) * (1 - min(max(review.confidence, 0.0), 1.0)))
        pattern = qt.Qt.Dense4Pattern if review.state == STALE else qt.Qt.SolidPattern
        brush = qt.QBrush(self._stateColor(review.state), pattern)
        painter.fillRect(left, top, width, self.height - _LANE - top, brush)

    def _drawMark(self, painter: Any, review: SliceReview) -> None:
        left, width = self._column(review.sliceIndex, gap=False)
        color = self._stateColor(review.state)
        middle = left + (width - _SIDE) // 2
        if review.state == PROMPTED:
            painter.fillRect(middle, 1, _SIDE, _SIDE, color)
        elif review.state == EDITED:
            painter.setPen(color)
            painter.drawRect(middle, 1, _SIDE - 1, _SIDE - 1)
        elif review.state == ACCEPTED:
            painter.fillRect(left, 4, width, 2, color)
        elif review.state == LOCKED:
            painter.fillRect(left, 1, width, _SIDE, color)

    def _drawCurrent(self, painter: Any) -> None:
        if self._current is not None and self._count:
            left, width = self._column(self._current)
            painter.setPen(self._color("Text"))
            painter.drawRect(left - 1, 0, width + 1, self.height - 1)

    def _column(self, index: int, gap: bool = True) -> tuple[int, int]:
        """Left edge and width in pixels; a gap is left where there is room for one."""
        left, right = (position * self.width // self._count for position in (index, index + 1))
        width = max(right - left, 1)
        return left, width - 1 if gap and width > 3 else width

    def _stateColor(self, state: str) -> Any:
        if state in (ACCEPTED, LOCKED):
            return qt.QColor(_GREEN)
        if state in (PROMPTED, EDITED):
            return self._color("Highlight").darker(150 if state == EDITED else 100)
        return self._gray(0.45 if state == STALE else 0.4)

    def _gray(self, share: float) -> Any:
        """Between the text's color and the background's, so that it shows in light and dark styles."""
        ends = zip(_rgb(self._color("Text")), _rgb(self._color("Base")), strict=True)
        return qt.QColor(*(round(share * front + (1 - share) * back) for front, back in ends))

    def _color(self, role: str) -> Any:
        return self.palette.color(getattr(qt.QPalette, role))


def _rgb(color: Any) -> tuple[int, int, int]:
    return color.red(), color.green(), color.blue()


def _x(event: Any) -> float:
    position = event.position() if hasattr(event, "position") else event.pos()  # Qt 6, Qt 5
    return float(position.x())
