"""The record of a run on the segmentation node: all that is needed to judge a segment and to make it again.

It is the report of `medsam2 propagate`, so `medsam2 propagate --prompts` repeats it, and lies as JSON in the attribute
"MedSAM2.Run.<segment ID>" of the segmentation node, which scenes save. Prompts are in RAS mm of the volume's own
frame: neither a parent transform nor its removal changes them. Of a segment that was corrected it holds all runs, see
`medsam2_core.run.sequence`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Float, Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import Slicing
from medsam2_core.image.window import Window
from medsam2_core.run.file import RunFile, check_run
from medsam2_core.run.prompts import Prompt, RunObject
from medsam2_core.run.report import SliceFacts, check_report_path, describe_run, own_versions, write_report
from medsam2_core.run.sequence import PlacedRun, place_runs, whole_runs, with_earlier
from medsam2_core.run.settings import RunSettings, rows_of
from medsam2_core.worker.results import ObjectRecord, Propagated
from MedSAM2SlicerLib.scene.attributes import attributeName, runText, setAttribute
from MedSAM2SlicerLib.scene.segments import segmentVolumeMl
from MedSAM2SlicerLib.scene.volumes import checkedGeometry, voxelHash

_ROUNDED = 1e-3  # mm
_OF_A_SESSION = ("model_sha256", "image_size", "axis", "plane", "window")
_LABEL = 1  # a record has one object, so its label in a label map of its own is the first


@dataclass(frozen=True)
class RunRecord:
    """A record that was read back and checked. `report` is the JSON as stored."""

    report: dict[str, Any]
    run: RunFile

    @property
    def volumeNodeId(self) -> str | None:
        """The ID that the volume's node had then; another node may have it now."""
        return self._volume().get("node_id")

    @property
    def volumeName(self) -> str | None:
        """The name that the volume had then."""
        return self._volume().get("name")

    def runs(self, slicing: Slicing) -> list[PlacedRun]:
        """Return the runs in a volume, the last one last. Raises PromptError if they do not fit `slicing`."""
        return place_runs(self.run, slicing)

    def isOf(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, voxelsSha256: str | None = None) -> bool:
        """Whether the run was made on this volume: the same voxels on the same grid, whatever node holds them.

        `voxelsSha256` is its `voxelHash`, for those who have it.
        """
        return self._isOf(checkedGeometry(volumeNode), voxelsSha256 or voxelHash(volumeNode))

    def leadsTo(self, report: Mapping[str, Any], geometry: Geometry) -> bool:
        """Whether a run on a volume of `geometry` could follow in the same session."""
        before, after = self.report.get("settings", {}), report["settings"]
        same = all(before.get(name) == after.get(name) for name in _OF_A_SESSION)
        # A record is silent on settings that its version did not know: it was made with what is usual now.
        same = same and all(before.get(row.key, row.default) == after.get(row.key) for row in rows_of("session"))
        return same and self._isOf(geometry, report["volume"]["voxels_sha256"])

    def _isOf(self, geometry: Geometry, voxelsSha256: str) -> bool:
        stored = self._volume()
        sameGrid = _isClose(stored.get("affine_ijk_to_ras"), geometry.affine_ijk_to_ras)
        return sameGrid and bool(stored.get("voxels_sha256") == voxelsSha256)

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
    continues: bool = False,
    needsEarlier: bool = False,
) -> bool:
    """Store a run on the segmentation node in place of the segment's record before; returns whether that was done.

    A run that `continues` kept what earlier ones drew on slices it did not go through: those of the record before then
    go with it, if they were made in the same way on the same volume. One that `needsEarlier` is not stored without.

    `prompts` as the worker got them, on stored slices along the settings' axis. `objectId` is the segment's number in
    `result`. `voxelsSha256` is the volume's `voxelHash`; it takes 0.1 s for a 70 MB CT, too long for the end of a run.
    """
    geometry = checkedGeometry(volumeNode)
    if result.cancelled:
        settings = replace(settings, rounds=result.rounds)
    report = describe_run(
        _identity(volumeNode, voxelsSha256),
        geometry,
        settings,
        [RunObject(_segment(segmentationNode, segmentId), tuple(prompts))],
        _Results(next((one for one in result.objects if one.object_id == objectId), None)),
        {_LABEL: segmentVolumeMl(segmentationNode, segmentId)},
        versions=own_versions(),
        seconds=result.seconds,
        encoder=result.encoder,
        interrupted=result.cancelled,
    )
    earlier = _runsBefore(segmentationNode, segmentId, report, geometry) if continues else []
    if needsEarlier and not earlier:
        return False
    text = json.dumps(with_earlier(report, earlier), separators=(",", ":"), allow_nan=False)
    setAttribute(segmentationNode, attributeName(segmentId), text)
    return True


def loadRun(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> RunRecord | None:
    """Read the record of a segment; None if it has none. Raises PromptError for one that is damaged."""
    text = runText(segmentationNode, segmentId)
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


def recordedWindow(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentIds: Iterable[str]
) -> tuple[str, Window] | None:
    """Return the ID of the volume and the window of the first record among those of segments; None without one."""
    for segmentId in segmentIds:
        try:
            record = loadRun(segmentationNode, segmentId)
        except PromptError:
            continue
        if record is not None and record.volumeNodeId is not None and record.run.settings.window is not None:
            return _volumeNodeIdNow(record, segmentationNode) or record.volumeNodeId, record.run.settings.window
    return None


def writeRun(record: RunRecord, path: Path) -> None:
    """Write a record as a file that `replay` and `medsam2 propagate --prompts` repeat.

    An existing file is replaced only by a complete new one. Raises VolumeError if it cannot be written.
    """
    check_report_path(path)
    write_report(path, record.report)


def noteCut(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, drawing: Mapping[str, Any]) -> None:
    """Note in the record with which settings of the part "drawing" the segment was redrawn.

    Where there is none, or a damaged one, there is nothing to note it in.
    """
    try:
        report = json.loads(runText(segmentationNode, segmentId) or "")
        report["settings"] |= {row.key: drawing[row.name] for row in rows_of("drawing")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    setAttribute(segmentationNode, attributeName(segmentId), json.dumps(report, separators=(",", ":")))


def _volumeNodeIdNow(record: RunRecord, segmentationNode: slicer.vtkMRMLSegmentationNode) -> str | None:
    """Return the ID of a record's volume as a reference of the scene has it; None if that is to another volume.

    Where a scene is added to one that has its IDs, nodes get others, and references follow them.
    """
    referred = segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
    isSame = referred is not None and referred.GetName() == record.volumeName
    return referred.GetID() if isSame else None


def _runsBefore(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, report: Mapping[str, Any], geometry: Geometry
) -> list[dict[str, Any]]:
    """The runs of the segment's present record, by the name that the segment has now."""
    try:
        before = loadRun(segmentationNode, segmentId)
    except PromptError:  # damaged: it explains nothing any more
        return []
    if before is None or not before.leadsTo(report, geometry):
        return []
    name = report["objects"][0]["name"]
    return [
        {**run, "objects": [{**item, "name": name} for item in run["objects"]]} for run in whole_runs(before.report)
    ]


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
