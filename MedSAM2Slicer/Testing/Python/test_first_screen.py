"""The first screen: how much room it takes, and what the message line says and when it stops saying so."""

from __future__ import annotations

import unittest
from unittest import mock

import qt
import slicer
import slicer.util
import vtk
from effectselftest import EffectTestCase
from medsam2selftest import MIDDLE, PanelTestCase, process

from medsam2_core.errors import WorkerError
from MedSAM2SlicerLib import lookahead
from MedSAM2SlicerLib.ui.viewmessage import ViewMessage
from MedSAM2SlicerLib.work.pace import Pace

NARROW = 400  # pixels: a narrow Segment Editor
HIGHEST = 420
EDGE = vtk.vtkCornerAnnotation.UpperEdge
NEEDED = ("messageLabel", "stopButton", "includeButton", "excludeButton", "boxButton", "moreButton", "propagateButton")
NEEDED = (*NEEDED, "promptListButton", "rangeButton", "nextDoubtfulButton", "acceptButton", "lockButton")


def noted(view: str) -> str:
    """What is written at the upper edge of a view, in one line."""
    annotation = slicer.app.layoutManager().sliceWidget(view).sliceView().cornerAnnotation()
    return " ".join((annotation.GetText(EDGE) or "").split())


class RoomTest(EffectTestCase):
    def layOut(self) -> int:
        """Make the panel narrow; returns its height."""
        widget = self.face.uiWidget
        widget.setParent(None)
        widget.setFixedWidth(NARROW)
        widget.show()
        process()
        layout = widget.layout()
        return int(
            layout.totalHeightForWidth(NARROW) if layout.hasHeightForWidth() else layout.totalSizeHint().height()
        )

    def test_one_screen_is_enough(self) -> None:
        segments = self.segmentation.GetSegmentation()
        segments.AddEmptySegment("third", "kidney")
        segments.GetSegment(self.segmentId).SetName("the liver, which here has a long name for what it is")
        self.assertTrue(self.ui.advancedSection.collapsed)
        self.assertLessEqual(self.layOut(), HIGHEST)
        self.run_()
        self.click(24, 20, 12)
        self.wait(lambda: self.controller.review.intervals() and self.panel.review.summary)
        self.assertLessEqual(self.layOut(), HIGHEST)
        widget = self.face.uiWidget
        for name in NEEDED:
            control = getattr(self.ui, name)
            self.assertTrue(control.visible, name)
            corner = control.mapTo(widget, qt.QPoint(0, 0))
            self.assertLessEqual(corner.x() + control.width, NARROW, f"{name} is cut off.")
            self.assertLessEqual(corner.y() + control.height, HIGHEST, f"{name} is too far down.")

    def test_it_is_low(self) -> None:
        """Segment Editor with three segments leaves about 190 px of a screen of 1366x768."""
        self.run_()
        self.panel.line.forget()
        self.assertLessEqual(self.layOut(), 190)

    def test_nothing_is_cut_off_when_it_is_narrow(self) -> None:
        self.run_()
        self.layOut()
        for name in NEEDED:
            control = getattr(self.ui, name)
            if name not in ("messageLabel", "promptListButton"):  # these say less, or use more lines
                self.assertGreaterEqual(control.width, control.property("minimumSizeHint").width(), name)

    def test_the_prompts_are_a_line_that_unfolds(self) -> None:
        self.point()
        self.assertFalse(self.ui.promptListFrame.visible)
        self.ui.promptListButton.setFixedWidth(200)
        process()
        self.panel.tick()
        self.assertEqual(self.ui.promptListButton.text, "1 prompt: 10")
        self.ui.promptListButton.setFixedWidth(90)
        process()
        self.panel.tick()
        self.assertEqual(self.ui.promptListButton.text, "1 prompt")
        self.ui.promptListButton.click()
        self.assertTrue(self.ui.promptListFrame.visible)
        self.controller.prompting.removeAllPrompts()
        self.assertFalse(self.ui.promptListFrame.visible)

    def test_the_range_is_a_text_that_opens_its_controls(self) -> None:
        self.assertEqual(self.ui.rangeButton.text, "0–19, both ways")
        self.assertFalse(self.ui.rangeFrame.visible)
        self.ui.rangeButton.click()
        self.assertTrue(self.ui.rangeFrame.visible)
        self.ui.rangeWidget.setValues(4, 12)
        self.ui.directionComboBox.currentIndex = self.ui.directionComboBox.findData("backward")
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("axial")
        self.assertEqual(self.ui.rangeButton.text, "axial 4–12, backward")
        self.ui.rangeFrame.hide()


class MessageTest(EffectTestCase):
    def test_what_to_do_first(self) -> None:
        self.assertEqual(self.said(), "Click on the object in a slice view, or drag a box around it.")
        self.panel.actions()["x"]()
        self.assertIn("leave out", self.said())

    def test_an_error_goes_when_something_works(self) -> None:
        self.client.error = WorkerError("The model process cannot be started.")
        self.click(20, 20, MIDDLE)
        self.wait(lambda: "cannot be started" in self.said())
        self.client.error = None
        self.point()
        self.assertNotIn("cannot be started", self.said())

    def test_a_summary_goes_with_undo_and_with_the_segment(self) -> None:
        self.run_()
        self.assertIn("20 slices", self.said())
        self.editor.undo()
        self.wait(lambda: "20 slices" not in self.said())
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        self.assertIn("20 slices", self.said())
        self.editor.setCurrentSegmentID(self.otherId)
        process()
        self.assertEqual(self.said(), "Click on the object in a slice view, or drag a box around it.")

    def test_a_partial_run_tells_only_of_itself(self) -> None:
        self.client.stops = {"backward": "stopped at slice 3: object absent on 3 slices"}
        self.run_()
        self.assertIn("Stopped at slice 3", self.said())
        self.controller.accept(MIDDLE)
        self.click(20, 20, 12)
        self.wait(lambda: self.controller.review.intervals() == [(MIDDLE, 20)])
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(self.client.spans[-1], (MIDDLE, 20))
        self.assertIn("slices", self.said())
        self.assertNotIn("Stopped at slice 3", self.said())
        self.wait(lambda: self.panel.review.summary.endswith("stopped at 3: object absent on 3 slices"))
        self.panel.line.forget()
        self.assertEqual(self.said(), self.panel.review.summary)

    def test_other_voxels_make_slices_stale_and_say_so(self) -> None:
        self.run_()
        voxels = slicer.util.arrayFromVolume(self.volume)
        slicer.util.updateVolumeFromArray(self.volume, voxels[::-1].copy())  # as another frame of a sequence does
        self.wait(lambda: self.said() == "The volume's voxels have changed: propagate again.")
        states = {one.state for one in self.controller.review.slices().values()}
        self.assertEqual(states, {"prompted", "stale"})

    def test_stopping_says_so(self) -> None:
        self.start(2)
        with mock.patch.object(self.controller, "stop"):
            self.ui.stopButton.click()
            self.assertEqual(self.said(), "Stopping…")
        self.panel.run.stop()
        self.assertFalse(self.controller.busy)
        self.assertIn("Canceled", self.said())

    def test_a_doubtful_slice_says_why(self) -> None:
        self.panel.actions()["n"]()
        self.assertEqual(self.said(), "No slice is in doubt.")
        self.run_()
        self.panel.actions()["n"]()
        first, count = self.panel.review.shown, len(self.controller.review.doubtful())
        self.assertTrue(self.said().startswith(f"Slice {first} (1 of {count} in doubt): "), self.said())

    def test_the_start_of_the_model_shows_at_once(self) -> None:
        self.services.isModelOpen, self.client.paused = False, True
        self.click(20, 20, MIDDLE)
        self.panel.tick()
        self.assertEqual(self.said(), "Starting the model…")
        self.assertTrue(self.ui.progressBar.visible)
        self.assertEqual((self.ui.progressBar.minimum, self.ui.progressBar.maximum), (0, 0), "It moves.")
        self.assertEqual(noted("Red"), "Starting the model…")
        self.services.isModelOpen, self.client.paused = True, False
        self.wait(lambda: not self.controller.waits)
        self.panel.tick()
        self.assertNotEqual(self.said(), "Starting the model…")
        self.assertFalse(self.ui.progressBar.visible)

    def test_a_slow_answer_shows_that_it_is_awaited(self) -> None:
        self.client.paused = True
        self.click(20, 20, MIDDLE)
        self.panel.tick()
        self.assertFalse(self.ui.progressBar.visible)
        self.wait(lambda: self.said() == "The model is looking at the slice…")
        self.assertTrue(self.ui.progressBar.visible)

    def test_the_view_that_was_clicked_shows_the_message_for_a_while(self) -> None:
        annotation = slicer.app.layoutManager().sliceWidget("Red").sliceView().cornerAnnotation()
        annotation.SetText(EDGE, "before")
        self.run_()
        self.assertIn("20 slices", noted("Red"))
        self.assertNotIn("slices", noted("Green"))
        self.panel.inView.clear()  # as its timer does
        self.assertEqual(noted("Red"), "before")
        annotation.SetText(EDGE, "")

    def test_no_view_is_no_trouble(self) -> None:
        shown = ViewMessage()
        shown.show("Nobody sees this.", None)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Purple")
        shown.show("Nobody sees this.", node)
        with mock.patch.object(slicer.app, "layoutManager", return_value=None):
            shown.show("Nobody sees this.", node)
        shown.close()


class WarmTest(PanelTestCase):
    def test_the_model_is_opened_when_the_module_is(self) -> None:
        self.assertEqual(set(self.services.warmed), {"starter"})

    def test_a_slice_that_the_user_stays_on_is_seen_ahead(self) -> None:
        self.prompt(10)
        self.services.notePace(self.panel.controller.options, Pace(first=400.0))
        for index in (7, 4):
            self.look(index=index)
            self.wait(lambda index=index: self.client.seen[-1:] == [index])

    @mock.patch.object(lookahead, "PAUSE", 1e9)
    def test_the_slice_in_view_is_seen_at_the_start(self) -> None:
        self.look(index=7)
        self.widget.exit()
        self.client.seen.clear()
        self.widget.enter()
        self.assertEqual(self.client.seen, [7])
        self.prompt(7)
        self.widget.exit()
        self.widget.enter()
        self.assertEqual(self.client.seen, [7], "Where slices are drawn the model has been at work.")

    def test_it_shows_quietly(self) -> None:
        self.panel._services.isWarming = True
        self.wait(lambda: "the model is getting ready" in self.said())
        self.assertIn("Include", self.said())  # what to do first is still there
        self.panel._services.isWarming = False
        self.wait(lambda: "getting ready" not in self.said())

    def test_not_while_something_is_missing(self) -> None:
        self.services.missing = "MedSAM-2 needs PyTorch (about 250 MB)."
        self.services.warmed.clear()
        self.panel.start()
        self.assertEqual(self.services.warmed, [])
        self.ui.setUpButton.click()
        self.assertEqual(self.services.warmed, ["starter"])

    def test_a_volume_that_cannot_be_used_says_why_at_once(self) -> None:
        color = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
        image = vtk.vtkImageData()
        image.SetDimensions(4, 4, 4)
        image.AllocateScalars(vtk.VTK_UNSIGNED_SHORT, 3)
        color.SetAndObserveImageData(image)
        self.ui.volumeSelector.setCurrentNode(color)
        self.assertIn("'photo' has colors of more than 8 bits", self.said())
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.assertEqual(self.said(), "Press Include (a) or Box (d), then click on the object in a slice view.")


if __name__ == "__main__":
    unittest.main()
