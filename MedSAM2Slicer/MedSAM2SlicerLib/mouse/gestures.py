"""What the left mouse button does in a slice view: it clicks, drags a box or draws. Needs neither Slicer nor Qt."""

from __future__ import annotations

from dataclasses import dataclass

Position = tuple[float, float]
"""(x, y) in a view, in pixels."""

_DRAG = 6  # pixels: a hand that clicks moves less, also where a screen has two pixels for one


@dataclass(frozen=True)
class Click:
    """A click at a position."""

    position: Position


@dataclass(frozen=True)
class Drag:
    """A box between two opposite corners."""

    start: Position
    end: Position


@dataclass(frozen=True)
class Stroke:
    """A line drawn free-hand, through all these positions."""

    path: tuple[Position, ...]


class Gestures:
    """Reads presses, moves and releases of the left button, one gesture at a time.

    Methods that return a bool say whether the event was used: what is not, is Slicer's.
    """

    def __init__(self) -> None:
        self._start: Position | None = None
        self._end: Position | None = None
        self._isRepeat, self._wasBox = False, False
        self._path: list[Position] | None = None  # of a stroke

    @property
    def held(self) -> bool:
        """Whether the button is down in a gesture."""
        return self._start is not None

    @property
    def box(self) -> Drag | None:
        """The box as drawn so far; None where it is still a click."""
        if self._start is None or self._end is None or self._path is not None:
            return None
        return Drag(self._start, self._end)

    @property
    def path(self) -> list[Position]:
        """The stroke as drawn so far; nothing where it is none."""
        return self._path if self._path is not None and self._end is not None else []

    def press(self, position: Position, modified: bool = False, isRepeat: bool = False, draws: bool = False) -> bool:
        """Begin a gesture, a stroke if it `draws`, unless a key (Shift, Ctrl, Alt) makes the press Slicer's.

        The second press of a double click is used and means nothing: unused, it would enlarge the view.
        """
        self.cancel()
        if modified:
            return False
        self._start, self._isRepeat = position, isRepeat
        self._path = [position] if draws else None
        return True

    def move(self, position: Position) -> bool:
        """Draw the box further; a first few pixels are still a click."""
        if self._start is None:
            return False
        width, height = _sides(self._start, position)
        if not self._isRepeat and (self._end is not None or max(width, height) > _DRAG):
            self._end, self._wasBox = position, self._wasBox or min(width, height) > _DRAG
        if self._path is not None and position != self._path[-1]:
            self._path.append(position)
        return True

    def release(self, position: Position) -> Click | Drag | Stroke | None:
        """End the gesture and say what it was: None for a box that was drawn and made too thin to hold anything.

        What never was a box is a click where it began, though the hand moved.
        """
        self.move(position)
        start, box, isRepeat, wasBox, path = self._start, self.box, self._isRepeat, self._wasBox, self.path
        self.cancel()
        if start is None or isRepeat:
            return None
        if path:
            return Stroke(tuple(path))
        if not wasBox:
            return Click(start)
        return box if box is not None and min(_sides(box.start, box.end)) > _DRAG else None

    def cancel(self) -> None:
        """Forget the gesture."""
        self._start, self._end, self._isRepeat, self._wasBox = None, None, False, False
        self._path = None


def _sides(one: Position, other: Position) -> tuple[float, float]:
    return abs(one[0] - other[0]), abs(one[1] - other[1])
