"""The markups nodes that hold a segment's prompts. They are saved with the scene and stay when another is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from MedSAM2SlicerLib.prompts import PlacedPrompt, PromptPlacer

KINDS = ("include", "exclude", "box", "curve", "line")

_CLASSES = {
    "include": "vtkMRMLMarkupsFiducialNode",
    "exclude": "vtkMRMLMarkupsFiducialNode",
    "box": "vtkMRMLMarkupsROINode",
    "curve": "vtkMRMLMarkupsClosedCurveNode",
    "line": "vtkMRMLMarkupsLineNode",
}
# Okabe and Ito's green and vermilion, which most colour-blind people can tell apart; shapes differ as well.
_ORANGE = (0.9, 0.62, 0.0)
_COLORS = {
    "include": (0.0, 0.62, 0.45),
    "exclude": (0.84, 0.37, 0.0),
    "box": _ORANGE,
    "curve": _ORANGE,
    "line": _ORANGE,
}
_GLYPHS = {"include": "Sphere3D", "exclude": "Cross2D"}
_LINE_POINTS = 2
_KIND = "MedSAM2.Kind"
_SEGMENT = "MedSAM2.SegmentId"
_SEGMENTATION = "MedSAM2.Segmentation"
_TAKEN = "MedSAM2.Taken"  # of a markup that somebody drew for another purpose: it outlives being a prompt


@dataclass(frozen=True)
class PromptItem:
    """A prompt as a list shows it. `nodeId` and `pointId` say what to remove; both None for a segment's mask."""

    kind: str
    sliceIndex: int
    text: str
    nodeId: str | None = None
    pointId: str | None = None


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
        lineNode.SetAttribute(_TAKEN, "1")
        self._claim(lineNode, "line")

    def placed(self, placer: PromptPlacer) -> Iterator[tuple[str, PlacedPrompt]]:
        """Place the prompts of all nodes, each with its kind. Raises PromptError, naming the markup."""
        for kind in ("include", "exclude"):
            for node in self.nodes(kind):
                yield from ((kind, prompt) for prompt in placer.pointList(node, include=kind == "include"))
        for node in self.nodes("box"):
            if node.GetNumberOfDefinedControlPoints():
                yield "box", placer.roi(node)
        for node in self.nodes("line"):
            if node.GetNumberOfDefinedControlPoints() == _LINE_POINTS:
                yield "line", placer.line(node)
        drawn = [node for node in self.nodes("curve") if node.GetNumberOfDefinedControlPoints() >= 3]
        yield from (("curve", prompt) for prompt in placer.curves(drawn))

    def remove(self, item: PromptItem) -> None:
        """Remove a prompt; nothing happens if it is gone already. A line that was taken stays in the scene."""
        node = slicer.mrmlScene.GetNodeByID(item.nodeId) if item.nodeId else None
        if node is None:
            return
        if item.pointId is None:
            _drop(node)
        else:
            node.RemoveNthControlPoint(node.GetNthControlPointIndexByID(item.pointId))

    def removeAll(self) -> None:
        """Remove every prompt; lines that were taken stay in the scene."""
        for kind in KINDS:
            for node in self.nodes(kind):
                _drop(node)

    def _belongs(self, node: slicer.vtkMRMLMarkupsNode) -> bool:
        return (
            node.GetAttribute(_SEGMENT) == self._segmentId
            and node.GetNodeReferenceID(_SEGMENTATION) == self._segmentationNode.GetID()
        )

    def _make(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        segment = self._segmentationNode.GetSegmentation().GetSegment(self._segmentId)
        node = slicer.mrmlScene.AddNewNodeByClass(_CLASSES[kind], f"{segment.GetName()} {_title(kind)}")
        self._claim(node, kind)
        node.CreateDefaultDisplayNodes()
        _style(node.GetDisplayNode(), kind)
        return node

    def _claim(self, node: slicer.vtkMRMLMarkupsNode, kind: str) -> None:
        """Note on a node that it holds prompts of the segment."""
        node.SetAttribute(_KIND, kind)
        node.SetAttribute(_SEGMENT, self._segmentId)
        node.SetNodeReferenceID(_SEGMENTATION, self._segmentationNode.GetID())


def promptedSegments(segmentationNode: slicer.vtkMRMLSegmentationNode) -> set[str]:
    """Return the IDs of the segments that have prompts in the scene."""
    nodes = [node for kind in set(_CLASSES.values()) for node in slicer.util.getNodesByClass(kind)]
    return {
        node.GetAttribute(_SEGMENT)
        for node in nodes
        if node.GetNodeReferenceID(_SEGMENTATION) == segmentationNode.GetID() and node.GetNumberOfDefinedControlPoints()
    }


def otherMarkups(className: str) -> list[slicer.vtkMRMLMarkupsNode]:
    """Return the markups of a class that were not made for prompts, such as measurements; hidden ones are left out."""
    nodes = [node for node in slicer.util.getNodesByClass(className) if not node.GetHideFromEditors()]
    return [node for node in nodes if node.GetAttribute(_KIND) is None or node.GetAttribute(_TAKEN)]


def itemText(kind: str, sliceIndex: int) -> str:
    """Return a prompt's line in a list."""
    return _("slice {index} · {kind}").format(index=sliceIndex, kind=_title(kind))


def _title(kind: str) -> str:
    titles = {
        "include": _("include"),
        "exclude": _("exclude"),
        "box": _("box"),
        "curve": _("curve"),
        "line": _("line"),
        "segment": _("from segment"),
    }
    return titles[kind]


def _takesMore(node: slicer.vtkMRMLMarkupsNode) -> bool:
    if node.IsA("vtkMRMLMarkupsFiducialNode"):
        return True
    placed: int = node.GetNumberOfDefinedControlPoints()
    return placed < _LINE_POINTS if node.IsA("vtkMRMLMarkupsLineNode") else not placed


def _drop(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Remove a node of prompts; one that was taken stays, as it was before."""
    if not node.GetAttribute(_TAKEN):
        slicer.mrmlScene.RemoveNode(node)
        return
    for name in (_KIND, _SEGMENT, _TAKEN):
        node.RemoveAttribute(name)
    node.SetNodeReferenceID(_SEGMENTATION, None)


def _style(display: slicer.vtkMRMLMarkupsDisplayNode | None, kind: str) -> None:
    if display is None:  # headless, where no display node class is registered
        return
    display.SetSelectedColor(*_COLORS[kind])
    display.SetColor(*_COLORS[kind])
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    if kind in _GLYPHS:
        display.SetGlyphTypeFromString(_GLYPHS[kind])
    if kind == "box":
        display.SetFillVisibility(False)
