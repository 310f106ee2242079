"""Slice views without pictures: a mouse click in place mode sets a control point, as the displayable managers do."""

from __future__ import annotations

from typing import Any

import vtk

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
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.Enable()
        self._interactor.AddObserver("MouseMoveEvent", self._onMove)
        self._interactor.AddObserver("LeftButtonReleaseEvent", self._onRelease)
        self._interactor.AddObserver("RightButtonReleaseEvent", self._onRightRelease)
        self.renderer = vtk.vtkRenderer()

    def className(self) -> str:
        return "qMRMLSliceWidget"

    def mrmlSliceNode(self) -> Any:
        return self._node

    def sliceView(self) -> SliceWidget:
        return self

    def interactor(self) -> Any:
        return self._interactor

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

    def _position(self) -> tuple[list[float], list[float]]:
        x, y = self._interactor.GetEventPosition()
        return [x, y, 0.0], list(self._node.GetXYToRAS().MultiplyPoint((x, y, 0, 1))[:3])

    def _onMove(self, _caller: Any, _event: str) -> None:
        crosshair = self._scene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
        crosshair.SetCursorPositionXYZ(self._position()[0], self._node)

    def _onRelease(self, _caller: Any, _event: str) -> None:
        interaction = self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        selection = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            return
        node = self._scene.GetNodeByID(selection.GetActivePlaceNodeID())
        node.AddControlPointWorld(vtk.vtkVector3d(*self._position()[1]))
        required = node.GetRequiredNumberOfControlPoints()
        if not interaction.GetPlaceModePersistence() and node.GetNumberOfControlPoints() >= required:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _onRightRelease(self, _caller: Any, _event: str) -> None:
        interaction = self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)


class LayoutManager:
    """The three orthogonal slice views."""

    def __init__(self, scene: Any) -> None:
        self._widgets = {name: SliceWidget(scene, name) for name in _LAYOUTS}

    def sliceViewNames(self) -> list[str]:
        return list(self._widgets)

    def sliceWidget(self, name: str) -> SliceWidget:
        return self._widgets[name]
