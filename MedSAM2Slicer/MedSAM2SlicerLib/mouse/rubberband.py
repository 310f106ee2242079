"""The box or the stroke that is drawn in a slice view while the mouse drags it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import vtk

from MedSAM2SlicerLib.mouse.gestures import Drag, Position

_COLOR = (0.9, 0.62, 0.0)  # of the box prompt that it becomes
_WIDTH = 2  # pixels


class Stage(Protocol):
    """Where actors are shown: a Segment Editor effect."""

    def addActor2D(self, view: Any, actor: vtk.vtkActor2D) -> None:
        """Show an actor in a view."""

    def removeActor2D(self, view: Any, actor: vtk.vtkActor2D) -> None:
        """Hide it."""


class RubberBand:
    """A rectangle or a line in one view at a time; between two drags there is no actor."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._view: Any = None
        self._line = vtk.vtkPolyData()
        self.actor = _actor(self._line)

    def draw(self, view: Any, box: Drag) -> None:
        """Show a box in a view."""
        (left, low), (right, high) = box.start, box.end
        self.drawPath(view, [(left, low), (right, low), (right, high), (left, high), (left, low)])

    def drawPath(self, view: Any, path: Sequence[Position]) -> None:
        """Show a line through positions in a view."""
        points, cells = vtk.vtkPoints(), vtk.vtkCellArray()
        cells.InsertNextCell(len(path))
        for position in path:
            cells.InsertCellPoint(points.InsertNextPoint(*position, 0.0))
        self._line.SetPoints(points)
        self._line.SetLines(cells)
        if self._view is None:
            self._view = view
            self._stage.addActor2D(view, self.actor)
        view.sliceView().scheduleRender()

    def clear(self) -> None:
        """Take it away."""
        view, self._view = self._view, None
        if view is not None:
            self._stage.removeActor2D(view, self.actor)


def _actor(line: vtk.vtkPolyData) -> vtk.vtkActor2D:
    """A line in pixels of the view."""
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(line)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*_COLOR)
    actor.GetProperty().SetLineWidth(_WIDTH)
    return actor
