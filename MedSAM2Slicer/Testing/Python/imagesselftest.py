"""What the self tests of the tab Images share: a worker that finds what is bright, and a person who prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from medsam2selftest import InstantClient, PanelTestCase, process

from medsam2_core.worker.image_sets import SetAnswered, SetStep
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer
from MedSAM2SlicerLib.scene.segments import segmentMask

SIDE = 40


class SetCall:
    """Gives the answer to an image at each tick; a cancel ends it with what there is."""

    def __init__(self, images: list[Any], objects: Any, slots: Any) -> None:
        self.left, self.count = list(enumerate(images)), len(images)
        self.objects, (self.onStep, self.onDone, self.onError) = objects, slots

    def cancel(self, keep: bool = False) -> None:
        self.left.clear()
        self.onDone(SetAnswered(True, 1.0))

    def tick(self) -> None:
        if not self.left:
            return
        index, image = self.left.pop(0)
        self.onStep(SetStep(None, index + 1, self.count))
        mask = PackedMask.of(image.pixels > 100)
        answers = tuple(ObjectAnswer(one.segment.label, mask, 0.9 - 0.1 * index, 3.0) for one in self.objects)
        self.onStep(SetStep(index, index + 1, self.count, answers))
        if not self.left:
            self.onDone(SetAnswered(False, 1.0))


class SetClient(InstantClient):
    """The client as far as the tab Images asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[Any] = []
        self.settings: tuple[Any, ...] = ()
        self.call: SetCall | None = None

    def setVolume(self, key: str, volume: Any) -> None:
        super().setVolume(key, volume)
        self.alone = volume.gray[0]

    def mask(self, _index: int) -> Any:
        """Of a preview: what is bright in the image, without its first column for each exclude point."""
        (item,) = self.objects[-1]
        mask = self.alone > 100
        excluded = sum(not one for prompt in item.prompts for one in getattr(prompt, "include", ()))
        mask[:, : 12 + excluded] = False
        return mask

    def setImages(self, _key: str, images: list[Any], *settings: Any) -> None:
        self.images, self.settings = list(images), settings

    def closeImages(self, _key: str) -> None:
        self.images = []

    def segmentImages(self, _key: str, objects: Any, *slots: Any) -> SetCall:
        self.call = SetCall(self.images, objects, slots)
        return self.call

    def tick(self) -> None:
        super().tick()
        if self.call is not None and not self.paused:
            self.call.tick()


class ImagesTestCase(PanelTestCase):
    """The tab Images on three images with a square each, and a worker that finds what is bright."""

    def setUp(self) -> None:
        super().setUp()
        self.client = SetClient()
        self.services.worker = self.client
        self.use(self.services)
        self.volume3D = self.volume
        self.images = [self.addImage(f"image {place}", place) for place in range(3)]
        self.widget.tabs.widget.currentIndex = 1
        process()

    def addImage(self, name: str, place: int) -> Any:
        pixels = np.full((1, SIDE, SIDE), 50, np.uint8)
        pixels[0, 10 : 20 + place, 12:22] = 220
        node = slicer.util.addVolumeFromArray(pixels, name=name)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(255, 127.5)
        return node

    def addFrames(self) -> tuple[Any, Any]:
        """A sequence with the images as frames: its browser, and the volume that shows the current one."""
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "cine")
        for frame, node in enumerate(self.images):
            sequence.SetDataNodeAtValue(node, str(frame))
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        return browser, browser.GetProxyNode(sequence)

    def rows(self) -> list[str]:
        table = self.ui.imageTable
        return [table.item(row, 1).text() for row in range(table.rowCount)]

    def told(self, row: int) -> list[str]:
        """Confidence and area in a row."""
        return [self.ui.imageTable.item(row, column).text() for column in (2, 3)]

    def clickOn(self, x: int, y: int) -> None:
        """Click on a pixel of the image in view."""
        self.volume = self.images[self.tab.controller.images.shown]
        self.click(x, y, 0)

    def segment(self) -> None:
        self.ui.boxButton.click()
        self.clickOn(11, 9)
        self.clickOn(23, 22)
        self.wait(lambda: self.ui.runButton.enabled)
        self.ui.runButton.click()
        self.wait(lambda: not self.tab.controller.busy)

    def masks(self) -> list[int]:
        found = []
        for volume in self.images:
            for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
                if node.GetNodeReferenceID("MedSAM2.Image") == volume.GetID():
                    segmentId = node.GetSegmentation().GetNthSegmentID(0)
                    found.append(int(segmentMask(node, segmentId, volume).sum()))
        return found
