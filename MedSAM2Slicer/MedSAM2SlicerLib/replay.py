"""Making segments again from a record of their runs: of a scene, of "Save run", or of the command line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.run.file import check_run, read_json
from medsam2_core.run.prompts import RunObject
from medsam2_core.run.sequence import PlacedRun
from medsam2_core.run.settings import FileSettings, RunSettings, plain_settings
from medsam2_core.weights.catalogue import load_catalogue
from medsam2_core.worker.results import ObjectAnswer, Propagated, Step
from MedSAM2SlicerLib.client import WorkerClient
from MedSAM2SlicerLib.oblique import masksOn, preparedOblique
from MedSAM2SlicerLib.runrecord import RunRecord, saveRun
from MedSAM2SlicerLib.segments import ensureSegmentation
from MedSAM2SlicerLib.slicemasks import SliceWriter
from MedSAM2SlicerLib.target import Target
from MedSAM2SlicerLib.volumeinuse import VolumeInUse
from MedSAM2SlicerLib.volumes import PreparedVolume, prepareVolume

Run = str | Path | Mapping[str, Any]
Progress = Callable[[int, int], object]


def replay(
    client: WorkerClient,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    run: Run,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    progress: Progress | None = None,
    model: str | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Repeat the runs of a record; see `MedSAM2SlicerLogic.replay` for the arguments.

    Waits for the result; the application stays responsive meanwhile. Raises MedSAM2Error; what was drawn until then
    stays.
    """
    record = _read(run)
    stack = record.run.settings.stack or SliceStack()
    prepared = prepareVolume(volumeNode, record.run.settings.window or "auto")
    oblique = stack.oblique(prepared.geometry)
    if oblique is not None:
        prepared = preparedOblique(prepared, oblique)
    runs = record.runs(Slicing(prepared.geometry, stack.axis))
    volume = VolumeInUse(volumeNode)
    _noteOtherVolume(record, volumeNode, _hashed(client, volume))
    names = [item.segment.name for item in runs[-1].objects]
    targets = [_target(volumeNode, segmentationNode, names[0])]
    targets += [_target(volumeNode, targets[0].segmentationNode, name) for name in names[1:]]
    segments = {
        item.segment.label: _Segment(target, target.writer(volume.sliced(stack)))
        for item, target in zip(runs[-1].objects, targets, strict=True)
    }
    session = _Session(client, volume, prepared, record, segments, model)
    try:
        session.repeat(runs, progress)
    finally:
        session.close()
    return targets[0].segmentationNode


@dataclass(frozen=True)
class _Segment:
    """A segment that is made again."""

    target: Target
    writer: SliceWriter


class _Session:
    """A session of the worker in which the runs are repeated, and the segments its objects go into, by label.

    The volume has a key of its own, so that nothing that others have open is closed with it.
    """

    def __init__(
        self,
        client: WorkerClient,
        volume: VolumeInUse,
        prepared: PreparedVolume,
        record: RunRecord,
        segments: Mapping[int, _Segment],
        model: str | None,
    ) -> None:
        self._client, self._volume, self._prepared, self._record = client, volume, prepared, record
        self._segments = segments
        settings = record.run.settings
        self._stack, self._named = settings.stack or SliceStack(), plain_settings(vars(settings))
        self._key = f"replay/{prepared.key}"
        # The model's own size, as in any recorded run, is not named: another size would load the model again.
        client.setModel(model or _modelName(settings), "auto", None if record.run.recorded else settings.image_size)
        client.setVolume(self._key, prepared)
        client.openSession(self._key, self._key, self._stack.axis, self._named["memory"], self._named["field_of_view"])
        for segment in segments.values():
            segment.writer.begin()

    def repeat(self, runs: list[PlacedRun], progress: Progress | None) -> None:
        """Repeat all runs, the last one last, and save them as the segments' records."""
        results = [self._propagate(runs, place, progress) for place in range(len(runs))]
        self._drawOutside(runs)
        self._cut(runs[-1].objects)
        self._empty(results[-1])
        self.end()
        self._save(runs, results)

    def end(self) -> None:
        """Keep what is written."""
        for segment in self._segments.values():
            segment.writer.end()

    def close(self) -> None:
        """Have the worker forget the session, with what is running in it."""
        self.end()
        self._client.closeVolume(self._key)

    def _propagate(self, runs: list[PlacedRun], place: int, progress: Progress | None) -> Propagated:
        run, todo = runs[place], sum(later.expected_slices for later in runs[place + 1 :])
        before = sum(earlier.expected_slices for earlier in runs[:place])

        def onStep(step: Step) -> None:
            self._write(step)
            if progress is not None and step.planned:
                progress(before + step.done, before + step.planned + todo)

        call = self._client.propagate(
            self._key, run.objects, run.first, run.last, run.direction, run.stop, onStep, rounds=run.rounds
        )
        try:
            result: Propagated = call.wait()
        finally:
            call.cancel()
        return result

    def _drawOutside(self, runs: list[PlacedRun]) -> None:
        """Draw slices that prompts changed where no later run went."""
        last = runs[-1]
        prompted = {index for run in runs for item in run.objects for index in item.slices}
        for index in sorted(prompted - set(range(last.first, last.last))):
            for answer in self._client.predict(self._key, index, last.objects).wait():
                self._writeAnswer(index, answer)

    def _cut(self, objects: tuple[RunObject, ...]) -> None:
        """Draw again at the probability and smoothing of the record, if they are not those of a propagation."""
        threshold, smoothing = self._named["threshold"], self._named["smoothing_mm"]
        if (threshold, smoothing) != (RunSettings.threshold, RunSettings.smoothing_mm):
            for label in self._segments:
                self._client.redraw(self._key, objects, label, threshold, smoothing, self._write).wait()

    def _write(self, step: Step) -> None:
        for answer in step.answers:
            self._writeAnswer(step.slice_index, answer)

    def _writeAnswer(self, index: int, answer: ObjectAnswer) -> None:
        writer = self._segments[answer.object_id].writer
        writer.writeSlices({index: answer.mask.full(writer.sliceShape(self._stack.axis))}, self._stack.axis)

    def _empty(self, result: Propagated) -> None:
        """Empty the slices that runs gave up, and those that held something else before."""
        for record in result.objects:
            drawn = {one.slice_index for one in record.slices}
            segment = self._segments[record.object_id]
            sliced = self._volume.sliced(self._stack)
            masks = masksOn(sliced, segment.target.segmentationNode, segment.target.segmentId)
            segment.writer.writeSlices(dict.fromkeys(sorted(masks.prints().keys() - drawn)), self._stack.axis)

    def _save(self, runs: list[PlacedRun], results: list[Propagated]) -> None:
        voxelsSha256 = _hashed(self._client, self._volume)
        _noteOtherModel(self._record.run.settings, self._client.modelFacts or {})
        for place, (run, result) in enumerate(zip(runs, results, strict=True)):
            for item in run.objects:
                target = self._segments[item.segment.label].target
                saveRun(
                    target.segmentationNode,
                    target.segmentId,
                    self._volume.node,
                    self._settings(run),
                    item.prompts,
                    result,
                    item.segment.label,
                    voxelsSha256,
                    continues=place > 0,
                )

    def _settings(self, run: PlacedRun) -> RunSettings:
        named = {**self._named, **run.settings}
        settings = RunSettings(**named, stack=self._stack, window=self._prepared.window)
        return settings.of_model(self._client.modelFacts or {})


def _read(run: Run) -> RunRecord:
    """A record from a file, or from its content. Raises PromptError if it is not one."""
    if isinstance(run, Mapping):
        report, where = dict(run), "The run"
    else:
        report, where = read_json(Path(run)), str(run)
    return RunRecord(report, check_run(report, where))


def _target(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode | None, name: str
) -> Target:
    return Target(*ensureSegmentation(volumeNode, segmentationNode, name))


def _modelName(settings: FileSettings) -> str:
    """The catalog's name of a run's model. A record is not trusted with paths: it only knows the name of a file."""
    catalogue = load_catalogue()
    named = settings.model or "starter"
    published = next((name for name, entry in catalogue.items() if entry.sha256 == settings.model_sha256), named)
    if published not in catalogue:
        raise PromptError(f"The run used the model {named!r}, which is not in the catalog: give its path as model.")
    return published


def _hashed(client: WorkerClient, volume: VolumeInUse) -> str:
    """The hash of the voxels, while the application goes on."""
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
