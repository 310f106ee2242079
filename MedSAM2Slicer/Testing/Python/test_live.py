"""Live in the panel and in the effect: the toggle, its key, what is kept of it, and one click that does it all."""

from __future__ import annotations

import unittest
from unittest import mock

from effectselftest import EffectTestCase
from medsam2selftest import MIDDLE, tip

from MedSAM2SlicerLib import live
from MedSAM2SlicerLib.ui import text


class LiveTest(EffectTestCase):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(live, "PAUSE", 0.0)
        patch.start()
        self.addCleanup(patch.stop)

    def test_it_is_kept_for_the_user(self) -> None:
        self.assertFalse(self.ui.liveButton.checked)
        self.panel.actions()["u"]()
        self.assertTrue(self.ui.liveButton.checked)
        self.assertTrue(self.services.isLive)
        self.leave()
        self.activate()
        self.assertTrue(self.ui.liveButton.checked)
        self.assertTrue(self.controller.live.isOn)
        self.ui.liveButton.click()
        self.assertFalse(self.services.isLive)
        self.assertFalse(self.controller.live.isOn)

    def test_a_click_draws_it_all(self) -> None:
        self.ui.liveButton.click()
        self.click(20, 20, MIDDLE)
        self.wait(lambda: len(self.drawn()) == 5 and not self.controller.busy)
        self.assertIn("20 slices", self.said())
        self.assertEqual(len(self.client.spans), 1)

    def test_the_next_click_begins_again(self) -> None:
        self.ui.liveButton.click()
        self.click(20, 20, MIDDLE)
        self.wait(lambda: self.controller.busy and MIDDLE + 1 in self.drawn())
        self.click(30, 20, MIDDLE)
        self.wait(lambda: len(self.client.spans) == 2 and not self.controller.busy)
        self.assertEqual(self.kinds(), [("include", MIDDLE)] * 2)
        self.assertEqual(len(self.drawn()), 5)
        self.editor.undo()
        self.wait(lambda: not self.controller.workplace.edits.pending)
        self.assertEqual(len(self.client.spans), 2)

    def test_undo_in_the_middle_stays_undone(self) -> None:
        self.ui.liveButton.click()
        self.click(20, 20, MIDDLE)
        self.wait(lambda: self.controller.busy and MIDDLE + 1 in self.drawn())
        self.editor.undo()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(self.drawn(), [])

    def test_threshold_and_smoothing_hold_for_what_it_draws(self) -> None:
        self.run_()
        with mock.patch.object(self.controller, "redrawRun") as redraw:
            self.ui.liveButton.click()
            self.ui.thresholdSlider.value = 0.3
            self.click(22, 20, MIDDLE)
            self.wait(lambda: redraw.called)
        self.assertEqual(redraw.call_args.args[0], 0.3)

    def test_the_tooltip_says_how_long_a_slice_takes(self) -> None:
        self.assertIn("Key: u", tip(self.ui.liveButton))
        self.assertNotIn("takes", tip(self.ui.liveButton))
        self.run_()
        milliseconds = self.services.sliceMilliseconds
        self.assertGreater(milliseconds, 0)
        self.assertIn(f"A slice takes {round(milliseconds)} ms", tip(self.ui.liveButton))

    def test_where_slices_take_long_it_says_why_it_is_off(self) -> None:
        self.assertIn("is off unless", text.liveText(310.4, True))
        self.assertIn("310 ms", text.liveText(310.4, True))
        self.assertNotIn("off", text.liveText(64.0, False))


if __name__ == "__main__":
    unittest.main()
