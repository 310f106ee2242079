"""A segment's prompts in JSON's own types, to be kept in a file and made again as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
import vtk

from medsam2_core.image.geometry import Float
from MedSAM2SlicerLib.prompts.placing import definedPoints, roiCorners
from MedSAM2SlicerLib.prompts.promptnodes import KINDS, PromptNodes

Stored = dict[str, Any]
FromWorld = Callable[[npt.ArrayLike], Float]
"""What maps points (n, 3) of the world to where they are stored."""

_SQUARE = 1e-6  # cosine: more between the edges of a box, and it is none any more
_FLAT = 1e-9  # mm: an edge without any length has no direction


def describePrompts(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, fromWorld: FromWorld
) -> list[Stored]:
    """Return the prompts of a segment, node by node, where `fromWorld` maps them; those taken from segments not."""
    nodes = PromptNodes(segmentationNode, segmentId)
    placed = ((kind, node) for kind in KINDS for node in nodes.nodes(kind) if node.GetNumberOfDefinedControlPoints())
    return [{"kind": kind, **_described(kind, node, fromWorld)} for kind, node in placed]


def restorePrompts(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, prompts: Iterable[Mapping[str, Any]]
) -> None:
    """Put what `describePrompts` gave into the scene, taken for world coordinates (RAS mm).

    Raises ValueError, KeyError or TypeError for anything else.
    """
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


def _described(kind: str, node: slicer.vtkMRMLMarkupsNode, fromWorld: FromWorld) -> Stored:
    if kind == "box":
        return _box(fromWorld(roiCorners(node)))
    return {
        "points": fromWorld([node.GetNthControlPointPositionWorld(place) for place in definedPoints(node)]).tolist()
    }


def _box(corners: Float) -> Stored:
    """The box with these corners (8, 3), in the order of `roiCorners`; the one around them if they are skewed."""
    edges = corners[[4, 2, 1]] - corners[0]
    size = np.linalg.norm(edges, axis=1)
    axes = edges / np.maximum(size, _FLAT)[:, None]
    if np.abs(axes @ axes.T - np.eye(3)).max() > _SQUARE:
        axes, size = np.eye(3), np.ptp(corners, axis=0)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes.T, (corners.min(axis=0) + corners.max(axis=0)) / 2
    return {"matrix": matrix.tolist(), "size": size.tolist()}
