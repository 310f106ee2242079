"""The whole way: panel, bridge, worker process and starter model, on a bright ball. Needs PyTorch in this Python."""

from __future__ import annotations

import importlib.util
import unittest
from typing import Any

import numpy as np
import slicer
from medsam2selftest import MIDDLE, MODULE_FOLDER, SHAPE, TURNS, PanelTestCase

from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.ui.services import Services

CENTER = (MIDDLE, 20, 22)
WORKER_TURNS = 30 * TURNS  # another process has to do its work meanwhile


def ball() -> np.ndarray:
    k, j, i = np.indices(SHAPE)
    return np.sqrt((k - CENTER[0]) ** 2 + (j - CENTER[1]) ** 2 + (i - CENTER[2]) ** 2) < 8


@unittest.skipIf(importlib.util.find_spec("torch") is None, "PyTorch is not installed in this Python.")
class StarterTest(PanelTestCase):
    def addVolume(self, name: str = "CT") -> object:
        noise = np.random.default_rng(0).normal(0, 10, SHAPE)
        return slicer.util.addVolumeFromArray((noise + 200 * ball() - 100).astype(np.int16), name=name)

    def dice(self) -> float:
        controller = self.controller
        mask = segmentMask(controller.segmentationNode, controller.segmentId, self.volume) > 0
        return float(2 * (mask & ball()).sum() / (mask.sum() + ball().sum()))

    def test_from_click_to_volume(self) -> None:
        self.use(Services(MODULE_FOLDER))
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.ui.boxButton.click()
        self.click(13, 11, MIDDLE)
        self.click(31, 29, MIDDLE)
        self.wait(lambda: self.controller.review.slices() or "⚠" in self.said(), WORKER_TURNS)
        self.assertNotIn("⚠", self.said())
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy, WORKER_TURNS)
        self.assertGreater(self.dice(), 0.7, self.said())

    def test_from_the_console(self) -> None:
        logic = self.widget.logic
        corners = [self.world(13, 11, MIDDLE), self.world(31, 29, MIDDLE)]
        seen: list[tuple[int, int]] = []
        segmentation = logic.process(
            self.volume, segmentName="ball", box=corners, progress=lambda done, planned: seen.append((done, planned))
        )
        segments = segmentation.GetSegmentation()
        mask = segmentMask(segmentation, segments.GetSegmentIdBySegmentName("ball"), self.volume) > 0
        self.assertGreater(2 * (mask & ball()).sum() / (mask.sum() + ball().sum()), 0.7)
        self.assertTrue(seen)

    def addImages(self) -> list[Any]:
        noise = np.random.default_rng(0).normal(0, 10, (3, 1, *SHAPE[1:]))
        return [
            slicer.util.addVolumeFromArray((one + 200 * ball()[MIDDLE + place] - 100).astype(np.int16), name=f"{place}")
            for place, one in enumerate(noise)
        ]

    def test_a_box_on_an_image_is_answered_at_once(self) -> None:
        self.volume, *_ = self.addImages()
        self.use(Services(MODULE_FOLDER))
        self.widget.tabs.widget.currentIndex = 1
        self.wait(lambda: self.tab.controller.rows())
        self.ui.boxButton.click()
        self.click(13, 11, 0)
        self.click(31, 29, 0)
        self.wait(lambda: slicer.util.getNodesByClass("vtkMRMLSegmentationNode") or "⚠" in self.said(), WORKER_TURNS)
        self.assertNotIn("⚠", self.said())
        (segmentation,), truth = slicer.util.getNodesByClass("vtkMRMLSegmentationNode"), ball()[MIDDLE]
        mask = segmentMask(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0), self.volume)[0]
        self.assertGreater(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), 0.7)

    def test_a_set_of_images_from_the_console(self) -> None:
        images = self.addImages()
        box = [self.world(13, 11, 0), self.world(31, 29, 0)]
        found = self.widget.logic.processImages(images, [{"image": 0, "object": "ball", "box": box}])
        self.assertEqual(len(found), 3)
        for place, (image, segmentation) in enumerate(zip(images, found, strict=True)):
            segments, truth = segmentation.GetSegmentation(), ball()[MIDDLE + place]
            mask = segmentMask(segmentation, segments.GetSegmentIdBySegmentName("ball"), image)[0]
            self.assertGreater(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), 0.7, place)


if __name__ == "__main__":
    unittest.main()
