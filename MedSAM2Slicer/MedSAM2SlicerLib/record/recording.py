"""What is needed to repeat a finished run, put on the segmentation node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer

from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import Propagated
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.runrecord import saveRun
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse


class Recording:
    """Notes at the start of a run what it is made with, and saves it with the result.

    The volume is hashed from the start on, so that it is known at the end.
    """

    def __init__(self, volume: VolumeInUse, options: RunOptions, stop: StopRules) -> None:
        self._volume, self._options, self._stop = volume, options, stop
        self.window = volume.window(options.window)
        self._hash = volume.voxelsSha256()

    def save(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        model: Mapping[str, Any] | None,
        result: Propagated,
        thing: RunObject,
        span: tuple[int, int],
        keepsOthers: bool,
        continues: bool,
    ) -> bool:
        """Store the run as the record of a segment, which was `thing` in it; `model` are the worker's facts of it.

        It went through slices span[0] <= index < span[1].
        A run that `keepsOthers`, slices of earlier runs that it did not go through, is added to their record; where
        that is lost, or of runs made otherwise, no record could tell how the segment came about, and none is stored.
        Returns whether one is. A run that `continues` in their session, where prompts correct what they drew, is added
        too.
        """
        return saveRun(
            segmentationNode,
            segmentId,
            self._volume.usable,
            self._options.settings(self.window, span, self._stop).of_model(model or {}),
            thing.prompts,
            result,
            thing.segment.label,
            self._hash.result(),
            continues=keepsOthers or continues,
            needsEarlier=keepsOthers,
        )
