"""What a finished run needs to be repeated, put on the segmentation node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer

from medsam2_core.run.prompts import RunObject
from medsam2_core.run.report import RunSettings
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import Propagated
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.runrecord import saveRun
from MedSAM2SlicerLib.volumeinuse import VolumeInUse


class Recording:
    """Notes at the start of a run what it is made with, and saves it with the result.

    The volume is hashed at the start, where nobody minds 0.1 s.
    """

    def __init__(self, volume: VolumeInUse, options: RunOptions, span: tuple[int, int], thing: RunObject) -> None:
        self._volume, self._options, self._span, self._thing = volume, options, span, thing
        self._window = volume.prepared(options.window).window
        self._hash = volume.voxelsSha256()

    def save(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        model: Mapping[str, Any] | None,
        result: Propagated,
    ) -> None:
        """Store the run as the segment's record; `model` is what the worker said of the model it used."""
        saveRun(
            segmentationNode,
            segmentId,
            self._volume.node,
            self._settings(model or {}),
            self._thing.prompts,
            result,
            self._thing.segment.label,
            self._hash,
        )

    def _settings(self, model: Mapping[str, Any]) -> RunSettings:
        options = self._options
        own = str(model.get("field_of_view", "auto"))
        return RunSettings(
            model=str(model.get("name", options.model)),
            model_sha256=str(model.get("sha256", "")),
            image_size=int(model.get("image_size", 0)),
            axis=options.axis or 0,
            window=self._window,
            first=self._span[0],
            last=self._span[1],
            direction=options.direction,
            memory=options.memoryRule(),
            field_of_view=own if options.fieldOfView == "auto" else options.fieldOfView,
            stop=StopRules(**options.stopRules()),
            device=str(model.get("device", options.device)),
        )
