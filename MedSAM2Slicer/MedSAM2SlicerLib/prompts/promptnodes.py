"""The markups nodes that hold a segment's prompts. They are saved with the scene and stay when another is worked on."""

from __future__ import annotations

from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from MedSAM2SlicerLib.prompts import promptlooks
from MedSAM2SlicerLib.prompts.placing import PlacedPrompt, PromptPlacer

KINDS = ("include", "exclude", "box", "curve", "line", "scribble", "scribbleOut")

_CLASSES = {
    "include": "vtkMRMLMarkupsFiducialNode",
    "exclude": "vtkMRMLMarkupsFiducialNode",
    "box": "vtkMRMLMarkupsROINode",
    "curve": "vtkMRMLMarkupsClosedCurveNode",
    "line": "vtkMRMLMarkupsLineNode",
    "scribble": "vtkMRMLMarkupsCurveNode",
    "scribbleOut": "vtkMRMLMarkupsCurveNode",
}
_LINE_POINTS = 2
_KIND = "MedSAM2.Kind"
_SEGMENT = "MedSAM2.SegmentId"
_SEGMENTATION = "MedSAM2.Segmentation"
_TAKEN = "MedSAM2.Taken"  # of a markup that somebody drew for another purpose: it outlives being a prompt


@dataclass(frozen=True)
class PromptItem:
    """A prompt as a list shows it. `nodeId` and `pointId` say what to remove, `sourceId` for a segment's mask."""

    kind: str
    sliceIndex: int
    text: str
    nodeId: str | None = None
    pointId: str | None = None
    sourceId: str | None = None


class PromptNodes:
    """Finds and makes the nodes of one segment's prompts."""

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> None:
        self._segmentationNode, self._segmentId = segmentationNode, segmentId

    def nodes(self, kind: str) -> list[slicer.vtkMRMLMarkupsNode]:
        """Return the nodes of a kind that are in the scene."""
        found = slicer.util.getNodesByClass(_CLASSES[kind])
        return [node for node in found if node.GetAttribute(_KIND) == kind and self._belongs(node)]

    def nodeToPlace(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        """Return the node that the next prompt goes into: points share one node; others have one each."""
        free = [node for node in self.nodes(kind) if _takesMore(node) and not node.GetAttribute(_TAKEN)]
        return free[0] if free else self._make(kind)

    def takeLine(self, lineNode: slicer.vtkMRMLMarkupsLineNode) -> None:
        """Make a line that is in the scene, such as a measurement, a prompt of this segment, and of no other."""
        promptlooks.unlock(lineNode)  # it may have been another segment's
        lineNode.SetAttribute(_TAKEN, "1")
        self._claim(lineNode, "line")

    def placed(self, placer: PromptPlacer) -> list[tuple[str, PlacedPrompt]]:
        """Place the prompts of all nodes, each with its kind. Raises PromptError, naming the markup."""
        placed: list[tuple[str, PlacedPrompt]] = []
        for kind in ("include", "exclude"):
            for node in self.nodes(kind):
                placed += [(kind, prompt) for prompt in placer.pointList(node, include=kind == "include")]
        for kind in ("scribble", "scribbleOut"):
            for node in self.nodes(kind):
                placed += [(kind, prompt) for prompt in placer.scribble(node, include=kind == "scribble")]
        boxes = [node for node in self.nodes("box") if node.GetNumberOfDefinedControlPoints()]
        placed += [("box", placer.roi(node)) for node in boxes]
        lines = [node for node in self.nodes("line") if node.GetNumberOfDefinedControlPoints() == _LINE_POINTS]
        placed += [("line", placer.line(node)) for node in lines]
        drawn = [node for node in self.nodes("curve") if node.GetNumberOfDefinedControlPoints() >= 3]
        return placed + ([("curve", prompt) for prompt in placer.curves(drawn)] if drawn else [])

    def remove(self, item: PromptItem) -> None:
        """Remove a prompt; nothing happens if it is gone already. A line that was taken stays in the scene.

        The last point goes with its node, unless more are being placed into that.
        """
        node = slicer.mrmlScene.GetNodeByID(item.nodeId) if item.nodeId else None
        if node is None:
            return
        if item.pointId is None:
            _drop(node)
        else:
            node.RemoveNthControlPoint(node.GetNthControlPointIndexByID(item.pointId))
            if not (node.GetNumberOfControlPoints() or _isBeingPlaced(node)):
                _drop(node)

    def removeAll(self) -> None:
        """Remove every prompt; lines that were taken stay in the scene."""
        for kind in KINDS:
            for node in self.nodes(kind):
                _drop(node)

    def _belongs(self, node: slicer.vtkMRMLMarkupsNode) -> bool:
        isOfSegment = node.GetAttribute(_SEGMENT) == self._segmentId
        return isOfSegment and bool(node.GetNodeReferenceID(_SEGMENTATION) == self._segmentationNode.GetID())

    def _make(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        segment = self._segmentationNode.GetSegmentation().GetSegment(self._segmentId)
        node = slicer.mrmlScene.CreateNodeByClass(_CLASSES[kind])
        node.UnRegister(None)
        node.SetName(f"{segment.GetName()} {_title(kind)}")
        self._claim(node, kind)  # before the scene reports it: it may not be a prompt to show now
        slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        promptlooks.style(node, kind)
        promptlooks.dress(node, segment)
        return node

    def _claim(self, node: slicer.vtkMRMLMarkupsNode, kind: str) -> None:
        """Note on a node that it holds prompts of the segment."""
        node.SetAttribute(_KIND, kind)
        node.SetAttribute(_SEGMENT, self._segmentId)
        node.SetNodeReferenceID(_SEGMENTATION, self._segmentationNode.GetID())


@dataclass(frozen=True)
class PromptNode:
    """A node of prompts, of whatever segment; `segmentationNode` and `segment` are None where these are gone.

    It `isTaken` if somebody drew it for another purpose.
    """

    node: slicer.vtkMRMLMarkupsNode
    segmentationNode: slicer.vtkMRMLSegmentationNode | None
    segmentId: str
    segment: slicer.vtkSegment | None
    isTaken: bool

    def drop(self) -> None:
        """Remove it; one that was taken stays in the scene."""
        _drop(self.node)


def returnTo(segmentationNode: slicer.vtkMRMLSegmentationNode, node: slicer.vtkMRMLMarkupsNode) -> None:
    """Let a node hold prompts of this segmentation again, to which it lost its reference."""
    node.SetNodeReferenceID(_SEGMENTATION, segmentationNode.GetID())


def promptNodes(scene: slicer.vtkMRMLScene) -> list[PromptNode]:
    """List the nodes of prompts of all segments."""
    nodes = [node for kind in sorted(set(_CLASSES.values())) for node in slicer.util.getNodesByClass(kind, scene)]
    unique = {node.GetID(): node for node in nodes}  # a closed curve is a curve too
    return [_promptNode(node) for node in unique.values() if node.GetAttribute(_KIND) is not None]


def promptedSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> set[str]:
    """Return the IDs of the segments that have prompts in the scene."""
    found = [one for one in promptNodes(slicer.mrmlScene) if one.segmentationNode is segmentationNode]
    return {one.segmentId for one in found if one.node.GetNumberOfDefinedControlPoints()}


def otherMarkups(className: str) -> list[slicer.vtkMRMLMarkupsNode]:
    """Return the markups of a class that were not made for prompts, such as measurements; hidden ones are left out."""
    nodes = [node for node in slicer.util.getNodesByClass(className) if not node.GetHideFromEditors()]
    return [node for node in nodes if node.GetAttribute(_KIND) is None or node.GetAttribute(_TAKEN)]


def itemText(kind: str, sliceIndex: int) -> str:
    """Return a prompt's line in a list."""
    return _("slice {index} · {kind}").format(index=sliceIndex, kind=_title(kind))


def _promptNode(node: slicer.vtkMRMLMarkupsNode) -> PromptNode:
    segmentationNode, segmentId = node.GetNodeReference(_SEGMENTATION), node.GetAttribute(_SEGMENT) or ""
    segment = None if segmentationNode is None else segmentationNode.GetSegmentation().GetSegment(segmentId)
    return PromptNode(node, segmentationNode, segmentId, segment, node.GetAttribute(_TAKEN) is not None)


def _title(kind: str) -> str:
    titles = {
        "include": _("include"),
        "exclude": _("exclude"),
        "box": _("box"),
        "curve": _("curve"),
        "line": _("line"),
        "segment": _("from segment"),
        "scribble": _("scribble"),
        "scribbleOut": _("exclude scribble"),
    }
    return titles[kind]


def _takesMore(node: slicer.vtkMRMLMarkupsNode) -> bool:
    if node.IsA("vtkMRMLMarkupsFiducialNode"):
        return True
    placed: int = node.GetNumberOfDefinedControlPoints()
    return placed < _LINE_POINTS if node.IsA("vtkMRMLMarkupsLineNode") else not placed


def _isBeingPlaced(node: slicer.vtkMRMLMarkupsNode) -> bool:
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    isPlacing = interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place
    return isPlacing and selection.GetActivePlaceNodeID() == node.GetID()


def _drop(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Remove a node of prompts; one that was taken stays, as it was before."""
    if not node.GetAttribute(_TAKEN):
        slicer.mrmlScene.RemoveNode(node)
        return
    promptlooks.unlock(node)
    for name in (_KIND, _SEGMENT, _TAKEN):
        node.RemoveAttribute(name)
    node.SetNodeReferenceID(_SEGMENTATION, None)
