"""What the report of a run says of a case, put into the scene as if the run had been made there.

Its points, strokes and boxes become markups, its slices get their states and confidences, and each segment its record:
so a click corrects it, and a propagation goes on from it. Slices that the run got as masks are taken for edited ones.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from medsam2_core.directions import STEPS
from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.run.file import FileObject, RunFile, check_run
from medsam2_core.run.settings import plain_settings, rows_of
from MedSAM2SlicerLib.cohort.casenodes import CaseNodes
from MedSAM2SlicerLib.prompts.promptset import PromptSet
from MedSAM2SlicerLib.scene.attributes import restoreRun, storeSlices
from MedSAM2SlicerLib.scene.oblique import masksOn
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume, slicedVolume
from MedSAM2SlicerLib.scene.slicemasks import SliceMasks, changeFrom
from MedSAM2SlicerLib.scene.slicereview import EDITED, PROMPTED, PROPAGATED
from MedSAM2SlicerLib.scene.slicestates import SliceStates
from MedSAM2SlicerLib.scene.volumes import voxelHash
from MedSAM2SlicerLib.segmentnames import segmentIdOf

Json = dict[str, Any]


def restoreRecorded(nodes: CaseNodes, report: Json, path: Path) -> None:
    """Put what a report, which lies at `path`, says into the scene.

    Raises PromptError for one that is damaged, or of other segments or slices.
    """
    run = check_run(report, path)
    volume = slicedVolume(nodes.volumeNode, run.settings.stack)
    identity = {"node_id": nodes.volumeNode.GetID(), "voxels_sha256": voxelHash(nodes.volumeNode)}
    for item in run.objects:
        segmentId = segmentIdOf(nodes.segmentationNode, item.name)
        _placePrompts(nodes, segmentId, item, volume)
        masks = masksOn(volume, nodes.segmentationNode, segmentId)
        states = _states(_reported(report, item.name), _givenMasks(item), run, masks, volume.slicing.count)
        storeSlices(nodes.segmentationNode, segmentId, states.toJson(), masks.prints())
        record = json.dumps(_record(report, item.name, {"name": nodes.name, **identity}), separators=(",", ":"))
        restoreRun(nodes.segmentationNode, segmentId, record)


def _placePrompts(nodes: CaseNodes, segmentId: str, item: FileObject, volume: SlicedVolume) -> None:
    prompts = PromptSet(nodes.segmentationNode, segmentId)
    affine = volume.slicing.geometry.affine_ijk_to_ras[:3, :3]
    axes = affine / np.linalg.norm(affine, axis=0)
    for prompt in item.prompts:
        if prompt["kind"] == "points":
            for point, label in zip(prompt["points_ras"], prompt["labels"], strict=True):
                prompts.addPoint(point, include=label == 1)
        elif prompt["kind"] == "scribble":
            prompts.addScribble(prompt["points_ras"], prompt["include"])
        elif prompt["kind"] == "box":
            prompts.addBox(prompt["corners_ras"], axes)


def _givenMasks(item: FileObject) -> set[int]:
    """The slices whose masks the run was given."""
    return {prompt["slice_index"] for prompt in item.prompts if prompt["kind"] == "mask"}


def _states(slices: Any, given: Collection[int], run: RunFile, masks: SliceMasks, count: int) -> SliceStates:
    """The states of a segment's slices, of what a report has of those of `count`. Raises PromptError for others."""
    plain = plain_settings(vars(run.settings))
    try:
        stored = {
            **(run.settings.stack or SliceStack()).to_json(),
            "slices": [_slice(one, given, masks, count) for one in slices],
            "changed": [],
            "cut": [plain[row.name] for row in rows_of("drawing")],
        }
        return SliceStates.fromJson(stored)
    except (ValueError, KeyError, TypeError) as error:
        text = _("{where}: The report has damaged slices ({error}): run medsam2 batch with this case again.")
        raise PromptError(text.format(where=run.path, error=error)) from error


def _slice(one: Mapping[str, Any], given: Collection[int], masks: SliceMasks, count: int) -> Json:
    """A slice of a report as `SliceStates` has it. Raises ValueError for one that the volume does not have."""
    index, direction = one["slice_index"], one["direction"]
    if not 0 <= index < count:
        raise ValueError(f"slice {index} of {count}")
    isPrompted = PROMPTED if direction == "prompt" else PROPAGATED
    drawnFrom = index - STEPS[direction] if direction in STEPS else -1
    before = masks.mask(drawnFrom) if 0 <= drawnFrom < count else None
    return {
        "sliceIndex": index,
        "confidence": one["confidence"] or 0.0,
        "origin": EDITED if index in given else isPrompted,
        "areaMm2": one["area_mm2"],
        "direction": direction,
        "change": changeFrom(before, masks.mask(index)),
        "mark": "",
        "stale": False,
        "disagreement": one.get("disagreement"),
    }


def _reported(report: Json, name: str) -> Any:
    return next(one for one in report["objects"] if one["name"] == name).get("slices", [])


def _record(report: Json, name: str, identity: Mapping[str, str]) -> Json:
    """The report as the record of one of its objects, made on a volume in the scene."""
    volume = {key: value for key, value in report.get("volume", {}).items() if key != "path"}
    earlier = [
        {**run, "objects": [one for one in run["objects"] if one["name"] == name]} for run in report.get("earlier", [])
    ]
    own = [{**one, "label": 1} for one in report["objects"] if one["name"] == name]
    shown = {**report, "volume": {**volume, **identity}, "objects": own}
    return {**shown, "earlier": [run for run in earlier if run["objects"]]} if earlier else shown
