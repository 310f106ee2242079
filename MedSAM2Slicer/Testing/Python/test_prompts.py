"""Prompts: by mouse, by button, from segments; the list of them, and what their removal does."""

from __future__ import annotations

import unittest

import numpy as np
import slicer
import slicer.util
import vtk
from medsam2selftest import MIDDLE, PanelTestCase, paintSlice, process, tip

from MedSAM2SlicerLib.scene.segments import ensureSegmentation, segmentMask


class PlacingTest(PanelTestCase):
    def kinds(self) -> list[tuple[str, int]]:
        return [(item.kind, item.sliceIndex) for item in self.controller.review.prompts()]

    def rows(self) -> list[str]:
        table = self.ui.promptTable
        return [table.item(row, 0).text() for row in range(table.rowCount)]

    def placing(self) -> bool:
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        return interaction.GetCurrentInteractionMode() == interaction.Place

    def test_first_click_makes_a_segment_and_shows_its_mask(self) -> None:
        self.ui.includeButton.click()
        self.assertTrue(self.placing())
        self.assertTrue(self.ui.includeButton.checked)
        self.click(20, 20, MIDDLE)
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.kinds(), [("include", MIDDLE)])
        self.assertEqual(self.rows(), ["Slice 10 · 1 include"])
        source = self.panel.source.source()
        self.assertIs(source.segmentation, self.controller.segmentationNode)
        self.assertEqual(source.segmentId, self.controller.segmentId)
        mask = segmentMask(source.segmentation, source.segmentId, self.volume)
        self.assertEqual(np.flatnonzero(mask.any(axis=(1, 2))).tolist(), [MIDDLE])
        self.assertTrue(self.placing(), "Points are placed one after another.")

    def test_a_second_click_refines(self) -> None:
        self.prompt()
        before = len(self.client.objects)
        self.ui.excludeButton.click()
        self.click(30, 20, MIDDLE)
        self.wait(lambda: len(self.client.objects) > before)
        self.assertEqual(self.rows(), ["Slice 10 · 1 include, 1 exclude"])

    def test_box_takes_two_clicks_and_ends_by_itself(self) -> None:
        self.ui.boxButton.click()
        self.click(10, 10, MIDDLE)
        self.assertTrue(self.placing())
        self.click(30, 28, MIDDLE)
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.kinds(), [("box", MIDDLE)])
        self.assertFalse(self.placing())
        self.assertFalse(self.ui.boxButton.checked)

    def test_a_second_box_on_a_slice_replaces_the_first(self) -> None:
        for corner in (10, 14):
            self.ui.boxButton.click()
            self.click(corner, 10, MIDDLE)
            self.click(30, 28, MIDDLE)
            self.wait(lambda: self.controller.review.slices())
            process()
        self.assertEqual(self.kinds(), [("box", MIDDLE)])
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")), 1)
        self.assertEqual(self.rows(), ["Slice 10 · 1 box"])

    def test_box_near_the_end_is_on_the_slice_it_was_drawn_on(self) -> None:
        self.ui.boxButton.click()
        self.click(10, 10, 17)
        self.click(30, 28, 17)
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.kinds(), [("box", 17)])
        box = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsROINode")
        self.assertEqual([round(edge) for edge in box.GetSize()], [20, 18, 1])

    def test_line_takes_two_clicks_and_ends_by_itself(self) -> None:
        self.more("Line").trigger()
        self.click(10, 10, MIDDLE)
        self.assertTrue(self.placing())
        self.assertFalse(self.controller.review.prompts())
        self.click(30, 28, MIDDLE)
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.kinds(), [("line", MIDDLE)])
        self.assertEqual(self.rows(), ["Slice 10 · 1 line"])
        self.assertFalse(self.placing())
        self.assertFalse(self.ui.moreButton.checked)

    def test_a_line_that_was_given_up_leaves_nothing(self) -> None:
        self.more("Line").trigger()
        self.click(10, 10, MIDDLE)
        self.panel.escape()
        process()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode"), 0)

    def test_outline(self) -> None:
        self.more("Outline").trigger()
        for i, j in ((10, 10), (30, 10), (30, 30), (10, 30)):
            self.click(i, j, MIDDLE)
        self.panel.prompts.stopPlacing()
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.rows(), ["Slice 10 · 1 outline"])

    def test_a_box_that_was_given_up_leaves_nothing(self) -> None:
        self.ui.boxButton.click()
        self.click(10, 10, MIDDLE)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 1)
        self.panel.escape()
        process()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode"), 0)
        self.assertFalse(self.controller.review.prompts())

    def test_right_click_ends_placing(self) -> None:
        self.ui.includeButton.click()
        self.click(20, 20, MIDDLE, button="Right")
        self.panel.prompts.stopPlacing()
        self.assertFalse(self.ui.includeButton.checked)

    def test_the_button_again_ends_placing(self) -> None:
        self.ui.includeButton.click()
        self.ui.includeButton.click()
        self.assertFalse(self.placing())
        self.assertFalse(self.ui.includeButton.checked)

    def test_a_moved_point_is_shown_on_its_new_slice(self) -> None:
        self.prompt()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        node.SetNthControlPointPositionWorld(0, *self.world(20, 20, 8))
        node.SetAttribute(slicer.vtkMRMLMarkupsDisplayNode.GetMovingMarkupIndexAttributeName(), "0")
        node.InvokeEvent(node.PointEndInteractionEvent)
        self.wait(lambda: 8 in self.controller.review.slices())
        self.assertEqual(self.rows(), ["Slice 8 · 1 include"])

    def test_a_point_that_was_deleted_in_the_view_leaves_the_list(self) -> None:
        self.prompt()
        self.prompt(12)
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        node.RemoveNthControlPoint(1)
        process()
        self.assertEqual(self.rows(), ["Slice 10 · 1 include"])
        self.look(index=MIDDLE)
        self.ui.includeButton.click()
        self.click(22, 22, MIDDLE)
        before = len(self.client.objects)
        node.RemoveNthControlPoint(1)
        self.wait(lambda: len(self.client.objects) > before)

    def test_cross_removes_the_prompts_of_a_slice(self) -> None:
        self.prompt()
        self.prompt(12)
        self.assertEqual(self.rows(), ["Slice 10 · 1 include", "Slice 12 · 1 include"])
        cross = self.ui.promptTable.cellWidget(0, 1)
        self.assertEqual(cross.accessibleName, "Remove the prompts of slice 10.")
        cross.click()
        process()
        self.assertEqual(self.rows(), ["Slice 12 · 1 include"])

    def test_cross_removes_all_prompts_of_a_slice_and_its_mask(self) -> None:
        self.prompt()
        self.ui.includeButton.click()
        self.click(24, 20, MIDDLE)
        self.panel.prompts.stopPlacing()
        self.wait(lambda: all(call.isFinished for call in self.client.calls))
        self.ui.promptTable.cellWidget(0, 1).click()
        self.wait(lambda: all(call.isFinished for call in self.client.calls))
        source = self.panel.source.source()
        self.assertFalse(segmentMask(source.segmentation, source.segmentId, self.volume).any())

    def paint(self, index: int) -> None:
        source = self.panel.source.source()
        paintSlice(source.segmentation, source.segmentId, self.volume, index)
        self.wait(lambda: index in self.controller.review.edited())

    def test_cross_gives_a_painted_slice_back_as_it_was_painted(self) -> None:
        self.prompt()
        self.paint(12)
        self.prompt(12)
        self.wait(lambda: self.rows()[1:] == ["Slice 12 · 1 include"])
        self.ui.promptTable.cellWidget(1, 1).click()
        self.wait(lambda: self.controller.review.edited())
        self.assertEqual(self.rows(), ["Slice 10 · 1 include", "Slice 12 · edited"])
        source = self.panel.source.source()
        self.assertTrue(segmentMask(source.segmentation, source.segmentId, self.volume)[12].all())

    def test_an_edited_slice_is_in_the_list(self) -> None:
        self.prompt()
        self.paint(12)
        self.assertEqual(self.rows(), ["Slice 10 · 1 include", "Slice 12 · edited"])
        self.ui.promptTable.cellWidget(1, 1).click()
        process()
        self.assertEqual(self.rows(), ["Slice 10 · 1 include"])
        self.assertEqual(self.controller.review.slices()[12].state, "stale")

    def test_the_preview_under_the_mouse_changes_nothing(self) -> None:
        self.prompt()
        before = len(self.client.objects)
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        node.InvokeEvent(node.PointRemovedEvent)  # comes alone when the mouse takes its preview out of a view
        for _ in range(5):
            process()
        self.assertEqual(len(self.client.objects), before)

    def test_a_click_on_the_list_goes_to_the_slice(self) -> None:
        self.prompt()
        self.look(index=3)
        self.panel.prompts.list.goToRow(0)
        self.panel.tick()
        self.assertEqual(self.panel.review.shown, MIDDLE)

    def test_remove_all(self) -> None:
        self.assertFalse(self.ui.removePromptsButton.enabled)
        self.assertEqual(tip(self.ui.removePromptsButton), "There are no prompts yet.")
        self.prompt()
        self.ui.removePromptsButton.click()
        process()
        self.assertEqual(self.kinds(), [])
        self.assertEqual(self.ui.promptTable.rowCount, 0)
        self.assertFalse(self.ui.propagateButton.enabled)

    def test_another_segment_as_prompt(self) -> None:
        segmentation, truth = ensureSegmentation(self.volume)
        mask = np.zeros(slicer.util.arrayFromVolume(self.volume).shape, np.uint8)
        mask[7, 10:20, 10:20] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, truth, self.volume)
        self.ui.segmentationSelector.setCurrentNode(segmentation)
        self.ui.addSegmentButton.click()
        self.assertTrue(self.more("From segment").enabled)
        self.panel.prompts.more.segments.actions()[0].trigger()
        self.assertEqual(self.kinds(), [("segment", 7)])
        self.assertEqual(self.rows(), ["Slice 7 · 1 segment"])

    def test_a_measurement_as_prompt(self) -> None:
        line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "long axis")
        for i in (10, 30):
            line.AddControlPointWorld(vtk.vtkVector3d(*self.world(i, 20, 7)))
        self.assertTrue(self.more("From line").enabled)
        (action,) = self.panel.prompts.more.lines.actions()
        self.assertEqual(action.text, "long axis")
        action.trigger()
        self.wait(lambda: 7 in self.controller.review.slices())
        self.assertEqual(self.rows(), ["Slice 7 · 1 line"])
        for point, i in enumerate((10, 30)):
            line.SetNthControlPointPositionWorld(point, *self.world(i, 20, 8))
        line.InvokeEvent(line.PointEndInteractionEvent)
        self.wait(lambda: 8 in self.controller.review.slices())
        self.assertEqual(self.rows(), ["Slice 8 · 1 line"])
        self.ui.promptTable.cellWidget(0, 1).click()
        process()
        self.assertEqual(self.rows(), [])
        self.assertTrue(slicer.mrmlScene.IsNodePresent(line))

    def test_there_may_be_no_other_segment(self) -> None:
        for name in ("From segment", "From line"):
            self.assertFalse(self.more(name).enabled)
        self.prompt()
        self.assertFalse(self.more("From segment").enabled)

    def test_first_click_decides_the_axis(self) -> None:
        self.ui.includeButton.click()
        self.click(20, 15, MIDDLE, view="Green")
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.controller.review.stack.axis, 1)
        self.assertEqual(self.kinds(), [("include", 15)])
        self.assertEqual(self.ui.rangeWidget.maximum, 39)
        self.panel.prompts.stopPlacing()
        self.ui.promptTable.cellWidget(0, 1).click()
        self.wait(lambda: self.controller.review.stack.axis == 0)

    def test_a_chosen_axis_stays(self) -> None:
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("axial")
        self.ui.includeButton.click()
        self.click(20, 15, MIDDLE, view="Green")
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual(self.kinds(), [("include", MIDDLE)])

    def test_a_warped_volume_says_what_to_do(self) -> None:
        spline = vtk.vtkThinPlateSplineTransform()
        spline.SetBasisToR()
        points = vtk.vtkPoints()
        for point in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
            points.InsertNextPoint(point)
        moved = vtk.vtkPoints()
        moved.DeepCopy(points)
        moved.SetPoint(4, 60, 50, 50)
        spline.SetSourceLandmarks(points)
        spline.SetTargetLandmarks(moved)
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode")
        transform.SetAndObserveTransformToParent(spline)
        self.volume.SetAndObserveTransformNodeID(transform.GetID())
        self.ui.volumeSelector.setCurrentNode(None)
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.assertIn("Harden the transform", tip(self.ui.includeButton))
        self.panel.actions()["a"]()
        self.assertFalse(self.placing())
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("coronal")
        self.panel.tick()

    def test_an_empty_volume_says_why_it_cannot_be_used(self) -> None:
        empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        self.ui.volumeSelector.setCurrentNode(empty)
        self.assertIn("holds no voxels", tip(self.ui.includeButton))
        self.panel.prompts.place("include")
        self.assertIn("holds no voxels", self.said())
        self.ui.addSegmentButton.click()
        self.assertIn("holds no voxels", self.said())
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("coronal")
        self.panel.tick()


class SegmentTest(PanelTestCase):
    def test_add_and_remove_segments(self) -> None:
        self.assertFalse(self.ui.removeSegmentButton.enabled)
        self.ui.addSegmentButton.click()
        first = self.controller.segmentId
        self.ui.addSegmentButton.click()
        self.assertNotEqual(self.controller.segmentId, first)
        self.prompt()
        self.ui.removeSegmentButton.click()
        process()
        self.assertEqual(self.controller.segmentId, first)
        self.assertEqual(self.controller.review.prompts(), [])
        self.ui.removeSegmentButton.click()
        self.assertEqual(self.controller.segmentId, "")
        self.assertFalse(self.ui.removeSegmentButton.enabled)

    def test_a_removed_segment_comes_back_with_its_prompts(self) -> None:
        self.prompt()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        removed = self.controller.segmentId
        self.ui.removeSegmentButton.click()
        process()
        self.assertFalse(node.GetDisplayVisibility())
        self.ui.undoButton.click()
        self.wait(lambda: self.controller.segmentId == removed)
        self.assertTrue(node.GetDisplayVisibility())
        self.assertEqual([item.kind for item in self.controller.review.prompts()], ["include"])

    def test_the_last_point_deleted_in_a_view_leaves_no_markup(self) -> None:
        self.prompt()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        node.RemoveNthControlPoint(0)
        process()
        self.assertEqual(self.controller.review.prompts(), [])
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode"), 0)

    def test_placing_that_was_given_up_leaves_no_markup(self) -> None:
        self.ui.includeButton.click()
        self.panel.prompts.stopPlacing()
        process()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode"), 0)

    def test_prompts_are_locked_while_the_module_is_not_open(self) -> None:
        self.prompt()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        self.assertFalse(node.GetLocked())
        self.widget.exit()
        self.assertTrue(node.GetLocked())
        self.assertTrue(node.GetDisplayVisibility())
        self.widget.enter()
        self.assertFalse(node.GetLocked())

    def test_each_segment_has_its_prompts(self) -> None:
        self.prompt()
        first = self.controller.segmentId
        self.ui.addSegmentButton.click()
        self.assertEqual(self.ui.promptTable.rowCount, 0)
        self.ui.segmentSelector.setCurrentSegmentID(first)
        self.assertEqual(self.ui.promptTable.rowCount, 1)

    def test_another_segmentation(self) -> None:
        self.prompt()
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        self.ui.segmentationSelector.setCurrentNode(other)
        self.assertIs(self.controller.segmentationNode, other)
        self.assertEqual(self.controller.segmentId, "")
        slicer.mrmlScene.RemoveNode(other)
        process()
        self.assertIsNone(self.controller.segmentationNode)

    def test_nothing_stays_observed(self) -> None:
        self.prompt()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        placer = self.panel.prompts.placer  # others observe the same events, so the node cannot be asked
        self.assertIn(node, [observed for observed, *_rest in placer.Observations])
        self.addCleanup(self.reopen)
        self.widget.cleanup()
        self.assertEqual(placer.Observations, [])


if __name__ == "__main__":
    unittest.main()
