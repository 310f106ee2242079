"""Making segments again from a record of their runs: of a scene, of "Save run", or of the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.run.file import check_run, read_json
from medsam2_core.run.sequence import PlacedRun
from medsam2_core.run.settings import FileSettings, RunSettings, plain_settings
from medsam2_core.weights.model_file import recorded_model
from medsam2_core.worker.results import Step
from MedSAM2SlicerLib.record.runrecord import RunRecord
from MedSAM2SlicerLib.replayrun import ReplayRun, ReplaySegment
from MedSAM2SlicerLib.scene.arguments import checkArguments
from MedSAM2SlicerLib.scene.making import Making
from MedSAM2SlicerLib.scene.oblique import preparedOblique
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume, slicedVolume
from MedSAM2SlicerLib.scene.volumes import PreparedVolume, prepareVolume
from MedSAM2SlicerLib.work.driving import driveToEnd
from MedSAM2SlicerLib.work.running import Progress
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

Saved = str | Path | Mapping[str, Any]


def replay(
    client: WorkerClient,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    run: Saved,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    progress: Callable[[int, int], object] | None = None,
    model: str | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Repeat the runs of a record; see `MedSAM2SlicerLogic.replay` for the arguments.

    Waits for the result; the application stays responsive meanwhile. Raises MedSAM2Error; what was drawn until then
    stays, and nothing that is empty.
    """
    checkArguments(volumeNode=volumeNode, run=run, segmentationNode=segmentationNode, progress=progress, model=model)
    record = _read(run)
    stack = record.run.settings.stack or SliceStack()
    prepared = prepareVolume(volumeNode, record.run.settings.window or "auto")
    oblique = stack.oblique(prepared.geometry)
    if oblique is not None:
        prepared = preparedOblique(prepared, oblique)
    runs = record.runs(Slicing(prepared.geometry, stack.axis))
    voxelsSha256 = _hashed(client, volumeNode)
    _noteOtherVolume(record, volumeNode, voxelsSha256)
    volume = slicedVolume(volumeNode, stack)
    settings = _settings(record.run.settings, prepared, runs[-1])
    with Making() as making:
        segments = _segments(making, volume, segmentationNode, [item.segment for item in runs[-1].objects])
        key = _openSession(client, record, prepared, settings, model)
        try:
            again = ReplayRun(key, volume, runs, settings, segments, voxelsSha256)
            driveToEnd(again, client, partial(_tell, progress))
            _noteOtherModel(record.run.settings, client.modelFacts or {})
        finally:
            client.closeVolume(key, {key})
    return next(iter(segments.values())).target.segmentation


def _settings(saved: FileSettings, prepared: PreparedVolume, last: PlacedRun) -> RunSettings:
    """What the last of the runs, and all that they share, is made with."""
    stack, plain = saved.stack or SliceStack(), plain_settings(vars(saved))
    return RunSettings(**{**plain, **last.settings}, stack=stack, window=prepared.window)


def _openSession(
    client: WorkerClient, record: RunRecord, prepared: PreparedVolume, settings: RunSettings, model: str | None
) -> str:
    """Have the client know the session in which the runs are repeated; returns its key, which is the volume's too.

    The volume has a key of its own, so that nothing that others have open is closed with it.
    """
    saved, key = record.run.settings, f"replay/{prepared.key}"
    # The model's own size, as in any recorded run, is not named: another size would load the model again.
    imageSize = None if record.run.recorded else saved.image_size
    client.setModel(model or _modelName(saved), "auto", imageSize, settings.precision)
    client.setVolume(key, prepared)
    client.openSession(key, key, settings.stack.axis, settings.of("session"))
    return key


def _segments(
    making: Making,
    volume: SlicedVolume,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    recorded: Sequence[Segment],
) -> dict[int, ReplaySegment]:
    """The segments of the record's names, by label; made where there is none."""
    made: dict[int, ReplaySegment] = {}
    target = Target(segmentationNode)
    for segment in recorded:
        target = target.moved(*making.ensure(volume.node, target.segmentationNode, segment.name))
        made[segment.label] = ReplaySegment(target, target.writer(volume))
    return made


def _tell(progress: Callable[[int, int], object] | None, step: Step, reached: Progress) -> None:
    if progress is not None and step.planned:
        progress(reached.done, reached.planned)


def _read(run: Saved) -> RunRecord:
    """A record from a file, or from its content. Raises PromptError if it is not one."""
    if isinstance(run, Mapping):
        report, where = dict(run), "The run"
    else:
        report, where = read_json(Path(run)), str(run)
    return RunRecord(report, check_run(report, where))


def _modelName(settings: FileSettings) -> str:
    """The catalog's name of a run's model."""
    named = settings.model or "starter"
    entry = recorded_model(named, settings.model_sha256)
    if entry is None:
        raise PromptError(f"The run used the model {named!r}, which is not in the catalog: give its path as model.")
    return entry.name


def _hashed(client: WorkerClient, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The hash of the voxels, while the application goes on."""
    volume = VolumeInUse(volumeNode)
    voxelHash = volume.voxelsSha256()
    while volume.work():
        client.pump(0)
    return voxelHash.result()


def _noteOtherVolume(record: RunRecord, volumeNode: slicer.vtkMRMLScalarVolumeNode, voxelsSha256: str) -> None:
    if "volume" in record.report and not record.isOf(volumeNode, voxelsSha256):
        logging.warning(
            "The run was made on a different volume from %r, so the mask will differ.", volumeNode.GetName()
        )


def _noteOtherModel(settings: FileSettings, facts: Mapping[str, Any]) -> None:
    if settings.model_sha256 not in (None, facts.get("sha256")):
        logging.warning("%s has different weights than the run had, so the mask may differ.", facts.get("name"))
