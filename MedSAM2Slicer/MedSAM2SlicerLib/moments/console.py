"""Carrying a segment through time from Slicer's Python console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from medsam2_core.errors import MedSAM2Error
from medsam2_core.worker.time_steps import TimeStep
from MedSAM2SlicerLib.moments.throughtime import ThroughTime
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.segmentnames import segmentIdOf
from MedSAM2SlicerLib.worker.client import WorkerClient


def throughTime(
    client: WorkerClient,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentName: str,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> tuple[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLTableNode]:
    """See `MedSAM2SlicerLogic.throughTime`. `options` are those of `RunOptions`; None for the default."""
    chosen = RunOptions(**{name: value for name, value in options.items() if value is not None})
    run = ThroughTime(volumeNode, segmentationNode, segmentIdOf(segmentationNode, segmentName), chosen)
    failed: list[MedSAM2Error] = []

    def onStep(step: TimeStep) -> None:
        if failed:
            return
        try:
            run.write(step)
        except MedSAM2Error as error:
            failed.append(error)
            call.cancel()
            return
        if progress is not None:
            progress(step.done, step.planned)

    try:
        call = run.ask(client, onStep)
        call.wait()
    finally:
        run.close(client)
    if failed:
        raise failed[0]
    return run.node, run.table
