"""What is known of a case beside its masks, in JSON's own types: states of slices, records of runs, prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import PromptError
from MedSAM2SlicerLib.cohort.casenodes import CaseNodes
from MedSAM2SlicerLib.cohort.caseplace import onImage
from MedSAM2SlicerLib.prompts.storing import FromWorld, describePrompts, restorePrompts
from MedSAM2SlicerLib.scene.attributes import restoreRun, restoreSlices, runText, slicesText


def describeReview(nodes: CaseNodes, settled: slicer.vtkMRMLSegmentationNode) -> dict[str, Any]:
    """Return what `restoreReview` puts back: of slices what `settled`, on the image's grid, knows, and where prompts
    lie on the image. Raises VolumeError for an image that has no voxels any more.
    """
    return _review(nodes, settled, partial(onImage, nodes))


def seenReview(nodes: CaseNodes) -> dict[str, Any]:
    """Return as much of the scene as it is, prompts in the world: moving the image alone is no work on them."""
    return _review(nodes, nodes.segmentationNode, lambda world: np.asarray(world, dtype=np.float64))


def restoreReview(nodes: CaseNodes, review: Mapping[str, Any]) -> None:
    """Put back what was known of a case, of segments that it still has. Raises PromptError for a damaged note."""
    node = nodes.segmentationNode
    try:
        for segmentId, known in review["segments"].items():
            if segmentId not in nodes.segmentIds:
                continue
            restorePrompts(node, segmentId, known["prompts"])
            restoreSlices(node, segmentId, _text(known["slices"]))
            restoreRun(node, segmentId, _text(_inThisScene(nodes, known["run"])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        text = _("{name}: The notes about the work on it are damaged ({error}): start over with this case.")
        raise PromptError(text.format(name=nodes.name, error=error)) from error


def _review(nodes: CaseNodes, settled: slicer.vtkMRMLSegmentationNode, fromWorld: FromWorld) -> dict[str, Any]:
    segments = {one: _segment(nodes.segmentationNode, one, settled, fromWorld) for one in nodes.segmentIds}
    return {"segments": segments}


def _segment(
    node: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    settled: slicer.vtkMRMLSegmentationNode,
    fromWorld: FromWorld,
) -> dict[str, Any]:
    return {
        "slices": _value(slicesText(settled, segmentId)),
        "run": _value(runText(node, segmentId)),
        "prompts": describePrompts(node, segmentId, fromWorld),
    }


def _inThisScene(nodes: CaseNodes, run: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A record whose volume is the one that was loaded now."""
    if run is None:
        return None
    return {**run, "volume": {**run["volume"], "node_id": nodes.volumeNode.GetID()}}


def _value(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:  # of a scene that somebody edited: nothing is known then
        return None


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
