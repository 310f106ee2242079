"""Mouse events of the slice views as gestures in the world: who an event belongs to, and where it is in RAS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
import slicer.util
import vtk

from MedSAM2SlicerLib.faults import attempt
from MedSAM2SlicerLib.mouse.gestures import Click, Drag, Gestures, Position, Stroke
from MedSAM2SlicerLib.mouse.rubberband import RubberBand, Stage

Ras = tuple[float, float, float]

_Event = vtk.vtkCommand
_PRESSES = (_Event.LeftButtonPressEvent, _Event.LeftButtonDoubleClickEvent)
_Markups = slicer.vtkMRMLMarkupsDisplayNode
# Of a markup under the mouse, what the left button drags; lines and faces only light up.
_HANDLES = (
    _Markups.ComponentControlPoint,
    _Markups.ComponentRotationHandle,
    _Markups.ComponentTranslationHandle,
    _Markups.ComponentScaleHandle,
)


class SliceGestures:
    """Calls `onPoint(ras, sliceNode)` and `onBox(ras, ras, sliceNode)`; draws the box while it is dragged.

    While `draws()` a drag is a stroke: `onStroke([ras, ...], sliceNode)` is called once, at its end.
    `mayStart()` is asked at each press that could begin a gesture; after False the press is used and means nothing.
    """

    def __init__(
        self,
        stage: Stage,
        onPoint: Callable[[Ras, Any], None],
        onBox: Callable[[Ras, Ras, Any], None],
        mayStart: Callable[[], bool],
        onStroke: Callable[[Sequence[Ras], Any], None],
        draws: Callable[[], bool],
    ) -> None:
        self._onPoint, self._onBox, self._mayStart = onPoint, onBox, mayStart
        self._onStroke, self._draws = onStroke, draws
        self._gestures = Gestures()
        self.band = RubberBand(stage)

    def process(self, interactor: vtk.vtkRenderWindowInteractor, event: int, view: Any) -> bool:
        """Take an event of a view; return whether it was used, so that nobody else should see it."""
        if view.className() != "qMRMLSliceWidget":
            return False
        position = interactor.GetEventPosition()
        if event in _PRESSES:
            return self._press(interactor, position, event == _Event.LeftButtonDoubleClickEvent)
        if event == _Event.MouseMoveEvent:
            return self._move(position, view)
        if event == _Event.LeftButtonReleaseEvent:
            return self._release(position, view)
        return False

    def cancel(self) -> bool:
        """Give up the gesture; return whether there was one."""
        held = self._gestures.held
        self._gestures.cancel()
        attempt(self.band.clear)
        return held

    def _press(self, interactor: vtk.vtkRenderWindowInteractor, position: Position, isRepeat: bool) -> bool:
        self.cancel()
        modified = interactor.GetShiftKey() or interactor.GetControlKey() or interactor.GetAltKey()
        if modified or _isPlacing() or _isOverHandle():
            return False
        if self._mayStart():
            self._gestures.press(position, isRepeat=isRepeat, draws=self._draws())
        return True

    def _move(self, position: Position, view: Any) -> bool:
        used = self._gestures.move(position)
        box = self._gestures.box
        if box is not None:
            attempt(self.band.draw, view, box)  # which only shows: the gesture goes on without it
        if self._gestures.path:
            attempt(self.band.drawPath, view, self._gestures.path)
        return used

    def _release(self, position: Position, view: Any) -> bool:
        used, gesture = self._gestures.held, self._gestures.release(position)
        attempt(self.band.clear)
        node = view.mrmlSliceNode()
        if isinstance(gesture, Click):
            self._onPoint(_ras(node, gesture.position), node)
        elif isinstance(gesture, Drag):
            self._onBox(_ras(node, gesture.start), _ras(node, gesture.end), node)
        elif isinstance(gesture, Stroke):
            self._onStroke([_ras(node, position) for position in gesture.path], node)
        return used


def _ras(sliceNode: slicer.vtkMRMLSliceNode, position: Position) -> Ras:
    """World position of a pixel of a view, on the slice that is shown."""
    r, a, s, _one = sliceNode.GetXYToRAS().MultiplyPoint((*position, 0.0, 1.0))
    return r, a, s


def _isPlacing() -> bool:
    """Whether the mouse is not there to edit: a markup is being placed, for example."""
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    return interaction is not None and interaction.GetCurrentInteractionMode() != interaction.ViewTransform


def _isOverHandle() -> bool:
    """Whether a markup's handle lies under the mouse: a press drags that. Markups noticed when the mouse moved."""
    displays = slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")
    return any(one.HasActiveComponent() and one.GetActiveComponentType() in _HANDLES for one in displays)
