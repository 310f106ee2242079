"""What the self tests of the Segment Editor effect share."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import slicer
from medsam2selftest import MIDDLE, FakeServices, InstantClient, PanelTestCase, process

from MedSAM2SlicerLib.scene.segments import segmentMask

NAME = "MedSAM-2"


class EffectTestCase(PanelTestCase):
    """A Segment Editor with the effect active on an empty segment, and one more segment."""

    def setUp(self) -> None:
        super().setUp()
        self.widget.exit()
        self.client = InstantClient()
        self.services = FakeServices(Path(self.folder.name), self.client)
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.segmentId = self.segmentation.GetSegmentation().AddEmptySegment("liver", "liver")
        self.otherId = self.segmentation.GetSegmentation().AddEmptySegment("spleen", "spleen")
        self.node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMRMLSegmentEditorNode(self.node)
        self.editor.setMRMLScene(slicer.mrmlScene)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        self.editor.setCurrentSegmentID(self.segmentId)
        self.editor.show()
        self.effect = self.editor.effectByName(NAME)
        patch = mock.patch.object(self.effect.self(), "makeServices", return_value=self.services)
        patch.start()
        self.addCleanup(patch.stop)
        self.activate()

    def tearDown(self) -> None:
        self.effect.self().cleanup()
        self.editor.removeViewObservations()  # or Slicer ends when the scene of an editor without a node is closed
        self.editor.setMRMLSegmentEditorNode(None)
        self.editor.deleteLater()
        super().tearDown()

    def activate(self) -> None:
        self.editor.setActiveEffectByName(NAME)
        process()

    def leave(self) -> None:
        self.editor.setActiveEffectByName("")
        process()

    @property
    def face(self) -> Any:
        return self.effect.self().face

    @property
    def ui(self) -> Any:
        return self.face.ui if self.effectIsActive() else self.tab.ui

    @property
    def panel(self) -> Any:
        return self.face.panel if self.effectIsActive() else self.tab.panel

    @property
    def controller(self) -> Any:
        return self.panel.controller

    def effectIsActive(self) -> bool:
        return hasattr(self, "effect") and self.face is not None

    def mask(self, segmentId: str = "") -> Any:
        return segmentMask(self.segmentation, segmentId or self.segmentId, self.volume) > 0

    def drawn(self) -> list[int]:
        return np.flatnonzero(self.mask().any(axis=(1, 2))).tolist()

    def kinds(self) -> list[tuple[str, int]]:
        return [(item.kind, item.sliceIndex) for item in self.controller.review.prompts()]

    def point(self, k: int = MIDDLE) -> None:
        """Click on a slice and wait for its mask."""
        self.click(20, 20, k)
        self.wait(lambda: k in self.drawn())

    def run_(self) -> None:
        """Propagate from a click."""
        self.point()
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)

    def start(self, steps: int) -> None:
        """Begin to propagate from a click and hold after some slices."""
        self.point()
        self.client.paused = True
        self.panel.actions()["p"]()
        for _ in range(steps):
            self.client.calls[-1].step()
