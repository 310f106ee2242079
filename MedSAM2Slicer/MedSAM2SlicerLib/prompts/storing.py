"""A segment's prompts in JSON's own types, to be kept in a file and made again as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from MedSAM2SlicerLib.prompts.placing import definedPoints
from MedSAM2SlicerLib.prompts.promptnodes import KINDS, PromptNodes

Stored = dict[str, Any]


def describePrompts(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> list[Stored]:
    """Return the prompts of a segment, node by node, in world coordinates (RAS mm); those taken from segments not."""
    nodes = PromptNodes(segmentationNode, segmentId)
    placed = ((kind, node) for kind in KINDS for node in nodes.nodes(kind) if node.GetNumberOfDefinedControlPoints())
    return [{"kind": kind, **_described(kind, node)} for kind, node in placed]


def restorePrompts(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, prompts: Iterable[Mapping[str, Any]]
) -> None:
    """Put what `describePrompts` gave into the scene. Raises ValueError, KeyError or TypeError for anything else."""
    nodes = PromptNodes(segmentationNode, segmentId)
    for one in prompts:
        if one["kind"] not in KINDS:
            raise ValueError(f"{one['kind']!r} is not a kind of prompt")
        node = nodes.nodeToPlace(one["kind"])
        if one["kind"] == "box":
            node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(np.array(one["matrix"])))
            node.SetSize(*one["size"])
            continue
        for point in one["points"]:
            node.AddControlPointWorld(vtk.vtkVector3d(*point))


def _described(kind: str, node: slicer.vtkMRMLMarkupsNode) -> Stored:
    if kind == "box":
        matrix = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())
        return {"matrix": matrix.tolist(), "size": list(node.GetSize())}
    return {"points": [list(node.GetNthControlPointPositionWorld(place)) for place in definedPoints(node)]}
