"""The record of a run on the segmentation node: all that is needed to judge a segment and to make it again.

It is the report of `medsam2 propagate`, so `medsam2 propagate --prompts` repeats it, and lies as JSON in the attribute
"MedSAM2.Run.<segment ID>" of the segmentation node, which scenes save. Prompts are in RAS mm of the volume's own
frame: neither a parent transform nor its removal changes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Float
from medsam2_core.image.segments import Segment
from medsam2_core.run.file import RunFile, check_run, place_file_prompts
from medsam2_core.run.prompts import Prompt, RunObject, Slicing, merge_points
from medsam2_core.run.report import RunSettings, SliceFacts, describe_run, own_versions
from medsam2_core.worker.results import ObjectRecord, Propagated
from MedSAM2SlicerLib.segments import segmentVolumeMl
from MedSAM2SlicerLib.volumes import checkedGeometry, voxelHash

_ATTRIBUTE = "MedSAM2.Run."
_ROUNDED = 1e-3  # mm
_LABEL = 1  # a record has one object, so its label in a label map of its own is the first


@dataclass(frozen=True)
class RunRecord:
    """A record that was read back and checked. `report` is the JSON as stored."""

    report: Mapping[str, Any]
    run: RunFile

    @property
    def volumeNodeId(self) -> str | None:
        """The ID that the volume's node had then; another node may have it now."""
        return self._volume().get("node_id")

    def prompts(self, slicing: Slicing) -> tuple[Prompt, ...]:
        """Return the prompts in the volume of the run. Raises PromptError if they do not fit `slicing`."""
        return merge_points(place_file_prompts(self.run.objects[0], slicing, self.run.path))

    def isOf(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
        """Whether the run was made on this volume: the same voxels on the same grid, whatever node holds them."""
        stored = self._volume()
        if not _isClose(stored.get("affine_ijk_to_ras"), checkedGeometry(volumeNode).affine_ijk_to_ras):
            return False
        return bool(stored.get("voxels_sha256") == voxelHash(volumeNode))

    def _volume(self) -> Mapping[str, Any]:
        volume = self.report.get("volume")
        return volume if isinstance(volume, Mapping) else {}


def saveRun(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    settings: RunSettings,
    prompts: Sequence[Prompt],
    result: Propagated,
    objectId: int,
    voxelsSha256: str,
) -> None:
    """Store a run on the segmentation node in place of the segment's record before.

    `prompts` as the worker got them, on stored slices along the settings' axis. `objectId` is the segment's number in
    `result`. `voxelsSha256` is the volume's `voxelHash`; it takes 0.1 s for a 70 MB CT, too long for the end of a run.
    """
    geometry = checkedGeometry(volumeNode)
    report = describe_run(
        _identity(volumeNode, voxelsSha256),
        geometry,
        settings,
        [RunObject(_segment(segmentationNode, segmentId), tuple(prompts))],
        _Results(next((one for one in result.objects if one.object_id == objectId), None)),
        {_LABEL: segmentVolumeMl(segmentationNode, segmentId)},
        versions=own_versions(),
        seconds=result.seconds,
        interrupted=result.cancelled,
    )
    text = json.dumps(report, separators=(",", ":"), allow_nan=False)
    segmentationNode.SetAttribute(attributeName(segmentId), text)


def loadRun(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> RunRecord | None:
    """Read the record of a segment; None if it has none. Raises PromptError for one that is damaged."""
    text = segmentationNode.GetAttribute(attributeName(segmentId))
    if text is None:
        return None
    where = f"Run of segment {segmentId!r} in {segmentationNode.GetName()!r}"
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{where}: The record is damaged ({error}): propagate again to replace it.") from error
    if not isinstance(report, dict):
        raise PromptError(f"{where}: The record holds no run: propagate again to replace it.")
    return RunRecord(report, check_run(report, where))


def removeRun(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> None:
    """Forget the record of a segment."""
    segmentationNode.RemoveAttribute(attributeName(segmentId))


def attributeName(segmentId: str) -> str:
    """Return the name of the attribute that holds a segment's record.

    What is no letter, digit or one of _.-~ is written as = and two hexadecimal digits a byte: Slicer encodes the values
    of attributes in a scene file, but not their names.
    """
    return _ATTRIBUTE + quote(segmentId, safe="").replace("%", "=")


@dataclass(frozen=True)
class _Results:
    """An object's record as a report asks for it."""

    record: ObjectRecord | None

    def results(self, object_id: int) -> Mapping[int, SliceFacts]:
        return {} if self.record is None else {one.slice_index: one for one in self.record.slices}

    def stops(self, object_id: int) -> Mapping[str, str]:
        return {} if self.record is None else self.record.stopped


def _isClose(stored: Any, affine: Float) -> bool:
    """Whether a stored matrix, which may be anything, is this one up to what a file's header rounds."""
    try:
        found = np.asarray(stored, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return found.shape == affine.shape and bool(np.allclose(found, affine, rtol=0, atol=_ROUNDED))


def _identity(volumeNode: slicer.vtkMRMLScalarVolumeNode, voxelsSha256: str) -> dict[str, str]:
    return {
        "name": volumeNode.GetName(),
        "node_id": volumeNode.GetID(),
        "voxels_sha256": voxelsSha256,
    }


def _segment(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> Segment:
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    red, green, blue = (round(part, 4) for part in segment.GetColor())
    return Segment(segment.GetName(), _LABEL, (red, green, blue))
