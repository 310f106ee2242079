"""Propagating, stopping, progress, undo; threshold and smoothing; runs to repeat."""

from __future__ import annotations

import time
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from medsam2selftest import MIDDLE, PanelTestCase, process, tip

from medsam2_core.errors import PromptError, WorkerError
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.work.pace import Pace


class RunTest(PanelTestCase):
    def drawn(self) -> list[int]:
        mask = segmentMask(self.controller.segmentationNode, self.controller.segmentId, self.volume)
        return np.flatnonzero(mask.any(axis=(1, 2))).tolist()

    def test_propagate_needs_a_prompt(self) -> None:
        self.assertFalse(self.ui.propagateButton.enabled)
        self.assertIn("Add a prompt first", tip(self.ui.propagateButton))
        self.panel.run.propagate()
        self.assertFalse(self.controller.busy)
        self.prompt()
        self.assertTrue(self.ui.propagateButton.enabled)
        self.assertIn("Keys: p, Enter", tip(self.ui.propagateButton))

    def test_propagate(self) -> None:
        self.propagate()
        self.assertEqual(self.drawn(), list(range(MIDDLE - 2, MIDDLE + 3)))
        self.assertIn("20 slices", self.said())
        self.assertFalse(self.ui.progressBar.visible)

    def test_how_long_it_takes_is_said_before_it_begins(self) -> None:
        self.prompt()
        self.assertNotIn("on this machine", tip(self.ui.propagateButton))
        self.services.notePace(self.controller.options, Pace(first=200.0))
        self.panel.update()
        self.assertIn("Up to 19 slices: at most about 4 s on this machine", tip(self.ui.propagateButton))
        self.client.paused = True
        self.ui.propagateButton.click()
        self.assertEqual(self.said(), "0/19 · 4 s left")
        self.assertEqual((self.ui.progressBar.value, self.ui.progressBar.maximum), (0, 19))
        self.assertNotIn("on this machine", tip(self.ui.propagateButton))

    def test_slices_appear_while_it_runs(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.assertTrue(self.ui.progressBar.visible)
        self.assertFalse(self.ui.propagateButton.enabled)
        self.assertIn("running", tip(self.ui.propagateButton))
        for _ in range(3):
            self.client.calls[-1].step()
        self.assertTrue(self.said().startswith("3/20 · "), self.said())
        self.assertEqual((self.ui.progressBar.value, self.ui.progressBar.maximum), (3, 20))
        self.assertEqual(self.drawn(), [MIDDLE, MIDDLE + 1, MIDDLE + 2])

    def test_stop_keeps_what_is_done(self) -> None:
        self.assertFalse(self.ui.stopButton.enabled)
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.client.calls[-1].step()
        self.client.calls[-1].step()
        self.assertTrue(self.ui.stopButton.enabled)
        self.ui.stopButton.click()
        self.assertFalse(self.controller.busy)
        self.assertEqual(self.drawn(), [MIDDLE, MIDDLE + 1])
        self.assertFalse(self.ui.stopButton.enabled)

    def test_an_error_is_told_in_the_panel(self) -> None:
        self.prompt()
        self.client.error = WorkerError("The model process ended: out of memory.")
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(self.said(), "⚠ The model process ended: out of memory.")
        self.assertTrue(self.ui.propagateButton.enabled)

    def test_undo_and_redo(self) -> None:
        self.assertFalse(self.ui.undoButton.enabled)
        self.propagate()
        self.ui.undoButton.click()
        self.assertEqual(self.drawn(), [MIDDLE])
        self.ui.redoButton.click()
        self.assertEqual(len(self.drawn()), 5)

    def test_undo_while_running(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.client.calls[-1].step()
        self.ui.undoButton.click()
        self.assertFalse(self.controller.busy)
        self.assertFalse(self.ui.progressBar.visible)

    def test_a_range_of_slices(self) -> None:
        self.prompt()
        self.ui.rangeWidget.setValues(8, 12)
        self.assertEqual((self.controller.options.first, self.controller.options.last), (8, 13))
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(sorted(self.controller.review.slices()), list(range(8, 13)))

    def test_views_do_not_jump_while_it_runs(self) -> None:
        view = self.look(index=4).mrmlSliceNode()
        self.prompt()
        before = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual([view.GetSliceToRAS().GetElement(row, 3) for row in range(3)], before)

    def test_the_button_names_the_slices_that_are_run_again(self) -> None:
        self.assertEqual(self.ui.propagateButton.text, "Propagate  p")
        self.propagate()
        self.assertEqual(self.ui.propagateButton.text, "Propagate  p")
        self.prompt(12)
        self.wait(
            lambda: 12 in self.controller.review.slices() and self.controller.review.slices()[12].state == "prompted"
        )
        self.assertEqual(self.controller.review.intervals(), [(10, 20)])
        self.assertEqual(self.ui.propagateButton.text, "Propagate 10–19  p")
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(self.client.spans[-1], (10, 20))
        self.assertEqual(self.ui.propagateButton.text, "Propagate  p")
        for index in (8, 12):
            self.controller.accept(index)
        for index in (5, 16):
            self.prompt(index)
            self.wait(lambda index=index: self.controller.review.slices()[index].state == "prompted")
        self.assertEqual(self.ui.propagateButton.text, "Propagate 0–8, 12–19  p")
        self.assertEqual(text.propagateText([(0, 3), (5, 8), (9, 12)]), "Propagate 3 intervals  p")

    def test_an_edited_slice_is_prompt_enough(self) -> None:
        self.propagate()
        self.ui.removePromptsButton.click()
        self.assertFalse(self.ui.propagateButton.enabled)
        self.look(index=12)
        self.panel.tick()
        self.ui.acceptButton.click()
        self.assertTrue(self.ui.propagateButton.enabled)

    def test_several_segments_in_one_pass(self) -> None:
        self.prompt()
        self.assertFalse(self.ui.propagateAllButton.visible)
        first = self.controller.segmentId
        self.ui.addSegmentButton.click()
        self.assertFalse(self.ui.propagateAllButton.visible)
        self.prompt()
        second = self.controller.segmentId
        self.assertTrue(self.ui.propagateAllButton.visible)
        self.assertEqual(self.ui.propagateAllButton.text, "All (2)")
        self.services.notePace(self.controller.options, Pace(first=100.0))
        self.panel.update()
        self.assertIn("38 slices in 2 segments: at most about 4 s", tip(self.ui.propagateAllButton))
        self.client.paused = True
        self.ui.propagateAllButton.click()
        self.assertTrue(self.controller.busy)
        self.assertIn("running", tip(self.ui.propagateAllButton))
        self.panel.run.propagateAll()
        self.client.paused = False
        self.wait(lambda: not self.controller.busy)
        for segmentId in (first, second):
            mask = segmentMask(self.controller.segmentationNode, segmentId, self.volume)
            self.assertEqual(len(np.flatnonzero(mask.any(axis=(1, 2)))), 5)


class RedrawTest(PanelTestCase):
    def redraws(self) -> list[tuple[float, float]]:
        """Threshold and smoothing of each."""
        return [call.cut[:2] for call in self.client.calls if hasattr(call, "cut")]

    def test_sliders_need_a_propagation(self) -> None:
        self.prompt()
        for slider in (self.ui.thresholdSlider, self.ui.smoothingSlider):
            self.assertFalse(slider.enabled)
            self.assertEqual(tip(slider), "Propagate first.")
        self.panel.redrawing.redraw()
        self.propagate()
        self.assertTrue(self.ui.thresholdSlider.enabled)
        self.assertEqual(self.redraws(), [])

    def test_sliders_say_that_of_an_earlier_session_nothing_is_kept(self) -> None:
        self.propagate()
        self.use(self.services)
        for slider in (self.ui.thresholdSlider, self.ui.smoothingSlider):
            self.assertFalse(slider.enabled)
            self.assertIn("Propagate this segment again first", tip(slider))
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertTrue(self.ui.thresholdSlider.enabled)

    def test_a_slider_draws_once_where_it_rests(self) -> None:
        self.propagate()
        for value in (0.55, 0.6, 0.65):
            self.ui.thresholdSlider.value = value
            process()
        self.wait(self.redraws)
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(self.redraws(), [(0.65, 0.0)])
        self.ui.smoothingSlider.value = 2.5
        self.wait(lambda: len(self.redraws()) == 2)
        self.assertEqual(self.redraws()[1], (0.65, 2.5))

    def test_the_values_count_for_the_next_propagation_too(self) -> None:
        self.propagate()
        self.ui.thresholdSlider.value = 0.7
        self.wait(lambda: self.redraws() and not self.controller.busy)
        self.ui.propagateButton.click()
        self.wait(lambda: len(self.redraws()) == 2 and not self.controller.busy)
        for _ in range(20):
            process()
        self.assertEqual(self.redraws(), [(0.7, 0.0)] * 2)

    def test_undo_takes_the_values_back_and_redo_brings_them(self) -> None:
        self.propagate()
        self.client.mask = lambda _index: np.ones(self.client.shape, bool)
        self.ui.thresholdSlider.value = 0.7
        self.wait(lambda: self.redraws() and not self.controller.busy)
        for button, value in ((self.ui.undoButton, 0.5), (self.ui.redoButton, 0.7), (self.ui.undoButton, 0.5)):
            button.click()
            self.wait(lambda value=value: round(self.ui.thresholdSlider.value, 2) == value)
            self.assertTrue(self.ui.thresholdSlider.enabled)
            self.assertEqual(self.widget.logic.getParameterNode().threshold, value)
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        time.sleep(0.3)
        process()
        self.assertEqual(self.redraws(), [(0.7, 0.0)], "Nothing is drawn with what was taken back.")

    def test_each_segment_has_its_values(self) -> None:
        self.propagate()
        self.ui.thresholdSlider.value = 0.7
        self.wait(lambda: self.redraws() and not self.controller.busy)
        first = self.controller.segmentId
        self.ui.addSegmentButton.click()
        self.propagate()
        self.wait(lambda: len(self.redraws()) == 2 and not self.controller.busy)
        self.ui.thresholdSlider.value = 0.6
        self.wait(lambda: len(self.redraws()) == 3 and not self.controller.busy)
        self.ui.segmentSelector.setCurrentSegmentID(first)
        self.assertEqual(round(self.ui.thresholdSlider.value, 2), 0.7)
        time.sleep(0.3)
        process()
        self.assertEqual(len(self.redraws()), 3)

    def test_parts_and_holes(self) -> None:
        self.assertFalse(self.ui.largestComboBox.enabled)
        self.propagate()
        self.ui.largestComboBox.currentIndex = self.ui.largestComboBox.findData("3d")
        self.wait(lambda: self.redraws() and not self.controller.busy)
        self.ui.fillHolesComboBox.currentIndex = self.ui.fillHolesComboBox.findData("on")
        self.wait(lambda: len(self.redraws()) == 2 and not self.controller.busy)
        self.assertEqual(self.client.calls[-1].cut, (0.5, 0.0, "3d", "on"))
        self.assertEqual(self.controller.review.cut(), (0.5, 0.0, "3d", "on"))

    def test_leaving_draws_nothing_any_more(self) -> None:
        self.propagate()
        self.ui.thresholdSlider.value = 0.7
        controller = self.controller
        self.addCleanup(self.reopen)
        with mock.patch.object(controller, "redraw") as redraw:
            self.widget.cleanup()
            time.sleep(0.3)
            process()
            redraw.assert_not_called()


class ReplayTest(PanelTestCase):
    def test_buttons_need_a_run(self) -> None:
        for button in (self.ui.copyScriptButton, self.ui.saveRunButton):
            self.assertFalse(button.enabled)
            self.assertEqual(tip(button), "Propagate first.")
        self.propagate()
        self.assertTrue(self.ui.copyScriptButton.enabled)

    def test_copy_as_python(self) -> None:
        self.propagate()
        with mock.patch.object(self.controller.review, "script", return_value="import slicer"):
            self.ui.copyScriptButton.click()
        self.assertEqual(slicer.app.clipboard().text(), "import slicer")
        self.assertIn("clipboard", self.said())
        with mock.patch.object(self.controller.review, "script", side_effect=PromptError("There is no run yet.")):
            self.ui.copyScriptButton.click()
        self.assertEqual(self.said(), "⚠ There is no run yet.")

    def test_save_run(self) -> None:
        self.propagate()
        path = Path(self.folder.name) / "liver.json"
        with mock.patch.object(self.controller.review, "saveRun") as save:
            with mock.patch("qt.QFileDialog.getSaveFileName", return_value=""):
                self.ui.saveRunButton.click()
            save.assert_not_called()
            with mock.patch("qt.QFileDialog.getSaveFileName", return_value=str(path)):
                self.ui.saveRunButton.click()
            save.assert_called_once_with(path)
        self.assertIn("liver.json", self.said())
        with mock.patch.object(self.controller.review, "saveRun", side_effect=OSError("No space left on device")):
            self.panel.replay.saveRun(path)
        self.assertEqual(self.said(), "⚠ No space left on device")


if __name__ == "__main__":
    unittest.main()
