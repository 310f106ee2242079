"""Carrying a segment from a sequence's current frame through all others: what is asked, and what is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error, PromptError, VolumeError
from medsam2_core.image.measure import volume_ml
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.run.prompts import RunObject, place_mask
from medsam2_core.worker.time_steps import TimeStep
from MedSAM2SlicerLib.moments.curve import FrameVolume, showCurve
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.frames import SegmentationFrames, browserOf
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.scene.volumes import PreparedVolume, prepareVolume, usableVolume, windowOf
from MedSAM2SlicerLib.segmentnames import segmentsCalled
from MedSAM2SlicerLib.worker.requests import TimeWish
from MedSAM2SlicerLib.worker.transports import nothing

if TYPE_CHECKING:
    from MedSAM2SlicerLib.worker.calls import Call
    from MedSAM2SlicerLib.worker.client import WorkerClient

_OBJECT_ID = 1
_numbers = itertools.count()  # of the runs


class ThroughTime:
    """One run of a segment through the frames of the sequence that a volume shows the current frame of.

    It goes along the segment's slices, or for oblique ones along the volume's own (k); no region to stay in counts.
    Raises VolumeError for a volume that shows no sequence; PromptError where the segment is empty in the current frame,
    or another one of the segmentation has its name.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        options: RunOptions,
    ) -> None:
        self._number = next(_numbers)
        self._options = options
        self._masks, self._start = _framesOf(usableVolume(volumeNode), segmentationNode)
        self._axis = SliceStack().axis if options.stack.plane is not None else options.stack.axis
        self._mask = segmentMask(segmentationNode, segmentId, volumeNode)
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        if len(segmentsCalled(segmentationNode, segment.GetName())) > 1:
            text = _("Several segments are called {name}, and a result is found by its name: rename one of them first.")
            raise PromptError(text.format(name=repr(segment.GetName())))
        if not self._mask.any():
            raise PromptError(_("Segment the object in this frame first; it is carried from there through time."))
        self._segment = Segment(segment.GetName(), _OBJECT_ID, segment.GetColor())
        self._window = windowOf(volumeNode, options.window)
        self._volumes = [self._prepared(frame) for frame in range(len(self._masks.frames.values))]
        self._values: dict[int, FrameVolume] = {}
        self.node = self._write(self._start, self._mask, 1.0)

    @property
    def table(self) -> slicer.vtkMRMLTableNode:
        """The segment's volumes, as far as they are known."""
        return showCurve(self.node, self._segment.name, self._values)

    def ask(
        self,
        client: WorkerClient,
        onStep: Callable[[TimeStep], None],
        onDone: Callable[[bool], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Have the client know model and volumes, and ask for the other frames; `write` each step."""
        options, axis = self._options, self._axis
        client.setModel(options.model, options.device, precision=options.precision)
        for volume in self._volumes:
            client.setVolume(volume.key, volume)
        settings = {**options.of("session"), **options.of("run"), **options.of("drawing")}
        wish = TimeWish([one.key for one in self._volumes], self._start, axis, options.stopRules(), settings)
        prompts = place_mask(self._mask, Slicing(self._volumes[self._start].geometry, axis))
        return client.throughTime(wish, [RunObject(self._segment, tuple(prompts))], onStep, onDone, onError)

    def write(self, step: TimeStep) -> None:
        """Write what was found in a frame."""
        (answer,) = step.answers
        mask = np.zeros(self._volumes[step.moment].geometry.shape_kji, np.bool_)
        slices = np.moveaxis(mask, self._axis, 0)
        for index, packed in answer.masks.items():
            slices[index] = packed.full(slices.shape[1:])
        self.node = self._write(step.moment, mask, answer.confidence)

    def close(self, client: WorkerClient) -> None:
        """Have the client forget the volumes."""
        for volume in self._volumes:
            client.closeVolume(volume.key, ())

    def _write(self, frame: int, mask: Bools, confidence: float) -> slicer.vtkMRMLSegmentationNode:
        node = self._masks.write(frame, {self._segment: mask})
        spacing = self._volumes[frame].geometry.spacing_ijk
        self._values[frame] = FrameVolume(volume_ml(mask, spacing), confidence)
        return node

    def _prepared(self, frame: int) -> PreparedVolume:
        """A frame in the window of the current one, by a key that no other run has: each closes its own."""
        prepared = prepareVolume(self._masks.frames.node(frame), self._window)
        return replace(prepared, key=f"time/{self._number}/{frame}/{prepared.key}")


def _framesOf(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> tuple[SegmentationFrames, int]:
    """The frames of the sequence that a volume shows, for what is carried from a segmentation, and which is shown."""
    browserNode = browserOf(volumeNode)
    if browserNode is not None:
        masks = SegmentationFrames(browserNode, browserNode.GetSequenceNode(volumeNode), segmentationNode)
        if masks.frames.shown is not None:
            return masks, masks.frames.shown
    text = _("{name} shows no frame of a sequence: choose a volume that a sequence browser shows.")
    raise VolumeError(text.format(name=repr(volumeNode.GetName())))
