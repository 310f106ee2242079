"""A controller at work in the tests: a small volume, a worker that answers when the test says so, and what was said."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import numpy as np
import slicer
import vtk
from fakeclient import FakeClient

from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask

SIGNALS = (
    "segmentChanged", "promptsChanged", "previewed", "sliceDrawn", "progressed", "reviewed", "busyChanged", "finished",
    "failed", "noticed",
)  # fmt: skip


class ControllerBench:
    """A controller with a volume of 7 slices of 8 x 9, its fake worker, and all it said."""

    def __init__(self, nodes: Any) -> None:
        self.volume = nodes.volume(shape=(7, 8, 9))
        self.client = FakeClient((8, 9))
        self.controller = Controller(self.client)
        self.said: dict[str, list[Any]] = defaultdict(list)
        for name in SIGNALS:
            getattr(self.controller, name).connect(lambda *values, name=name: self.said[name].append(values))
        self.controller.setVolume(self.volume)

    def click(self, i: float, j: float, k: float, kind: str = "include") -> Any:
        node = self.controller.prompting.promptNode(kind)
        (world,) = ijkToWorld(self.volume, [[i, j, k]])
        node.AddControlPointWorld(vtk.vtkVector3d(*world))
        return node

    def preview(self, index: int = 3) -> None:
        self.controller.prompting.preview(index)
        self.client.answer(index)

    def propagate(self, steps: int = 7) -> Any:
        self.controller.propagate()
        call = self.client.calls[-1]
        for _ in range(steps):
            call.step()
        return call

    def paint(self, index: int, mask: Any = None) -> None:
        """What Slicer's own tools do: write into the segment, past the controller."""
        writer = SegmentWriter(self.controller.segmentationNode, self.controller.segmentId, self.volume)
        writer.begin()
        writer.writeSlices({index: np.ones((8, 9), dtype=bool) if mask is None else mask}, 0)
        writer.end()

    def states(self) -> dict[int, str]:
        return {index: one.state for index, one in self.controller.review.slices().items()}

    def record(self) -> Any:
        record = loadRun(self.controller.segmentationNode, self.controller.segmentId)
        return None if record is None else record.report

    def mask(self) -> Any:
        return segmentMask(self.controller.segmentationNode, self.controller.segmentId, self.volume)

    def drawn(self) -> list[int]:
        return np.flatnonzero(self.mask().any(axis=(1, 2))).tolist()


def segmentEditor(segmentationNode: Any) -> Any:
    """The node of the module Segment Editor, opened on a segmentation."""
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetSingletonTag("SegmentEditor")
    node = segmentationNode.GetScene().AddNode(node)
    node.SetAndObserveSegmentationNode(segmentationNode)
    return node


def notice(bench: ControllerBench) -> None:
    """Let the controller look for edits."""
    time.sleep(0.001)
    bench.controller.tick()


def finish(call: Any) -> None:
    """Let a propagation come to the end of one request."""
    while call.steps:
        call.step()
    call.finish()
