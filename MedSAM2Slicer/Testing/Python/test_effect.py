"""The Segment Editor effect at work: what gestures do, and that its choices are kept."""

from __future__ import annotations

import unittest
from pathlib import Path

import numpy as np
import slicer
import slicer.util
from effectselftest import EffectTestCase
from medsam2selftest import MIDDLE, MODULE_FOLDER, SHAPE, process

from MedSAM2SlicerLib.ui import views
from MedSAM2SlicerLib.ui.choices import Choices
from MedSAM2SlicerLib.ui.services import Services

INSIDE = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment


class GestureTest(EffectTestCase):
    def test_a_click_draws_the_slice(self) -> None:
        self.point()
        self.assertEqual(self.kinds(), [("include", MIDDLE)])
        self.assertEqual(self.drawn(), [MIDDLE])
        self.assertEqual(self.ui.promptTable.rowCount, 1)
        self.assertFalse(self.mask(self.otherId).any())

    def test_each_click_asks_the_model_once(self) -> None:
        for count, i in enumerate((20, 24, 28), start=1):
            self.click(i, 20, MIDDLE)
            self.wait(lambda: all(call.isFinished for call in self.client.calls))
            for _ in range(5):
                process()
            self.assertEqual(len(self.client.calls), count)

    def test_a_drag_is_a_box(self) -> None:
        self.drag((10, 12, MIDDLE), (30, 28, MIDDLE))
        self.wait(lambda: self.drawn())
        self.assertEqual(self.kinds(), [("box", MIDDLE)])
        self.drag((8, 8, 12), (20, 20, 12))
        self.wait(lambda: 12 in self.drawn())
        self.assertEqual(self.kinds(), [("box", MIDDLE), ("box", 12)])

    def stroke(self, row: int, moves: int = 200) -> None:
        """Draw along a row of the middle slice."""
        interactor = self.moveMouse(12, row, MIDDLE)
        interactor.LeftButtonPressEvent()
        x, y = interactor.GetEventPosition()
        for step in range(moves):
            interactor.SetEventPosition(x + step // 4, y)
            interactor.MouseMoveEvent()
        interactor.LeftButtonReleaseEvent()
        process()

    def test_a_stroke_is_a_scribble(self) -> None:
        self.panel.actions()["s"]()
        self.assertIn("Scribble", self.ui.moreButton.text)
        self.assertTrue(self.ui.moreButton.checked)
        before = len(self.client.calls)
        self.stroke(20)
        self.wait(lambda: MIDDLE in self.drawn())
        self.assertEqual(len(self.client.calls), before + 1)
        self.assertEqual(self.kinds(), [("scribble", MIDDLE)])
        self.panel.actions()["x"]()
        self.stroke(30)
        self.wait(lambda: len(self.kinds()) == 2)
        self.assertEqual(self.kinds()[1], ("scribbleOut", MIDDLE))
        self.panel.actions()["a"]()
        self.panel.actions()["s"]()
        self.assertFalse(self.ui.moreButton.checked)
        self.drag((30, 10, MIDDLE), (40, 18, MIDDLE))
        self.wait(lambda: "box" in dict(self.kinds()))

    def test_the_box_is_seen_while_it_is_dragged(self) -> None:
        renderer = self.effect.renderer(slicer.app.layoutManager().sliceWidget("Red"))
        actor = self.face.gestures.band.actor  # Slicer itself has others in the view
        self.assertFalse(renderer.HasViewProp(actor))
        self.moveMouse(10, 12, MIDDLE).LeftButtonPressEvent()
        self.moveMouse(25, 25, MIDDLE)
        self.assertTrue(renderer.HasViewProp(actor))
        self.moveMouse(30, 28, MIDDLE).LeftButtonReleaseEvent()
        self.assertFalse(renderer.HasViewProp(actor))

    def test_exclude_until_include(self) -> None:
        self.assertTrue(self.ui.includeButton.checked)
        self.point()
        self.panel.actions()["x"]()
        self.assertEqual((self.ui.includeButton.checked, self.ui.excludeButton.checked), (False, True))
        self.click(30, 20, MIDDLE)
        self.click(36, 20, MIDDLE)  # nearer to it, the press would drag the point before
        self.assertEqual([kind for kind, _slice in self.kinds()].count("exclude"), 2)
        self.panel.actions()["x"]()
        self.assertTrue(self.ui.includeButton.checked)
        self.ui.excludeButton.click()
        self.ui.includeButton.click()
        self.assertEqual((self.ui.includeButton.checked, self.ui.excludeButton.checked), (True, False))
        self.click(24, 28, MIDDLE)
        self.assertEqual([kind for kind, _slice in self.kinds()].count("include"), 2)

    def test_only_what_is_used_is_kept_from_slicer(self) -> None:
        interactor = slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor()
        seen: list[str] = []
        events = ("LeftButtonPressEvent", "LeftButtonReleaseEvent", "MiddleButtonPressEvent")
        # After the effect (1) and before the view (0), which keeps Shift + press from those behind it.
        tags = [interactor.AddObserver(event, lambda _caller, name: seen.append(name), 0.5) for event in events]
        self.addCleanup(lambda: [interactor.RemoveObserver(tag) for tag in tags])
        self.click(20, 20, MIDDLE)
        self.assertEqual(seen, [])
        interactor.SetShiftKey(1)
        self.click(24, 20, MIDDLE)
        interactor.SetShiftKey(0)
        self.click(20, 20, MIDDLE, button="Middle")
        self.assertEqual(seen, [*events])
        self.assertEqual(self.kinds(), [("include", MIDDLE)])
        self.leave()
        self.click(20, 20, MIDDLE)
        self.assertEqual(seen, [*events, *events[:2]])

    def test_a_handle_is_dragged_instead(self) -> None:
        self.point()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        asked = len(self.client.calls)
        self.drag((20, 20, MIDDLE), (30, 26, MIDDLE))
        self.assertEqual(self.kinds(), [("include", MIDDLE)])
        for moved, wanted in zip(node.GetNthControlPointPositionWorld(0), self.world(30, 26, MIDDLE), strict=True):
            self.assertAlmostEqual(moved, wanted, delta=1.0)
        self.wait(lambda: len(self.client.calls) > asked)

    def test_the_first_gesture_decides_the_axis(self) -> None:
        self.drag((10, MIDDLE, 4), (30, MIDDLE, 16), view="Green")
        self.wait(lambda: self.drawn())
        self.assertEqual(self.controller.review.stack.axis, 1)
        self.assertEqual(self.kinds(), [("box", MIDDLE)])
        self.assertEqual(self.ui.rangeWidget.maximum, SHAPE[1] - 1)

    def test_the_next_segment_goes_the_same_way(self) -> None:
        self.click(20, MIDDLE, 8, view="Green")
        self.wait(lambda: self.drawn())
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        states = dict(self.controller.review.slices())
        self.editor.setCurrentSegmentID(self.otherId)
        process()
        self.assertEqual(self.controller.review.stack.axis, 1)
        self.editor.setCurrentSegmentID(self.segmentId)
        process()
        self.assertEqual(self.controller.review.slices(), states, "Nothing is stale.")

    def test_another_segment_can_go_another_way(self) -> None:
        self.ui.advancedSection.collapsed = False  # with the slice in view as the model sees it
        self.click(20, 30, 8, view="Green")
        self.wait(lambda: self.controller.review.slices())
        self.editor.setCurrentSegmentID(self.otherId)
        process()
        self.click(20, 20, MIDDLE)
        self.wait(lambda: self.controller.review.slices())
        self.assertEqual((self.controller.review.stack.axis, self.kinds()), (0, [("include", MIDDLE)]))
        self.assertEqual(self.ui.rangeWidget.maximum, SHAPE[0] - 1)
        self.editor.setCurrentSegmentID(self.segmentId)
        process()
        self.assertEqual((self.controller.review.stack.axis, self.kinds()), (1, [("include", 30)]))
        self.assertEqual({index: one.state for index, one in self.controller.review.slices().items()}, {30: "prompted"})

    def test_an_oblique_view_is_worked_in(self) -> None:
        view = self.tilt("Red", 30)
        self.client.mask = lambda _index: np.ones(self.client.shape, bool)
        self.click(20, 20, MIDDLE)
        self.wait(lambda: self.controller.review.slices())
        self.assertIsNotNone(self.controller.review.stack.plane)
        (prompt,) = self.controller.review.prompts()
        self.assertEqual(views.shownSlice(self.controller), prompt.sliceIndex)
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        self.assertGreater(len(self.controller.review.slices()), 3)
        self.assertTrue(self.mask()[MIDDLE].any())
        place = view.GetSliceToRAS().GetElement(2, 3)
        views.showSlice(self.controller, prompt.sliceIndex + 2)
        self.assertNotEqual(view.GetSliceToRAS().GetElement(2, 3), place)
        self.assertEqual(views.shownSlice(self.controller), prompt.sliceIndex + 2)
        stack, states = self.controller.review.stack, dict(self.controller.review.slices())
        self.leave()
        self.activate()
        self.assertEqual(self.controller.review.stack, stack)
        self.assertEqual(self.controller.review.slices(), states)

    def test_a_chosen_axis_stays(self) -> None:
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("axial")
        self.click(20, 15, MIDDLE, view="Green")
        self.wait(lambda: self.drawn())
        self.assertEqual(self.kinds(), [("include", MIDDLE)])

    def test_a_click_beside_the_volume_says_so(self) -> None:
        self.click(-3, 20, MIDDLE)
        self.assertIn("outside", self.said())
        self.assertEqual(self.kinds(), [])
        self.point()

    def test_what_is_missing_is_said(self) -> None:
        self.services.missing = "PyTorch is missing."
        self.panel.start()
        self.click(20, 20, MIDDLE)
        self.assertIn("⚠", self.said())
        self.assertEqual(self.kinds(), [])

    def test_masks_stay_inside_the_editable_area(self) -> None:
        lung = np.zeros(SHAPE, np.uint8)
        lung[:, :, :4] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(lung, self.segmentation, self.otherId, self.volume)
        self.node.SetMaskSegmentID(self.otherId)  # first: without it the editor takes the mode back
        self.node.SetMaskMode(INSIDE)
        self.node.SetOverwriteMode(self.node.OverwriteNone)
        self.run_()
        self.assertTrue(self.mask().any())
        self.assertFalse((self.mask() & (lung == 0)).any())
        self.assertEqual(int(self.mask(self.otherId).sum()), int(lung.sum()))


class ChoicesTest(EffectTestCase):
    def test_choices_are_kept_in_the_editor_node(self) -> None:
        self.assertEqual(self.effect.parameter("direction"), Choices.direction)
        self.ui.directionComboBox.currentIndex = self.ui.directionComboBox.findData("backward")
        self.ui.minAreaSpinBox.value = 12.5
        self.ui.rangeWidget.setValues(4, 12)
        self.assertEqual(self.effect.parameter("direction"), "backward")
        self.assertEqual(self.effect.parameter("minAreaMm2"), "12.5")
        self.leave()
        self.activate()
        choices = self.panel.choices()
        self.assertEqual(
            (choices.direction, choices.minAreaMm2, choices.first, choices.last), ("backward", 12.5, 4, 12)
        )

    def test_a_range_is_not_taken_to_another_volume(self) -> None:
        self.ui.rangeWidget.setValues(4, 12)
        self.leave()
        other = self.addVolume("MR")
        self.editor.setSourceVolumeNode(other)
        self.activate()
        self.assertEqual((self.panel.choices().first, self.panel.choices().last), (-1, -1))
        self.assertEqual((self.controller.options.first, self.controller.options.last), (None, None))

    def test_a_script_can_set_them(self) -> None:
        self.effect.setParameter("direction", "forward")
        self.assertEqual(self.controller.options.direction, "forward")
        self.effect.setParameter("bankSize", "many")
        self.effect.setParameter("model", "")
        self.assertEqual((self.panel.choices().bankSize, self.panel.choices().model), (Choices.bankSize, Choices.model))

    def test_they_are_saved_with_the_scene(self) -> None:
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("coronal")
        self.ui.absentSlicesSpinBox.value = 7
        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "chest")
        box = self.ui.insideComboBox
        self.wait(lambda: box.findData(roi.GetID()) > 0)
        box.currentIndex = box.findData(roi.GetID())
        path = str(Path(self.folder.name) / "scene.mrml")
        slicer.mrmlScene.SetURL(path)
        slicer.mrmlScene.Commit(path)
        self.editor.removeViewObservations()
        self.editor.setMRMLSegmentEditorNode(None)
        slicer.mrmlScene.Clear()
        slicer.mrmlScene.SetURL(path)
        slicer.mrmlScene.Connect()
        process()
        self.node = slicer.util.getNodesByClass("vtkMRMLSegmentEditorNode")[-1]
        self.editor.setMRMLSegmentEditorNode(self.node)
        self.activate()
        self.assertIs(self.face.node, self.node)
        self.assertEqual((self.panel.choices().axis, self.panel.choices().absentSlices), ("coronal", 7))
        self.assertEqual(slicer.mrmlScene.GetNodeByID(self.panel.choices().inside).GetName(), "chest")


class WorkerTest(unittest.TestCase):
    def test_module_and_effect_share_one_worker(self) -> None:
        module, effect = Services(MODULE_FOLDER), Services(MODULE_FOLDER)
        self.addCleanup(module.close)
        self.addCleanup(effect.close)
        for controller in (module.makeController(), effect.makeController(), effect.makeController()):
            controller.close()
        self.assertIs(module.client(), effect.client())


if __name__ == "__main__":
    unittest.main()
