"""Segments in three directions with the real worker: together as alone, and repeated voxel for voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from patientbench import Patient

from medsam2_core.image.slicing import SliceStack
from medsam2_core.training.metrics import dice
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.geometry import volumeGeometry
from MedSAM2SlicerLib.scene.segments import ensureSegmentation, segmentMask
from MedSAM2SlicerLib.worker.client import WorkerClient


class Spleens:
    """The spleen drawn along several stacks, a segment for each; they may overlap."""

    def __init__(self, nodes: Any, client: WorkerClient, folder: Path) -> None:
        self.patient = Patient(nodes, client, folder)
        self.patient.start()
        (self.middle,) = volumeGeometry(self.patient.node).ijk_to_ras([np.argwhere(self.patient.truth).mean(0)[::-1]])
        self.ids: dict[SliceStack, str] = {}

    def tilted(self) -> SliceStack:
        """Slices through the spleen's middle, turned by 25 degrees about R."""
        angle, plane = np.deg2rad(25), np.diag([-1.0, 1.0, 1.0, 1.0])
        plane[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        plane[:3, 3] = self.middle
        return SliceStack(0, tuple(map(tuple, plane.tolist())))

    def click(self, stack: SliceStack) -> None:
        """Add a segment, and click on the spleen's middle in a view along the stack."""
        patient, controller = self.patient, self.patient.controller
        segmentation, self.ids[stack] = ensureSegmentation(patient.node, controller.segmentationNode)
        controller.setSegment(segmentation, self.ids[stack])
        controller.setOptions(RunOptions(stack=stack))
        controller.prompting.addPoint(self.middle.tolist())
        patient.wait(lambda: not controller.waits)

    def propagateAll(self) -> None:
        self.patient.controller.propagateAll()
        self.patient.wait(lambda: not self.patient.controller.busy)
        assert self.patient.failures == []

    def correct(self, stack: SliceStack) -> None:
        """Click once more, three slices on, and propagate."""
        patient, controller = self.patient, self.patient.controller
        controller.setSegment(controller.segmentationNode, self.ids[stack])
        (item,) = controller.review.prompts()
        controller.prompting.addPoint(controller.review.sliceCenterRas(item.sliceIndex + 3), include=False)
        patient.wait(lambda: not controller.waits)
        patient.propagate()

    def mask(self, stack: SliceStack) -> np.ndarray:
        return segmentMask(self.patient.controller.segmentationNode, self.ids[stack], self.patient.node)


def test_three_directions_together_are_as_each_alone(nodes: Any, quickClient: WorkerClient, tmp_path: Path) -> None:
    together = Spleens(nodes, quickClient, tmp_path)
    stacks = (SliceStack(1), together.tilted(), SliceStack(0))
    for stack in stacks:
        together.click(stack)
    together.propagateAll()
    together.correct(stacks[0])
    for stack in stacks:
        alone = Spleens(nodes, quickClient, tmp_path)
        alone.click(stack)
        alone.propagateAll()
        if stack is stacks[0]:
            alone.correct(stack)
        assert together.mask(stack).sum() > 100
        assert dice(together.mask(stack), alone.mask(stack)) >= 0.99
        alone.patient.controller.close()
        record = loadRun(together.patient.controller.segmentationNode, together.ids[stack])
        assert record is not None
        assert dice(together.patient.byReplay(record.report), together.mask(stack)) >= 0.99
    together.patient.controller.close()
