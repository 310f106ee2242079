"""A review of a cohort in the tests, with a controller and a real worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from patience import wait_until

from MedSAM2SlicerLib.cohort.casework import fingerprint
from MedSAM2SlicerLib.cohort.review import CohortReview
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask
from MedSAM2SlicerLib.worker.client import WorkerClient


class ReviewBench:
    """A review of a copy of the cohort, and all it said."""

    def __init__(self, folder: Path, client: WorkerClient) -> None:
        self.folder, self.client = folder / "out", client
        self.controller = Controller(client)
        self.said: list[str] = []
        self.failures: list[str] = []
        self.review = self._reviewing()
        self.controller.failed.connect(self.failures.append)
        self.review.open(self.folder)

    def again(self) -> None:
        """Another person comes, in another scene."""
        self.controller.setSegment(None)
        self.controller.setVolume(None)
        self.review.close()
        slicer.mrmlScene.Clear(0)
        self.review = self._reviewing()
        self.review.open(self.folder)

    def load(self, name: str) -> None:
        self.review.load(name)
        assert not self.failures, self.failures
        assert self.review.name == name

    @property
    def case(self) -> Any:
        assert self.review.case is not None
        return self.review.case

    @property
    def isChanged(self) -> bool:
        """Whether the case is another than its folder has it."""
        work = self.review._work
        assert work is not None
        return fingerprint(work.case.nodes) != work._mark

    def segment(self, name: str) -> str:
        found = self.case.nodes.segmentationNode.GetSegmentation()
        return next(one for one in found.GetSegmentIDs() if found.GetSegment(one).GetName() == name)

    def mask(self, name: str) -> np.ndarray:
        nodes = self.case.nodes
        return segmentMask(nodes.segmentationNode, self.segment(name), nodes.volumeNode)

    def paint(self, name: str, index: int, mask: Any) -> None:
        """What Slicer's own tools do."""
        writer = SegmentWriter(self.case.nodes.segmentationNode, self.segment(name), self.case.nodes.volumeNode)
        writer.begin()
        writer.writeSlices({index: mask}, 0)
        writer.end()

    def choose(self, name: str) -> None:
        self.controller.setSegment(self.case.nodes.segmentationNode, self.segment(name))

    def click(self, i: float, j: float, k: float, kind: str = "include") -> None:
        (world,) = ijkToWorld(self.case.nodes.volumeNode, [[i, j, k]])
        self.controller.prompting.promptNode(kind).AddControlPointWorld(vtk.vtkVector3d(*world))
        self.controller.prompting.preview(k)
        self.wait(lambda: not self.controller.waits)

    def propagate(self) -> None:
        self.controller.propagate()
        self.wait(lambda: not self.controller.busy)
        assert not self.failures, self.failures

    def wait(self, done: Any) -> None:
        wait_until(done, lambda: self.client.pump(0.05))

    def close(self) -> None:
        self.controller.close()
        self.review.close()

    def _reviewing(self) -> CohortReview:
        review = CohortReview(self.controller.review.whyBusy)
        review.noticed.connect(self.said.append)
        review.failed.connect(self.failures.append)
        review.loaded.connect(self._use)
        return review

    def _use(self, case: Any) -> None:
        """What the panel does with a case."""
        self.controller.setVolume(case.nodes.volumeNode)
        self.controller.setSegment(case.nodes.segmentationNode, case.segmentId)
        self.controller.setOptions(RunOptions())
