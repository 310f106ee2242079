"""Markups in a slice view, as their displayable manager has them: drawn, lit under the mouse, and dragged by it.

The handles of every markup that is visible and not locked catch presses, whoever placed it and whatever else is active.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

_RADIUS = 9.0  # pixels around a point: half of its glyph, and Slicer's tolerance at the usual scale of screens
_DEPTH = 0.5  # of a slice: a point on another slice is not there
_Display = slicer.vtkMRMLMarkupsDisplayNode


class MarkupHandles:
    """Control points only; the lines and the scale handles of boxes are not imitated."""

    def __init__(self, scene: Any, sliceNode: Any, renderer: vtk.vtkRenderer) -> None:
        self._scene, self._sliceNode, self._renderer = scene, sliceNode, renderer
        self._actors: dict[str, tuple[Any, int, vtk.vtkActor2D]] = {}
        self._hovered: tuple[Any, int] | None = None
        self._isHeld, self._hasMoved = False, False
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            scene.AddObserver(event, lambda *_: self._draw())

    def hover(self, position: tuple[float, float]) -> None:
        """Light up the handle under the mouse; one that is held follows it."""
        if self._isHeld:
            self._drag(position)
            return
        before, self._hovered = self._hovered, self._nearest(position)
        if before and before != self._hovered:
            before[0].GetDisplayNode() and before[0].GetDisplayNode().SetActiveComponent(_Display.ComponentNone, -1)
        if self._hovered:
            node, index = self._hovered
            node.GetDisplayNode().SetActiveComponent(_Display.ComponentControlPoint, index)

    def press(self) -> bool:
        """Take hold of the handle under the mouse, as it was when the mouse moved last; whether there was one."""
        if self._hovered is None or self._hovered[0].GetScene() is None:
            return False
        node, index = self._hovered
        self._isHeld, self._hasMoved = True, False
        node.SetAttribute(_Display.GetMovingMarkupIndexAttributeName(), str(index))
        node.SetAttribute(_Display.GetMovingInSliceViewAttributeName(), self._sliceNode.GetLayoutName())
        node.InvokeCustomModifiedEvent(node.PointStartInteractionEvent)
        return True

    def release(self) -> bool:
        """Let it go; whether one was held. A click, without a move, brings the other views to the point."""
        if not self._isHeld:
            return False
        self._isHeld = False
        node, index = self._hovered
        node.InvokeCustomModifiedEvent(node.PointEndInteractionEvent)
        node.SetAttribute(_Display.GetMovingMarkupIndexAttributeName(), "")
        node.SetAttribute(_Display.GetMovingInSliceViewAttributeName(), "")
        if not self._hasMoved:
            self._jump(node.GetNthControlPointPositionWorld(index))
        return True

    def _drag(self, position: tuple[float, float]) -> None:
        node, index = self._hovered
        self._hasMoved = True
        if not node.GetNthControlPointLocked(index):
            world = self._sliceNode.GetXYToRAS().MultiplyPoint((*position, 0.0, 1.0))[:3]
            node.SetNthControlPointPositionWorld(index, *world)

    def _jump(self, world: Any) -> None:
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode", self._scene):
            if view is not self._sliceNode:
                view.JumpSliceByOffsetting(*world)

    def _nearest(self, position: tuple[float, float]) -> tuple[Any, int] | None:
        toView = np.linalg.inv(slicer.util.arrayFromVTKMatrix(self._sliceNode.GetXYToRAS()))
        best, found = _RADIUS, None
        for node in filter(_catches, self._markups()):
            for index in range(node.GetNumberOfControlPoints()):
                x, y, depth = (toView @ [*node.GetNthControlPointPositionWorld(index), 1])[:3]
                distance = np.hypot(x - position[0], y - position[1])
                if distance < best and abs(depth) <= _DEPTH and node.GetNthControlPointVisibility(index):
                    best, found = distance, (node, index)
        return found

    def _draw(self) -> None:
        """Have an actor for each markup, and hear of its points as the displayable manager does."""
        present = {node.GetID(): node for node in self._markups()}
        for gone in [known for known in self._actors if present.get(known) is not self._actors[known][0]]:
            node, tag, actor = self._actors.pop(gone)
            node.RemoveObserver(tag)
            self._renderer.RemoveViewProp(actor)
        for nodeId, node in present.items():
            if nodeId not in self._actors:
                actor = vtk.vtkActor2D()
                self._renderer.AddViewProp(actor)
                tag = node.AddObserver(node.PointPositionDefinedEvent, lambda *_: None)
                self._actors[nodeId] = (node, tag, actor)

    def _markups(self) -> list[Any]:
        return slicer.util.getNodesByClass("vtkMRMLMarkupsNode", self._scene)


def _catches(node: Any) -> bool:
    display = node.GetDisplayNode()
    return bool(display and display.GetVisibility() and display.GetVisibility2D() and not node.GetLocked())
