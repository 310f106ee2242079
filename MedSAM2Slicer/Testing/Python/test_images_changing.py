"""The tab Images when others change the scene: what is in view, what the set is, and what belongs to it."""

from __future__ import annotations

import time
import unittest
from typing import Any

import slicer
from imagesselftest import ImagesTestCase
from medsam2selftest import process, tip


class ChangingImagesTest(ImagesTestCase):
    def absent(self) -> list[str]:
        """The names of the images that the object is said not to be in."""
        images, prompts = self.tab.controller.images, self.tab.controller.prompts
        return [name for index, name in enumerate(images.names) if prompts.isAbsent(index, "object")]

    def uncheck(self, name: str) -> None:
        row = self.rows().index(name)
        self.ui.imageTable.cellWidget(row, 0).click()
        self.wait(lambda: name.removeprefix("● ") not in self.tab.controller.images.names)
        process()

    def settle(self) -> None:
        """Let all come that is put off after a change of the scene."""
        end = time.monotonic() + 0.5
        self.wait(lambda: time.monotonic() > end)

    def bringUp(self, volume: Any, *views: str) -> None:
        """Choose a volume in slice views, as their selectors do; in all of them if none is named."""
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if composite.GetLayoutName() in views or not views:
                composite.SetBackgroundVolumeID(volume.GetID() if volume else None)
        self.tab.tick()

    def visible(self) -> list[str]:
        """The names of the segmentations that are seen."""
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return [node.GetName() for node in nodes if node.GetDisplayVisibility()]

    def test_a_set_made_anew_has_the_same_image_in_view(self) -> None:
        self.segment()
        self.tab.show(2)
        self.addImage("image 3", 0)
        self.wait(lambda: "image 3" in self.rows())
        self.ui.clearButton.click()
        self.assertEqual(self.tab.controller.prompts.prompted(), {0}, "Those in view are cleared, no others.")
        self.uncheck("image 1")
        self.ui.absentButton.click()
        self.assertEqual(self.absent(), ["image 2"])

    def test_what_a_slice_view_was_switched_to_is_in_view(self) -> None:
        self.segment()
        self.tab.show(0)
        self.bringUp(self.images[2])
        self.assertEqual(self.ui.imageTable.currentRow(), self.rows().index("image 2"))
        self.ui.absentButton.click()
        self.assertEqual(self.absent(), ["image 2"])
        self.bringUp(self.images[1], "Yellow")
        self.ui.absentButton.click()
        self.assertEqual(self.absent(), ["image 1", "image 2"])

    def points(self) -> dict[str, int]:
        """The number of points by the names of their lists."""
        lists = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        return {node.GetName(): node.GetNumberOfDefinedControlPoints() for node in lists}

    def test_a_click_belongs_to_the_view_it_was_made_in(self) -> None:
        self.segment()
        self.tab.show(2)
        self.bringUp(self.images[0], "Red")
        self.bringUp(self.images[1], "Green")
        self.ui.includeButton.click()
        self.volume = self.images[0]
        for x, view in ((15, "Red"), (16, "Red"), (14, "Green"), (17, "Red")):
            self.click(x, 12, 0, view)
            process()
        self.assertEqual(self.points(), {"object image 0": 3, "object image 1": 1})
        self.assertEqual(self.tab.placer.kind, "include")
        self.assertEqual(self.ui.imageTable.currentRow(), self.rows().index("● image 0"))

    def test_a_box_belongs_to_the_view_it_was_drawn_in(self) -> None:
        self.segment()
        self.bringUp(self.images[1], "Red")
        self.bringUp(self.images[2], "Green")
        self.ui.boxButton.click()
        self.volume = self.images[1]
        self.click(11, 9, 0)
        self.click(23, 22, 0)
        process()
        self.assertEqual(self.tab.controller.prompts.prompted(), {0, 1})
        self.assertEqual(self.tab.placer.kind, "")

    def test_a_click_in_a_view_of_something_else_is_no_prompt(self) -> None:
        self.bringUp(self.images[1], "Red")
        self.bringUp(self.volume3D, "Green")
        self.bringUp(self.images[0], "Red")
        for button in (self.ui.includeButton, self.ui.boxButton):
            button.click()
            self.volume = self.images[0]
            for x in (15, 20):
                self.click(x, 12, 0, "Green")
            self.settle()
            self.assertEqual(self.tab.controller.prompts.prompted(), set())
            self.assertIn("shows none of these images", self.ui.messageLabel.text)

    def test_masks_and_prompts_follow_what_a_slice_view_was_switched_to(self) -> None:
        self.segment()
        self.bringUp(self.images[2])
        self.assertEqual(self.visible(), ["image 2 segmentation"])
        (box,) = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
        self.assertFalse(box.GetDisplayVisibility())

    def test_what_belongs_to_an_unchecked_image_is_not_seen_on_others(self) -> None:
        self.segment()
        (box,) = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
        self.uncheck("● image 0")
        self.wait(lambda: not box.GetDisplayVisibility())
        self.assertTrue(box.GetLocked())
        self.assertEqual(self.visible(), ["image 0 segmentation"], "It is still in view.")
        self.tab.show(0)
        self.assertEqual(self.visible(), ["image 1 segmentation"])
        browser, _proxy = self.addFrames()
        self.ui.sequenceSelector.setCurrentNode(browser)
        self.tab.show(0)
        self.assertEqual(self.visible(), [])

    def test_without_an_image_in_view_nothing_is_taken_away(self) -> None:
        self.segment()
        self.bringUp(self.volume3D)
        self.assertIsNone(self.tab.controller.images.shown)
        for button in (self.ui.absentButton, self.ui.clearButton):
            self.assertFalse(button.enabled)
            self.assertEqual(tip(button), "Click on an image in the list first.")
        self.ui.boxButton.click()
        self.assertEqual(self.tab.controller.images.shown, 0, "A prompt needs an image: the first one.")

    def test_frames_count_only_where_they_are_in_view(self) -> None:
        browser, proxy = self.addFrames()
        browser.SetSelectedItemNumber(1)
        self.bringUp(self.images[0])
        self.ui.sequenceSelector.setCurrentNode(browser)
        self.assertIsNone(self.tab.controller.images.shown)
        self.ui.boxButton.click()
        self.assertEqual(self.tab.controller.images.shown, 1, "The current frame comes into view.")
        self.bringUp(proxy)
        self.assertEqual(self.tab.placer.kind, "box")

    def begin(self) -> None:
        """Start a run, which has answered one image of three."""
        self.segment()
        self.client.paused = True
        self.ui.runButton.click()
        self.client.call.tick()

    def finish(self) -> None:
        self.client.paused = False
        self.wait(lambda: not self.tab.controller.busy)

    def test_what_changes_the_set_during_a_run_waits_for_its_end(self) -> None:
        self.begin()
        self.addImage("image 3", 0)
        self.ui.imageTable.cellWidget(self.rows().index("image 1"), 0).click()
        self.settle()
        self.assertTrue(self.tab.controller.busy)
        self.assertEqual(tip(self.ui.sequenceSelector), "The images are being segmented.")
        self.finish()
        self.assertEqual(self.said(), "Images segmented: 3.")
        self.wait(lambda: "image 3" in self.rows())
        self.assertEqual(self.rows(), ["image 2", "● image 0", "image 3", "image 1"])
        self.assertEqual([self.told(row)[0] for row in range(4)], ["0.70", "0.90", "", ""])
        self.assertEqual(self.said(), "Images segmented: 3.")

    def test_a_volume_that_goes_during_a_run_is_said(self) -> None:
        self.begin()
        slicer.mrmlScene.RemoveNode(self.images[1])
        self.finish()
        self.assertIn("'image 1' was removed from the scene", self.said())
        self.wait(lambda: self.rows() == ["image 2", "● image 0"])

    def test_a_prompt_that_is_deleted_elsewhere_takes_its_mask_along(self) -> None:
        self.tab.show(1)
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.tab.placer.stop()
        self.wait(self.masks)
        self.widget.exit()  # to the module Markups
        slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")[0])
        self.wait(lambda: self.masks() == [0])
        self.assertEqual(tip(self.ui.runButton), "Add a point or a box to one of the images first.")
        self.assertEqual(self.rows(), ["image 0", "image 1", "image 2"])

    def test_of_two_prompts_one_that_is_deleted_elsewhere_leaves_the_other(self) -> None:
        self.tab.show(1)
        for kind in ("include", "exclude"):
            self.tab.place(kind)
            self.clickOn(15, 15)
            self.tab.placer.stop()
        self.wait(lambda: self.masks() == [99])
        points = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        slicer.mrmlScene.RemoveNode(next(one for one in points if one.GetAttribute("MedSAM2.ImageKind") == "exclude"))
        self.wait(lambda: self.masks() == [110])
        self.assertEqual(len(self.client.calls), 3)

    def test_a_point_that_is_deleted_in_an_image_out_of_view(self) -> None:
        self.tab.show(1)
        self.tab.place("include")
        self.clickOn(15, 15)
        self.tab.placer.stop()
        self.wait(self.masks)
        self.tab.show(0)
        process()
        slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")[0].RemoveNthControlPoint(0)
        self.wait(lambda: self.masks() == [0])

    def test_a_list_that_goes_with_its_last_point(self) -> None:
        self.tab.show(1)
        self.tab.place("include")
        self.clickOn(15, 15)
        self.wait(self.masks)
        self.tab.placer.stop()  # which looks at the list later
        slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")[0].RemoveNthControlPoint(0)
        self.wait(lambda: self.masks() == [0])

    def test_a_prompt_that_was_given_up_asks_for_nothing(self) -> None:
        self.tab.show(1)
        self.ui.boxButton.click()
        self.tab.placer.stop()
        self.settle()
        self.assertEqual(self.client.calls, [])

    def test_a_volume_is_listed_by_the_name_that_it_has_now(self) -> None:
        self.uncheck("image 2")
        for node in (self.images[1], self.images[2]):
            node.SetName(f"{node.GetName()} again")
        self.wait(lambda: self.rows() == ["image 0", "image 1 again", "image 2 again"])
        box = self.ui.imageTable.cellWidget(1, 0)
        self.assertEqual(box.accessibleName, "Segment image 1 again")
        slicer.mrmlScene.RemoveNode(self.images[1])
        self.tab.controller.show(1)
        self.assertIn("'image 1 again' was removed", self.said())

    def test_what_is_said_of_a_run_goes_with_its_set(self) -> None:
        self.segment()
        self.uncheck("● image 0")
        self.assertEqual(self.said(), "Add a point or a box to one of the images first.")
        self.ui.imageTable.cellWidget(2, 0).click()
        self.wait(lambda: "● image 0" in self.rows())
        self.ui.runButton.click()
        self.wait(lambda: self.said() == "Images segmented: 3.")
        self.settle()  # what came with the run's own nodes
        self.addImage("image 3", 0)
        self.wait(lambda: self.said() == "")

    def test_confidences_stay_when_the_set_changes(self) -> None:
        self.segment()
        self.addImage("image 3", 0)
        self.wait(lambda: self.rows() == ["image 2", "image 1", "● image 0", "image 3"])
        self.uncheck("image 1")
        self.assertEqual([self.told(row)[0] for row in range(4)], ["0.70", "0.90", "", ""])

    def test_a_prompt_is_answered_though_the_set_changes(self) -> None:
        self.client.paused = True
        self.tab.show(1)
        self.ui.includeButton.click()
        self.clickOn(15, 15)
        self.tab.placer.stop()
        self.wait(lambda: self.client.calls)
        self.uncheck("image 0")
        self.client.paused = False
        self.wait(self.masks)
        self.assertEqual(self.masks(), [110])


if __name__ == "__main__":
    unittest.main()
