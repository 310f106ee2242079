"""Propagating, stopping, progress, review, undo."""

from __future__ import annotations

import unittest

import numpy as np
import qt
from medsam2selftest import MIDDLE, SHAPE, PanelTestCase, process

from medsam2_core.errors import WorkerError
from MedSAM2SlicerLib.segments import segmentMask


class RunTest(PanelTestCase):
    def drawn(self) -> list[int]:
        mask = segmentMask(self.controller.segmentationNode, self.controller.segmentId, self.volume)
        return np.flatnonzero(mask.any(axis=(1, 2))).tolist()

    def test_propagate_needs_a_prompt(self) -> None:
        self.assertFalse(self.ui.propagateButton.enabled)
        self.assertIn("Add a prompt first", self.ui.propagateButton.toolTip)
        self.panel.run.propagate()
        self.assertFalse(self.controller.busy)
        self.prompt()
        self.assertTrue(self.ui.propagateButton.enabled)
        self.assertIn("Key: p", self.ui.propagateButton.toolTip)

    def test_propagate(self) -> None:
        self.propagate()
        self.assertEqual(self.drawn(), list(range(MIDDLE - 2, MIDDLE + 3)))
        self.assertIn("20 slices", self.said())
        self.assertIn("mL", self.ui.volumeMlLabel.text)
        self.assertFalse(self.ui.progressBar.visible)
        self.assertIn("Forward: ", self.ui.stopsLabel.text)

    def test_slices_appear_while_it_runs(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.assertTrue(self.ui.progressBar.visible)
        self.assertFalse(self.ui.propagateButton.enabled)
        self.assertIn("running", self.ui.propagateButton.toolTip)
        for _ in range(3):
            self.client.calls[-1].step()
        self.assertTrue(self.ui.progressBar.format.startswith("3/20") or "/20" in self.ui.progressBar.format)
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
        self.assertEqual(sorted(self.controller.slices()), list(range(8, 13)))


class ReviewTest(PanelTestCase):
    def send(self, kind: int, slice_: int) -> None:
        """Let the mouse do something on the plot's column of a slice."""
        plot = self.panel.review.plot
        at = qt.QPointF((slice_ + 0.5) * plot.width / SHAPE[0], 20)
        left = qt.Qt.LeftButton
        event = qt.QMouseEvent(kind, at, at, left, left, qt.Qt.NoModifier)
        plot.mousePressEvent(event) if kind == qt.QEvent.MouseButtonPress else plot.mouseMoveEvent(event)

    def test_a_click_on_the_plot_goes_to_the_slice(self) -> None:
        self.propagate()
        self.send(qt.QEvent.MouseButtonPress, 3)
        self.assertEqual(self.panel.review.shown, 3)
        self.send(qt.QEvent.MouseButtonPress, 17)
        self.assertEqual(self.panel.review.shown, 17)

    def test_the_plot_says_what_is_under_the_mouse(self) -> None:
        self.propagate()
        told = {}
        for index in (MIDDLE, MIDDLE + 1, MIDDLE + 2):
            self.send(qt.QEvent.MouseMove, index)
            told[index] = self.panel.review.plot.toolTip
        self.assertEqual(told[MIDDLE], "Slice 10: prompted, confidence 0.90")
        self.assertEqual(told[MIDDLE + 1], "Slice 11: confidence 0.75")
        self.assertEqual(told[MIDDLE + 2], "Slice 12: doubtful, confidence 0.60")

    def test_the_plot_without_a_propagation(self) -> None:
        plot = self.panel.review.plot
        self.send(qt.QEvent.MouseMove, 4)
        self.assertEqual(plot.toolTip, "Slice 4: not segmented")
        self.assertIsNone(plot.sliceAt(-1))
        self.ui.volumeSelector.setCurrentNode(None)
        self.assertIsNone(plot.sliceAt(1))
        self.send(qt.QEvent.MouseButtonPress, 4)
        self.send(qt.QEvent.MouseMove, 4)
        self.assertEqual(plot.toolTip, "")

    def test_the_plot_is_drawn(self) -> None:
        plot = self.panel.review.plot
        empty = plot.grab().toImage()
        self.propagate()
        self.look(index=4)
        self.panel.tick()
        self.assertNotEqual(plot.grab().toImage(), empty)

    def test_next_doubtful(self) -> None:
        self.assertFalse(self.ui.nextDoubtfulButton.enabled)
        self.assertEqual(self.ui.nextDoubtfulButton.toolTip, "No slice is in doubt.")
        self.propagate()
        doubtful = [index for index, one in self.controller.slices().items() if one.doubtful]
        self.look(index=0)
        self.panel.tick()
        seen = []
        for _ in doubtful:
            self.ui.nextDoubtfulButton.click()
            process()
            seen.append(self.panel.review.shown)
        self.assertEqual(sorted(seen), sorted(doubtful))

    def test_views_do_not_jump_while_it_runs(self) -> None:
        view = self.look(index=4).mrmlSliceNode()
        self.prompt()
        before = [view.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual([view.GetSliceToRAS().GetElement(row, 3) for row in range(3)], before)


if __name__ == "__main__":
    unittest.main()
