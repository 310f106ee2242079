"""Through time: the button of the panel where the volume shows a frame of a sequence."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import slicer
from medsam2selftest import SHAPE, InstantClient, PanelTestCase, paintSlice, process, tip

from medsam2_core.errors import Cancelled
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.time_steps import MomentAnswer, TimeStep
from MedSAM2SlicerLib.scene.segments import segmentMask

FRAMES = 3


class TimeCall:
    """Finds in each frame a slice of as many pixels as the frame's number; `waits` for the worker while it is told."""

    waits = False

    def __init__(self, start: int, slots: Any) -> None:
        self.left = [frame for frame in range(FRAMES) if frame != start]
        self.onStep, self.onDone, self.onError = slots

    def cancel(self, keep: bool = False) -> None:
        self.left.clear()
        if self.waits:
            self.onError(Cancelled("Canceled."))
        else:
            self.onDone(True)

    def tick(self) -> None:
        if not self.left:
            return
        frame = self.left.pop(0)
        mask = np.zeros(SHAPE[1:], bool)
        mask[5, : frame + 1] = True
        answer = MomentAnswer(1, {4: PackedMask.of(mask)}, 0.8)
        self.onStep(TimeStep(frame, FRAMES - len(self.left), FRAMES, (answer,)))
        if not self.left:
            self.onDone(False)


class TimeClient(InstantClient):
    """The client, with what is asked of it through time."""

    def __init__(self) -> None:
        super().__init__()
        self.time: TimeCall | None = None

    def throughTime(self, wish: Any, _objects: Any, *slots: Any) -> TimeCall:
        self.time = TimeCall(wish.start, slots)
        return self.time

    def tick(self) -> None:
        super().tick()
        if self.time is not None and not self.paused:
            self.time.tick()


class TimeTest(PanelTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = TimeClient()
        self.services.worker = self.client
        self.use(self.services)
        self.sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "heart")
        for frame in range(FRAMES):
            self.sequence.SetDataNodeAtValue(self.volume, str(frame))
        self.browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
        self.browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)
        self.proxy = self.browser.GetProxyNode(self.sequence)

    def choose(self) -> None:
        """Work on the current frame, with a segment of one slice."""
        self.ui.volumeSelector.setCurrentNode(self.proxy)
        self.ui.addSegmentButton.click()
        self.wait(lambda: self.ui.throughTimeButton.enabled)

    def paint(self) -> None:
        paintSlice(self.controller.segmentationNode, self.controller.segmentId, self.proxy, 3)
        self.wait(lambda: self.controller.review.slices())  # or what is noticed later takes a message away

    def test_the_button_is_seen_where_there_are_frames(self) -> None:
        self.assertFalse(self.ui.throughTimeButton.visible)
        self.ui.volumeSelector.setCurrentNode(self.proxy)
        process()
        self.assertTrue(self.ui.throughTimeButton.visible)
        self.assertEqual(tip(self.ui.throughTimeButton), "Segment the object in this frame first.")

    def test_what_the_worker_says_of_another_frame_is_not_drawn_into_this_one(self) -> None:
        self.choose()
        self.volume = self.proxy
        self.client.mask = lambda _index: np.ones(self.client.shape, bool)
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.client.calls[-1].step()
        segmentation, segmentId = self.controller.segmentationNode, self.controller.segmentId
        drawn = segmentMask(segmentation, segmentId, self.proxy)
        self.browser.SetSelectedItemNumber(1)
        self.client.paused = False
        self.wait(lambda: not self.controller.busy)
        np.testing.assert_array_equal(segmentMask(segmentation, segmentId, self.proxy), drawn)

    def test_an_empty_segment_is_told(self) -> None:
        self.choose()
        self.ui.throughTimeButton.click()
        self.assertIn("Segment the object in this frame first; it is carried from there", self.said())

    def test_all_frames(self) -> None:
        self.choose()
        self.paint()
        self.ui.throughTimeButton.click()
        self.wait(lambda: "All frames are in" in self.said())
        node = next(
            one
            for one in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            if self.browser.IsProxyNodeID(one.GetID())
        )
        for frame, voxels in ((2, 3), (0, SHAPE[1] * SHAPE[2]), (1, 2)):
            self.browser.SetSelectedItemNumber(frame)
            self.assertEqual(segmentMask(node, node.GetSegmentation().GetNthSegmentID(0), self.proxy).sum(), voxels)
        (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
        self.assertEqual(table.GetNumberOfRows(), FRAMES)
        display = self.controller.segmentationNode.GetDisplayNode()
        self.assertFalse(display.GetSegmentVisibility(self.controller.segmentId), "It is right in one frame only.")

    def test_pressed_again_it_stops(self) -> None:
        self.choose()
        self.paint()
        self.client.paused = True
        self.ui.throughTimeButton.click()
        self.assertEqual(self.ui.throughTimeButton.text, "Stop (time)")
        self.client.time.tick()
        self.assertIn("2 of 3 frames", self.said())
        self.ui.throughTimeButton.click()
        self.assertIn("Stopped: the frames that are done are in", self.said())
        self.assertEqual(self.ui.throughTimeButton.text, "Through time")

    def test_it_can_be_stopped_before_the_worker_has_begun(self) -> None:
        self.choose()
        self.paint()
        self.client.paused = True
        self.ui.throughTimeButton.click()
        self.client.time.waits = True
        self.ui.throughTimeButton.click()
        self.assertIn("Stopped: the frames that are done are in", self.said())
        self.assertNotIn("⚠", self.said())

    def test_it_goes_on_when_the_module_is_left(self) -> None:
        self.choose()
        self.paint()
        self.client.paused = True
        self.ui.throughTimeButton.click()
        self.widget.exit()
        self.client.paused = False
        self.wait(lambda: not self.panel.ticking)
        self.assertIn("All frames are in", self.said())

    def test_closing_the_scene_while_running(self) -> None:
        self.choose()
        self.paint()
        self.client.paused = True
        self.ui.throughTimeButton.click()
        time = self.client.time
        slicer.mrmlScene.Clear()
        process()
        time.tick()
        self.assertIn("'heart' was removed from the scene", self.said())
        self.assertFalse(self.ui.throughTimeButton.visible)


if __name__ == "__main__":
    unittest.main()
