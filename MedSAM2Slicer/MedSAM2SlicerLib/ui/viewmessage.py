"""Messages in the slice view that was clicked, since that is where the eyes are."""

from __future__ import annotations

import textwrap
from typing import Any

import slicer
import vtk

from MedSAM2SlicerLib.ui.later import Later

_EDGE = vtk.vtkCornerAnnotation.UpperEdge  # the corners are for Slicer's own annotations
_MILLISECONDS = 4000
_COLUMNS = 48  # characters of a line: a longer one would make all of the view's annotations small


class ViewMessage:
    """Shows one message at the upper edge of a view for four seconds; then there is what was there before."""

    def __init__(self) -> None:
        self._later = Later(self.clear, _MILLISECONDS)
        self._shown: tuple[Any, str] | None = None

    def show(self, message: str, sliceNode: Any) -> None:
        """Show a message in the view of a slice node; in none if that is not on the screen."""
        self.clear()
        view = _viewOf(sliceNode)
        if view is not None and message:
            self._shown = view, view.cornerAnnotation().GetText(_EDGE) or ""
            _write(view, textwrap.fill(message, _COLUMNS))
            self._later.afterLast()

    def clear(self) -> None:
        """Take the message away."""
        shown, self._shown = self._shown, None
        if shown is not None:
            _write(*shown)

    def close(self) -> None:
        """Take the message away and show no more."""
        self.clear()
        self._later.cancel()


def _viewOf(sliceNode: Any) -> Any:
    manager = slicer.app.layoutManager()
    if manager is None or sliceNode is None:
        return None
    widgets = map(manager.sliceWidget, manager.sliceViewNames())
    return next((one.sliceView() for one in widgets if one.mrmlSliceNode() is sliceNode), None)


def _write(view: Any, text: str) -> None:
    view.cornerAnnotation().SetText(_EDGE, text)
    view.scheduleRender()
