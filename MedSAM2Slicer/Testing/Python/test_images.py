"""The tab Images, with a worker that finds what is bright."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import slicer
from imagesselftest import SIDE, ImagesTestCase
from medsam2selftest import controls, process, tip

from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.shortcuts import Shortcuts


class ImagesTest(ImagesTestCase):
    def test_controls_explain_themselves(self) -> None:
        for name in controls("Images.ui"):
            self.assertTrue(getattr(self.ui, name).toolTip, name)
            self.assertTrue(getattr(self.ui, name).accessibleName, name)

    def test_volumes_of_one_slice_are_listed_and_can_be_left_out(self) -> None:
        self.assertEqual(self.rows(), ["image 0", "image 1", "image 2"])
        self.ui.imageTable.cellWidget(1, 0).click()
        self.wait(lambda: self.rows() == ["image 0", "image 2", "image 1"])
        self.assertEqual(list(self.tab.controller.images.names), ["image 0", "image 2"])
        self.images.append(self.addImage("image 3", 0))
        self.wait(lambda: "image 3" in self.rows())
        slicer.mrmlScene.RemoveNode(self.images.pop())
        self.wait(lambda: "image 3" not in self.rows())

    def test_the_next_scene_has_images_of_its_own(self) -> None:
        self.segment()
        self.ui.imageTable.cellWidget(1, 0).click()
        slicer.mrmlScene.Clear()
        self.images = [self.addImage(f"other {place}", place) for place in range(3)]  # whose IDs are those of before
        self.wait(lambda: self.rows() == ["other 0", "other 1", "other 2"])
        self.assertEqual(self.tab.controller.images.names, ["other 0", "other 1", "other 2"])
        self.segment()
        self.assertEqual(self.said(), "Images segmented: 3.")

    def test_a_box_on_one_image_and_the_others_by_doubt(self) -> None:
        self.assertEqual(tip(self.ui.runButton), "Add a point or a box to one of the images first.")
        self.segment()
        self.assertEqual(self.said(), "Images segmented: 3.")
        self.assertEqual(self.rows(), ["image 2", "image 1", "● image 0"])
        self.assertEqual(self.told(0), ["0.70", "120 pixels"])
        self.assertEqual(self.masks(), [100, 110, 120])
        self.ui.nextButton.click()
        self.assertEqual(self.tab.controller.images.shown, 2)
        self.tab.list.chosen.emit(1)
        self.assertEqual(self.tab.controller.images.shown, 1)

    def test_what_to_do_with_the_mouse_is_said_of_the_first_prompt(self) -> None:
        self.assertEqual(self.said(), "Add a point or a box to one of the images first.")
        self.ui.boxButton.click()
        self.assertEqual(self.said(), "Click two opposite corners of a box around the object.")
        self.ui.boxButton.click()
        self.assertEqual(self.said(), "Add a point or a box to one of the images first.")

    def test_an_area_is_in_mm2_where_pixels_have_a_size(self) -> None:
        self.images[0].SetSpacing(0.5, 0.5, 1.0)
        slicer.util.updateVolumeFromArray(self.images[1], np.full((1, SIDE, SIDE), 50, np.uint8))
        self.segment()
        self.assertEqual(self.told(self.rows().index("● image 0"))[1], "25 mm²")
        self.assertEqual(self.told(self.rows().index("image 1"))[1], "not found")
        self.assertEqual(self.told(self.rows().index("image 2"))[1], "120 pixels")

    def test_a_prompt_writes_the_row_of_its_image_only(self) -> None:
        table = self.ui.imageTable
        for row in range(3):
            table.item(row, 1).setStatusTip("as it was")
        self.tab.show(1)
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.wait(lambda: self.rows() == ["image 0", "● image 1", "image 2"])
        self.assertEqual([table.item(row, 1).statusTip() for row in range(3)], ["as it was", "", "as it was"])

    def test_what_a_person_drew_is_marked(self) -> None:
        self.segment()
        (node,) = (one for one in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "image 1" in one.GetName())
        writer = SegmentWriter(node, node.GetSegmentation().GetNthSegmentID(0), self.images[1])
        writer.begin()
        writer.writeSlices({0: np.eye(SIDE, dtype=bool)}, 0)
        writer.end()
        self.tab.exit()
        self.tab.enter()  # after that in Segment Editor
        self.assertEqual(sorted(self.rows()), ["image 2", "● image 0", "✎ image 1"])
        names = {self.ui.imageTable.item(row, 1).text(): row for row in range(3)}
        tips = [self.ui.imageTable.item(names[name], 1).toolTip() for name in ("✎ image 1", "● image 0", "image 2")]
        self.assertEqual(tips, ["Drawn by hand: a run keeps it.", "With prompts.", ""])
        self.tab.show(1)
        self.ui.clearButton.click()
        self.assertIn("image 1", self.rows())

    def test_a_second_prompt_and_not_here(self) -> None:
        self.segment()
        self.tab.show(2)
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.tab.placer.stop()
        self.wait(lambda: self.tab.controller.prompts.prompted() == {0, 2})
        self.tab.show(1)
        self.ui.absentButton.click()
        self.ui.runButton.click()
        self.wait(lambda: not self.tab.controller.busy)
        (item,) = self.client.call.objects
        kinds = {(type(one).__name__, one.slice_index) for one in item.prompts}
        self.assertEqual(kinds, {("BoxPrompt", 0), ("PointsPrompt", 2), ("MaskPrompt", 1)})
        self.ui.clearButton.click()
        self.assertFalse(self.ui.absentButton.checked)
        self.assertEqual(self.tab.controller.prompts.prompted(), {0, 2})

    def test_a_prompt_is_answered_in_its_image_at_once(self) -> None:
        self.tab.show(1)
        self.ui.boxButton.click()
        self.clickOn(11, 9)
        self.clickOn(23, 22)
        self.wait(self.masks)
        self.assertEqual(self.masks(), [110])
        self.ui.excludeButton.click()
        self.clickOn(12, 12)
        self.wait(lambda: self.masks() == [99])
        self.assertEqual(len(self.client.calls), 2, "One request a prompt.")
        self.assertEqual(self.rows(), ["image 0", "● image 1", "image 2"], "It is no answer of a run.")
        self.assertFalse(self.ui.nextButton.enabled)
        (points,) = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        points.UnsetNthControlPointPosition(0)
        self.wait(lambda: self.masks() == [110])
        self.ui.clearButton.click()
        self.assertEqual(self.masks(), [0])

    def test_a_box_stays_until_the_next_one_is_placed(self) -> None:
        self.segment()
        for corners in ((), ((11, 9), (20, 16))):
            self.ui.boxButton.click()
            for corner in corners:
                self.clickOn(*corner)
            self.tab.placer.stop()
            process()
            (box,) = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
            self.assertAlmostEqual(box.GetSize()[1], 7 if corners else 13, delta=1)

    def test_what_a_run_found_comes_back_with_the_prompts_gone(self) -> None:
        self.segment()
        self.tab.show(2)
        self.ui.absentButton.click()
        self.assertEqual(self.masks(), [100, 110, 0])
        self.ui.absentButton.click()
        self.assertEqual(self.masks(), [100, 110, 120])

    def test_what_a_first_prompt_waits_for_is_said(self) -> None:
        self.client.paused = self.services.isWarming = True
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.wait(lambda: "model" in self.said())
        self.services.isWarming = False
        self.wait(lambda: self.said() == "")

    def test_without_what_it_needs_nothing_is_asked(self) -> None:
        self.services.missing = "PyTorch is missing."
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.wait(lambda: self.tab.controller.prompts.prompted())
        self.assertEqual(self.client.calls, [])
        self.assertEqual(self.said(), "Set up MedSAM-2 first, in the tab Volume.")

    def test_how_far_a_run_is_also_of_one(self) -> None:
        self.assertEqual(text.looksText(1, 1), "1 of 1 look at an image")
        self.assertEqual(text.looksText(1, 3), "1 of 3 looks at an image")
        self.assertEqual(text.timeText(1, 1), "Through time: 1 of 1 frame")
        self.assertEqual(text.timeText(1, 2), "Through time: 1 of 2 frames")

    def test_stop(self) -> None:
        self.client.paused = True
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.tab.placer.stop()
        self.wait(lambda: self.ui.runButton.enabled)
        self.ui.orderComboBox.currentIndex = 1
        self.tab.actions()["p"]()
        self.assertEqual(self.client.settings, ("arrival", "self-sorting", 0))
        self.assertTrue(self.ui.stopButton.enabled)
        self.assertFalse(self.ui.includeButton.enabled)
        self.client.call.tick()
        self.assertIn("1 of 3", self.said())
        self.tab.actions()["Esc"]()
        self.assertEqual(self.said(), "Stopped. Images segmented: 1.")
        self.assertFalse(self.ui.progressBar.visible)

    def test_a_run_counts_its_own_images(self) -> None:
        self.segment()
        self.client.paused = True
        self.ui.runButton.click()
        self.client.call.tick()
        self.ui.stopButton.click()
        self.assertEqual(self.said(), "Stopped. Images segmented: 1.")

    def test_frames_of_a_sequence(self) -> None:
        browser, proxy = self.addFrames()
        self.ui.sequenceSelector.setCurrentNode(browser)
        self.assertEqual(self.rows(), ["frame 0", "frame 1", "frame 2"])
        self.ui.boxButton.click()
        self.tab.tick()
        self.assertEqual(self.tab.placer.kind, "box", "It is placed in the image that was in view then.")
        self.tab.placer.stop()
        self.images = [proxy] * 3
        self.segment()
        self.assertEqual(self.said(), "Images segmented: 3.")
        (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        (box,) = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
        browser.SetSelectedItemNumber(2)  # as the buttons of Slicer's tool bar do
        self.wait(lambda: not box.GetDisplayVisibility())
        for frame, voxels in ((2, 120), (1, 110)):
            self.tab.show(frame)
            segmentId = segmentation.GetSegmentation().GetNthSegmentID(0)
            self.assertEqual(segmentMask(segmentation, segmentId, proxy).sum(), voxels)
        self.ui.sequenceSelector.setCurrentNode(None)
        self.assertEqual(self.rows(), ["image 0", "image 1", "image 2"])

    def test_prompts_are_seen_with_their_image_and_in_this_tab_only(self) -> None:
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.tab.placer.stop()
        (node,) = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        seen: list[int] = []
        for step in (lambda: self.tab.show(1), lambda: self.tab.show(0), lambda: self.widget.exit(), self.widget.enter):
            step()
            process()
            seen.append(node.GetDisplayVisibility())
        self.assertEqual(seen, [0, 1, 0, 1])

    def test_keys_act_in_the_tab_in_front_only(self) -> None:
        def keys(tab: Any) -> set[str]:
            found = slicer.util.findChildren(tab.widget, className="QShortcut")
            return {key.key.toString().lower() for key in found}

        images = self.tab
        self.assertIsInstance(images.shortcuts, Shortcuts)
        self.assertEqual(keys(images), {"a", "x", "d", "p", "n", "esc"})
        self.widget.tabs.widget.currentIndex = 0
        process()
        self.assertEqual(keys(images), set())
        self.assertIn("k", keys(self.tab))

    def test_closing_the_scene_while_running(self) -> None:
        self.client.paused = True
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.tab.placer.stop()
        self.wait(lambda: self.ui.runButton.enabled)
        self.ui.runButton.click()
        slicer.mrmlScene.Clear()
        self.wait(lambda: self.rows() == [])
        self.assertFalse(self.tab.controller.busy)


if __name__ == "__main__":
    unittest.main()
