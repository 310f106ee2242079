"""Placing prompts with the mouse: Slicer's place mode, and what was placed or moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui import views

_Node = slicer.vtkMRMLMarkupsNode
_SINGLE = ("box", "line")  # a second one would need a node of its own
_CURVE_POINTS = 3  # fewer enclose nothing; a curve's own "required" number is a million


class Placer(VTKObservationMixin):
    """Turns place mode on and off and says which control point was set or moved.

    onPlaced(node, pointId, sliceNode, placed): a point was set or moved (pointId "": one was removed), in that slice
    view if the mouse is over one; `placed` is the kind that it was placed as just now, else "". onEnded(): place mode
    is over, by whatever hand.
    """

    def __init__(self, onPlaced: Callable[[Any, str, Any, str], None], onEnded: Callable[[], None]) -> None:
        super().__init__()
        self._onPlaced, self._onEnded = onPlaced, onEnded
        self._watched: dict[str, Any] = {}
        self._node: Any = None
        self.kind = ""

    def start(self, kind: str, node: Any) -> None:
        """Let clicks in the views go to `node`: point after point, or one box or line."""
        self.stop()
        self.kind, self._node = kind, node
        self.watch([*self._watched, node.GetID()])
        selection, interaction = _applicationNodes()
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        if kind in _SINGLE:
            interaction.SwitchToSinglePlaceMode()
        else:
            interaction.SwitchToPersistentPlaceMode()
        self.addObserver(interaction, interaction.InteractionModeChangedEvent, self._onModeChanged)

    def stop(self) -> None:
        """End place mode if this started it."""
        if self.kind:
            interaction = _applicationNodes()[1]
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def watch(self, nodeIds: Iterable[str]) -> None:
        """Watch the points of these markups nodes, and of no others but the one being placed."""
        wanted = {nodeId: slicer.mrmlScene.GetNodeByID(nodeId) for nodeId in nodeIds if nodeId}
        if self._node:
            wanted[self._node.GetID()] = self._node
        for nodeId in [known for known, node in self._watched.items() if wanted.get(known) is not node]:
            self._observe(self._watched.pop(nodeId), self.removeObserver)
        for nodeId, node in wanted.items():
            if node and nodeId not in self._watched:
                self._observe(node, self.addObserver)
                self._watched[nodeId] = node

    def close(self) -> None:
        """End place mode and watch nothing."""
        self.stop()
        self.removeObservers()
        self._watched.clear()

    def _observe(self, node: Any, change: Callable[..., object]) -> None:
        change(node, _Node.PointPositionDefinedEvent, self._onPointDefined)
        change(node, _Node.PointEndInteractionEvent, self._onPointMoved)
        # Not PointRemovedEvent, which the preview under the mouse causes too, whenever the mouse leaves a view.
        change(node, _Node.PointPositionUndefinedEvent, self._onPointRemoved)

    @guarded
    def _onPointDefined(self, caller: Any, _event: Any) -> None:
        self._report(caller, _lastDefined(caller))

    @guarded
    def _onPointMoved(self, caller: Any, _event: Any) -> None:
        moved = caller.GetAttribute(slicer.vtkMRMLMarkupsDisplayNode.GetMovingMarkupIndexAttributeName()) or "-1"
        self._report(caller, caller.GetNthControlPointID(int(moved)) if int(moved) >= 0 else _lastDefined(caller))

    @guarded
    def _onPointRemoved(self, caller: Any, _event: Any) -> None:
        self._report(caller, "")

    def _report(self, node: Any, pointId: str) -> None:
        # Later, because a box gets its size, and the controller its list, from the same event; but the view is now.
        view, placed = views.clickedView(), self.kind if node is self._node else ""
        qt.QTimer.singleShot(0, guarded(lambda: self._tell(node, pointId, view, placed)))

    def _tell(self, node: Any, pointId: str, view: Any, placed: str) -> None:
        if node.GetScene() and (_isEmptyList(node) or not _unfinished(node)):
            self._onPlaced(node, pointId, view, placed)
            self._removeUnfinished(node)

    @guarded
    def _onModeChanged(self, interaction: Any, _event: Any) -> None:
        if interaction.GetCurrentInteractionMode() == interaction.Place:
            return
        self.removeObserver(interaction, interaction.InteractionModeChangedEvent, self._onModeChanged)
        node, self._node, self.kind = self._node, None, ""
        # Later, because the node's own widget is still at work.
        qt.QTimer.singleShot(0, guarded(lambda: self._removeUnfinished(node)))
        self._onEnded()

    def _removeUnfinished(self, node: Any) -> None:
        """Remove what was given up before it had all its points, a list before its first, unless it is being placed."""
        if node is not self._node and node.GetScene() and _unfinished(node):
            node.GetScene().RemoveNode(node)


def _applicationNodes() -> tuple[Any, Any]:
    """The selection and the interaction node."""
    logic = slicer.app.applicationLogic()
    return logic.GetSelectionNode(), logic.GetInteractionNode()


def _lastDefined(node: Any) -> str:
    """ID of the last point that is set: behind it there can be the preview of the next one, which is not."""
    for index in reversed(range(node.GetNumberOfControlPoints())):
        if node.GetNthControlPointPositionStatus(index) == _Node.PositionDefined:
            return str(node.GetNthControlPointID(index))
    return ""


def _unfinished(node: Any) -> bool:
    if node.IsA("vtkMRMLMarkupsCurveNode") and not node.IsA("vtkMRMLMarkupsClosedCurveNode"):
        return not node.GetNumberOfDefinedControlPoints()
    least = max(min(node.GetRequiredNumberOfControlPoints(), _CURVE_POINTS), 1)
    return bool(node.GetNumberOfDefinedControlPoints() < least)


def _isEmptyList(node: Any) -> bool:
    """Whether it is a list of points of which the last one was removed."""
    return node.IsA("vtkMRMLMarkupsFiducialNode") and not node.GetNumberOfDefinedControlPoints()
