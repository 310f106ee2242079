"""Carrying a segment through time from Slicer's Python console."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.worker.time_steps import TimeStep
from MedSAM2SlicerLib.moments.throughtime import ThroughTime
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.arguments import checkArguments
from MedSAM2SlicerLib.segmentnames import segmentIdOf
from MedSAM2SlicerLib.worker.calls import askAndWait
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
    checkArguments(volumeNode=volumeNode, segmentationNode=segmentationNode, segmentName=segmentName)
    checkArguments(progress=progress, **options)
    chosen = RunOptions(**{name: value for name, value in options.items() if value is not None})
    if segmentationNode is None or segmentName is None:
        raise PromptError("Give the segmentation node and the name of the segment that is to be carried.")
    run = ThroughTime(volumeNode, segmentationNode, segmentIdOf(segmentationNode, segmentName), chosen)

    def onStep(step: TimeStep) -> None:
        run.write(step)
        if progress is not None:
            progress(step.done, step.planned)

    try:
        askAndWait(partial(run.ask, client), onStep)
    finally:
        run.close(client)
    return run.node, run.table
