"""Slice views without pictures: what the mouse does in them beside an effect, as the displayable managers have it.

In place mode a click sets a control point; else markups' handles catch presses. Shift + press is the view's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk
from PySide6 import QtCore

from standin.handles import MarkupHandles

_SIZE = 256  # pixels
_LAYOUTS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class SliceWidget:
    """A qMRMLSliceWidget with an interactor that has no window."""

    def __init__(self, scene: Any, name: str) -> None:
        self._scene = scene
        node = scene.CreateNodeByClass("vtkMRMLSliceNode")  # with the orientation presets
        node.UnRegister(None)
        node.SetLayoutName(name)
        node.SetSingletonTag(name)
        self._node = scene.AddNode(node)
        self._node.SetName(name)
        self._node.SetOrientation(_LAYOUTS[name])
        self._node.SetMappedInLayout(1)
        self._node.SetDimensions(_SIZE, _SIZE, 1)
        composite = scene.CreateNodeByClass("vtkMRMLSliceCompositeNode")
        composite.UnRegister(None)
        composite.SetLayoutName(name)
        composite.SetSingletonTag(name)
        self._composite = scene.AddNode(composite)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.Enable()
        self.renderer = vtk.vtkRenderer()
        self._annotation = vtk.vtkCornerAnnotation()
        self._handles = MarkupHandles(scene, self._node, self.renderer)
        self._observe("MouseMoveEvent", self._onMove)
        self._observe("LeftButtonPressEvent", self._onPress)
        self._observe("LeftButtonReleaseEvent", self._onRelease)
        self._observe("RightButtonReleaseEvent", self._onRightRelease)

    def className(self) -> str:
        return "qMRMLSliceWidget"

    def mrmlSliceNode(self) -> Any:
        return self._node

    def sliceView(self) -> SliceWidget:
        return self

    def interactor(self) -> Any:
        return self._interactor

    def cornerAnnotation(self) -> Any:
        return self._annotation

    def scheduleRender(self) -> None:
        """Nobody looks."""

    def interactorStyle(self) -> SliceWidget:
        return self

    def GetInteractor(self) -> Any:
        return self._interactor

    def show(self, volumeNode: Any) -> None:
        """Put the volume's middle in the view, with a voxel on about four pixels."""
        bounds = [0.0] * 6
        volumeNode.GetRASBounds(bounds)
        self._node.SetFieldOfView(_SIZE / 4, _SIZE / 4, 1)
        center = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
        self._node.JumpSliceByCentering(*center)

    def fit(self) -> None:
        """Put all of the background volume into the view."""
        volumeNode = self._scene.GetNodeByID(self._composite.GetBackgroundVolumeID() or "")
        if volumeNode is not None:
            self.show(volumeNode)
            bounds = [0.0] * 6
            volumeNode.GetRASBounds(bounds)
            side = max(bounds[2 * axis + 1] - bounds[2 * axis] for axis in range(3))
            self._node.SetFieldOfView(side, side, 1)

    def _observe(self, event: str, slot: Callable[[], bool]) -> None:
        """Call `slot` at an event that no effect has used; where it returns True, who comes later does not see it."""
        tags: list[int] = []

        def onEvent(interactor: Any, _event: str) -> None:
            interactor.GetCommand(tags[0]).SetAbortFlag(slot())

        tags.append(self._interactor.AddObserver(event, onEvent))

    def _position(self) -> tuple[list[float], list[float]]:
        x, y = self._interactor.GetEventPosition()
        return [x, y, 0.0], list(self._node.GetXYToRAS().MultiplyPoint((x, y, 0, 1))[:3])

    @property
    def _interaction(self) -> Any:
        return self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def _isPlacing(self) -> bool:
        return bool(self._interaction.GetCurrentInteractionMode() == self._interaction.Place)

    def _onMove(self) -> bool:
        crosshair = self._scene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionXYZ(self._position()[0], self._node)
        if not self._isPlacing():
            self._handles.hover(self._interactor.GetEventPosition())
        return False

    def _onPress(self) -> bool:
        """Shift + press moves the slice; a press on a handle is that markup's."""
        return bool(self._interactor.GetShiftKey()) or (not self._isPlacing() and self._handles.press())

    def _onRelease(self) -> bool:
        if self._handles.release():
            return True
        if not self._isPlacing():
            return False
        interaction, selection = self._interaction, self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        node = self._scene.GetNodeByID(selection.GetActivePlaceNodeID())
        node.AddControlPointWorld(vtk.vtkVector3d(*self._position()[1]))
        required = node.GetRequiredNumberOfControlPoints()
        if not interaction.GetPlaceModePersistence() and node.GetNumberOfControlPoints() >= required:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        return True

    def _onRightRelease(self) -> bool:
        self._interaction.SetCurrentInteractionMode(self._interaction.ViewTransform)
        return False


class LayoutManager(QtCore.QObject):
    """The three orthogonal slice views. The layout counts as changed when the scene was closed."""

    layoutChanged = QtCore.Signal()

    def __init__(self, scene: Any) -> None:
        super().__init__()
        self._widgets = {name: SliceWidget(scene, name) for name in _LAYOUTS}
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self.layoutChanged.emit())

    def sliceViewNames(self) -> list[str]:
        return list(self._widgets)

    def resetSliceViews(self) -> None:
        for widget in self._widgets.values():
            widget.fit()

    def sliceWidget(self, name: str) -> SliceWidget:
        return self._widgets[name]
