"""A part of the small abdomen CT with a controller and a real worker, and every way to make its segment again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import slicer.util
import vtk
from patience import wait_until

import open_data
from medsam2_core.cli.main import run as commandLine
from MedSAM2SlicerLib import console
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.runrecord import loadRun, writeRun
from MedSAM2SlicerLib.record.script import pythonScript
from MedSAM2SlicerLib.replay import replay
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask
from MedSAM2SlicerLib.worker.client import WorkerClient

SPLEEN = 1
PART = np.s_[:64, 10:80, :]
"""What is taken of the CT along i, j, k: the spleen and what is around it, two thirds of the slices of three axes."""


class Patient:
    """A part of the small abdomen CT, a controller at work on its spleen, and ways to make its segment again."""

    def __init__(self, nodes: Any, client: WorkerClient, folder: Path, parent: Any = None) -> None:
        data = open_data.totalsegmentator_small()
        image, labels = (sitk.ReadImage(str(path))[PART] for path in (data.image, data.labels))
        self.path, self.folder, self.client = folder / "ct.nii.gz", folder, client
        sitk.WriteImage(image, str(self.path))
        self.truth = sitk.GetArrayFromImage(labels) == SPLEEN
        spacing, flip = np.array(image.GetSpacing()), np.array([-1.0, -1.0, 1.0])
        matrix = np.eye(4)
        matrix[:3, :3] = flip[:, None] * np.array(image.GetDirection()).reshape(3, 3) * spacing
        matrix[:3, 3] = flip * image.GetOrigin()
        self.node = nodes.volume(sitk.GetArrayFromImage(image), matrix=matrix, parent=parent, name="C'T\n[1]")
        self.failures: list[str] = []
        self.controller = Controller(client)

    def start(self, **options: Any) -> None:
        """Have the controller work on it."""
        self.controller.failed.connect(self.failures.append)
        self.controller.setVolume(self.node)
        self.controller.setOptions(RunOptions(**options))

    def comeBack(self) -> None:
        """Have another controller go on, as when the effect is left and chosen again."""
        self.controller.close(isForGood=False)
        self.controller = Controller(self.client, workplace=self.controller.workplace)
        self.controller.failed.connect(self.failures.append)

    def encoderRuns(self) -> int:
        """Views that the worker's open sessions have encoded."""
        return int(self.client.status().wait()["encoder_runs"])

    def slice(self, share: float) -> int:
        """The slice at a share of the spleen's height."""
        filled = np.flatnonzero(self.truth.any(axis=(1, 2)))
        return int(filled[round(share * (len(filled) - 1))])

    def place(self, kind: str, index: int, *places: int) -> None:
        """Put control points on places of the spleen's outline, counted by rows on a slice along k."""
        node = self.controller.prompting.promptNode(kind)
        rows, columns = np.nonzero(self.truth[index])
        for world in ijkToWorld(self.node, [[columns[place], rows[place], index] for place in places]):
            node.AddControlPointWorld(vtk.vtkVector3d(*world))

    def line(self) -> None:
        """Measure the spleen in its middle."""
        self.place("line", self.slice(0.5), 0, -1)

    def preview(self, index: int) -> None:
        self.controller.prompting.preview(index)
        self.wait(lambda: not self.controller.waits)

    def draw(self, index: int, mask: Any) -> None:
        """What Slicer's own tools do."""
        writer = SegmentWriter(self.controller.segmentationNode, self.controller.segmentId, self.node)
        writer.begin()
        writer.writeSlices({index: mask}, 0)
        writer.end()
        self.controller.tick()

    def correct(self) -> None:
        """Paint a slice below the middle as it truly is."""
        self.draw(self.slice(0.3), self.truth[self.slice(0.3)])

    def propagate(self) -> None:
        self.controller.propagate()
        self.wait(lambda: not self.controller.busy)
        assert self.failures == []

    def redraw(self, threshold: float) -> None:
        self.controller.redraw(threshold)
        self.wait(lambda: not self.controller.busy)
        assert self.failures == []

    def propagateAndStop(self) -> None:
        """Stop at the first slice behind the prompted one; there are enough slices along i that it is in time."""
        drawn: list[int] = []

        def stop(index: int) -> None:
            drawn.append(index)
            if len(drawn) == 2:
                self.controller.stop()

        self.controller.sliceDrawn.connect(stop)
        self.propagate()
        self.controller.sliceDrawn.disconnect(stop)

    def wait(self, done: Any) -> None:
        wait_until(done, lambda: self.client.pump(0.1))

    def name(self, name: str) -> None:
        segmentation = self.controller.segmentationNode.GetSegmentation()
        segmentation.GetSegment(self.controller.segmentId).SetName(name)

    @property
    def record(self) -> Any:
        return loadRun(self.controller.segmentationNode, self.controller.segmentId)

    @property
    def mask(self) -> Any:
        return segmentMask(self.controller.segmentationNode, self.controller.segmentId, self.node)

    def byCommandLine(self) -> Any:
        saved, output = self.folder / "run.json", self.folder / "again.nii.gz"
        writeRun(self.record, saved)
        assert commandLine(["propagate", str(self.path), "--prompts", str(saved), "--output", str(output)]) == 0
        return sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0

    def byReplay(self, run: Any = None) -> Any:
        return self.maskOf(replay(self.client, self.node, self.record.report if run is None else run))

    def byScript(self, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
        text = pythonScript(self.record, self.node)
        logic = SimpleNamespace(process=partial(console.process, self.client), replay=partial(replay, self.client))
        monkeypatch.setattr(slicer.util, "getModuleLogic", lambda name: logic, raising=False)
        scope: dict[str, Any] = {}
        exec(text, scope)  # noqa: S102 (the user pastes it into a console)
        return text, self.maskOf(scope["segmentation"])

    def maskOf(self, segmentation: Any) -> Any:
        return segmentMask(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0), self.node)


def assertAllEqual(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every way to make the segment again gives the very same one; returns the script."""
    wanted = patient.mask
    assert wanted.sum() > 300
    np.testing.assert_array_equal(patient.byCommandLine(), wanted)
    np.testing.assert_array_equal(patient.byReplay(), wanted)
    text, again = patient.byScript(monkeypatch)
    np.testing.assert_array_equal(again, wanted)
    return text
