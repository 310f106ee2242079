"""The box that is drawn in a slice view while the mouse drags it."""

from __future__ import annotations

from typing import Any, Protocol

import vtk

from MedSAM2SlicerLib.mouse.gestures import Drag

_COLOR = (0.9, 0.62, 0.0)  # of the box prompt that it becomes
_WIDTH = 2  # pixels
_CORNERS = 4


class Stage(Protocol):
    """Where actors are shown: a Segment Editor effect."""

    def addActor2D(self, view: Any, actor: vtk.vtkActor2D) -> None:
        """Show an actor in a view."""

    def removeActor2D(self, view: Any, actor: vtk.vtkActor2D) -> None:
        """Hide it."""


class RubberBand:
    """A rectangle in one view at a time; between two drags there is no actor."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._view: Any = None
        self._corners = vtk.vtkPoints()
        self._corners.SetNumberOfPoints(_CORNERS)
        self.actor = _actor(self._corners)

    def draw(self, view: Any, box: Drag) -> None:
        """Show a box in a view."""
        (left, low), (right, high) = box.start, box.end
        for index, corner in enumerate(((left, low), (right, low), (right, high), (left, high))):
            self._corners.SetPoint(index, *corner, 0.0)
        self._corners.Modified()
        if self._view is None:
            self._view = view
            self._stage.addActor2D(view, self.actor)
        view.sliceView().scheduleRender()

    def clear(self) -> None:
        """Take it away."""
        view, self._view = self._view, None
        if view is not None:
            self._stage.removeActor2D(view, self.actor)


def _actor(corners: vtk.vtkPoints) -> vtk.vtkActor2D:
    """A closed outline through the corners, in pixels of the view."""
    lines = vtk.vtkCellArray()
    lines.InsertNextCell(_CORNERS + 1)
    for index in range(_CORNERS + 1):
        lines.InsertCellPoint(index % _CORNERS)
    outline = vtk.vtkPolyData()
    outline.SetPoints(corners)
    outline.SetLines(lines)
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(outline)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*_COLOR)
    actor.GetProperty().SetLineWidth(_WIDTH)
    return actor
