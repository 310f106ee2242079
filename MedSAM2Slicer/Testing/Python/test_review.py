"""Drift strip, doubtful slices, accepting and locking, measures."""

from __future__ import annotations

import time
import unittest
from dataclasses import replace
from unittest import mock

import numpy as np
import qt
import slicer
from medsam2selftest import MIDDLE, SHAPE, PanelTestCase, process, tip

from medsam2_core.worker.disagreement import DisagreementMap
from MedSAM2SlicerLib.scene.measures import Measures
from MedSAM2SlicerLib.scene.slicereview import ACCEPTED, EDITED, LOCKED, PROMPTED, PROPAGATED, STATES, SliceReview
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.driftstrip import DriftStrip

ONES = {"origin": PROPAGATED, "areaMm2": 100.0, "direction": "forward"}


def review(index: int, state: str) -> SliceReview:
    """A slice in this state."""
    one = SliceReview(index, 0.8, **ONES)
    if state in (ACCEPTED, LOCKED):
        return SliceReview(index, 0.8, mark=state, **ONES)
    if state in (PROMPTED, EDITED):
        return SliceReview(index, 0.8, **{**ONES, "origin": state})
    return one if state == PROPAGATED else SliceReview(index, 0.8, stale=True, **ONES)


class StripTest(PanelTestCase):
    @property
    def strip(self) -> DriftStrip:
        return self.panel.review.strip

    def send(self, kind: int, slice_: int) -> None:
        """Let the mouse do something on the strip's column of a slice."""
        strip = self.strip
        at = qt.QPointF((slice_ + 0.5) * strip.width / SHAPE[0], 20)
        left = qt.Qt.LeftButton
        event = qt.QMouseEvent(kind, at, at, left, left, qt.Qt.NoModifier)
        strip.mousePressEvent(event) if kind == qt.QEvent.MouseButtonPress else strip.mouseMoveEvent(event)

    def told(self, slice_: int) -> str:
        self.send(qt.QEvent.MouseMove, slice_)
        return tip(self.strip)

    def test_a_click_on_the_strip_goes_to_the_slice(self) -> None:
        self.propagate()
        self.send(qt.QEvent.MouseButtonPress, 3)
        self.assertEqual(self.panel.review.shown, 3)
        self.send(qt.QEvent.MouseButtonPress, 17)
        self.assertEqual(self.panel.review.shown, 17)

    def test_the_strip_says_what_is_under_the_mouse(self) -> None:
        self.propagate()
        self.assertEqual(self.told(MIDDLE), "Slice 10: prompted, confidence 0.90")
        self.assertEqual(self.told(MIDDLE + 1), "Slice 11: propagated, confidence 0.75")
        self.panel.review.goTo(MIDDLE + 1)
        self.ui.lockButton.click()
        self.assertEqual(self.told(MIDDLE + 1), "Slice 11: locked, confidence 0.75")

    def test_the_strip_without_a_propagation(self) -> None:
        self.assertEqual(self.told(4), "Slice 4: not segmented")
        self.assertIsNone(self.strip.sliceAt(-1))
        self.ui.volumeSelector.setCurrentNode(None)
        self.assertIsNone(self.strip.sliceAt(1))
        self.send(qt.QEvent.MouseButtonPress, 4)
        self.assertEqual(self.told(4), "")

    def test_the_strip_is_drawn(self) -> None:
        empty = self.strip.grab().toImage()
        self.propagate()
        self.look(index=4)
        self.panel.tick()
        self.assertNotEqual(self.strip.grab().toImage(), empty)

    def test_no_two_states_look_alike(self) -> None:
        strip = DriftStrip()
        strip.resize(60, 80)
        seen = []
        for count in (1, 60):  # with wide columns, and with columns of a pixel
            for state in STATES:
                for doubtful in ([], [0]):
                    strip.showSlices({0: review(0, state)}, doubtful, count)
                    picture = strip.grab().toImage()
                    self.assertNotIn(picture, seen, (state, doubtful, count))
                    seen.append(picture)

    def test_no_two_states_look_alike_in_gray(self) -> None:
        strip = DriftStrip()
        strip.resize(60, 80)
        seen = []
        for state in STATES:
            strip.showSlices({0: review(0, state)}, [], 6)
            marks = strip.grab().toImage().convertToFormat(qt.QImage.Format_Mono).copy(0, 0, 10, 8)
            grain = strip.grab().toImage().convertToFormat(qt.QImage.Format_Grayscale8).copy(0, 40, 2, 2)
            if state in (PROPAGATED, "stale"):  # these have no mark, but a stale column is dotted
                self.assertEqual(grain.pixel(0, 0) == grain.pixel(1, 0), state == PROPAGATED)
            else:
                self.assertNotIn(marks, seen, state)
                seen.append(marks)


class ReviewTest(PanelTestCase):
    def at(self, index: int) -> str:
        """Go to a slice; returns its state."""
        self.look(index=index)
        self.panel.tick()
        known = self.controller.review.slices().get(index)
        return known.state if known else ""

    def test_next_doubtful(self) -> None:
        self.assertFalse(self.ui.nextDoubtfulButton.enabled)
        self.assertEqual(tip(self.ui.nextDoubtfulButton), "No slice is in doubt.")
        self.propagate()
        doubtful = self.controller.review.doubtful()
        self.assertGreater(len(doubtful), 1)
        self.at(0 if 0 not in doubtful else MIDDLE)
        seen = []
        for _ in doubtful:
            self.ui.nextDoubtfulButton.click()
            process()
            seen.append(self.panel.review.shown)
        self.assertEqual(seen, doubtful, "The worst comes first.")

    def test_accepting_and_locking(self) -> None:
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertEqual(tip(self.ui.lockButton), "There is no segment yet.")
        self.propagate()
        self.at(12)
        self.ui.acceptButton.click()
        self.assertEqual(self.at(12), ACCEPTED)
        self.assertTrue(self.ui.acceptButton.checked)
        self.ui.lockButton.click()
        self.assertEqual(self.at(12), LOCKED)
        self.assertFalse(self.ui.acceptButton.checked)
        self.assertTrue(self.ui.lockButton.checked)
        self.at(13)
        self.assertFalse(self.ui.lockButton.checked, "The buttons show the slice in view.")
        self.at(12)
        self.ui.lockButton.click()
        self.assertEqual(self.at(12), PROPAGATED)

    def test_keys_act_on_the_slice_in_view(self) -> None:
        actions = self.panel.actions()
        actions["k"]()
        actions["l"]()
        actions["n"]()
        self.assertEqual(dict(self.controller.review.slices()), {})
        self.propagate()
        actions["n"]()
        worst = self.controller.review.doubtful()[0]
        self.assertEqual(self.panel.review.shown, worst)
        actions["k"]()
        self.assertEqual(self.controller.review.slices()[worst].state, ACCEPTED)
        self.assertNotIn(worst, self.controller.review.doubtful())
        actions["l"]()
        self.assertEqual(self.controller.review.slices()[worst].state, LOCKED)

    def test_nothing_is_accepted_while_it_runs(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.assertFalse(self.ui.acceptButton.enabled)
        self.assertIn("running", tip(self.ui.lockButton))

    def test_without_a_view_of_the_slices_everything_says_so(self) -> None:
        self.propagate()
        red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        self.addCleanup(red.SetOrientation, "Axial")
        red.SetOrientation("Coronal")
        self.panel.tick()
        whyNot = "No slice view shows the segment's slices: choose a layout with axial slices."
        self.assertEqual(tip(self.ui.acceptButton), whyNot)
        review = self.panel.review
        for act in (review.accept, review.lock, review.nextDoubtful, lambda: review.goTo(3)):
            self.panel.line.forget()
            act()
            self.assertIn(whyNot, self.said())
        self.assertFalse(any(one.mark for one in self.controller.review.slices().values()))

    def test_measures(self) -> None:
        self.propagate()
        name = self.controller.segmentationNode.GetSegmentation().GetSegment(self.controller.segmentId).GetName()
        self.wait(lambda: self.panel.review.summary)
        self.panel.line.forget()
        self.assertTrue(self.said().startswith(f"{name} 0."), self.said())
        self.assertIn(f"mm on slice {MIDDLE}", self.said())
        slicer.mrmlScene.Clear()
        self.wait(lambda: self.said() == "Choose a volume first.")

    def test_measuring_never_holds_up_a_run(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        with mock.patch.object(self.controller.review, "measures", return_value=None) as measures:
            for _ in range(3):
                self.client.calls[-1].step()
            self.panel.review.refresh()
            time.sleep(0.35)
            process()
            measures.assert_not_called()
            self.client.paused = False
            self.wait(lambda: not self.controller.busy)
            self.wait(lambda: measures.called)
            measures.reset_mock()
            for _ in range(10):
                self.controller.reviewed.emit()
            self.wait(lambda: measures.called)
            process()
            self.assertEqual(measures.call_count, 1, "However much changes, it measures a few times a second.")


class DisagreementTest(PanelTestCase):
    def test_the_map_is_shown_and_removed_by_the_button(self) -> None:
        button = self.ui.disagreementButton
        self.propagate()
        self.assertFalse(button.enabled)
        self.assertIn("three axes", tip(button))
        self.client.differing = 0.1
        self.propagate()
        self.assertTrue(button.enabled)
        self.assertIn("yellow for one", tip(button))
        button.click()
        self.client.calls[-1].onDone(DisagreementMap.of([(MIDDLE, np.full(SHAPE[1:], 33, np.uint8))]))
        self.assertTrue(button.checked)
        self.assertEqual(len(slicer.util.getNodes("Segment_1 disagreement")), 1)
        button.click()
        self.assertFalse(button.checked)
        self.assertEqual(len(slicer.util.getNodes("Segment_1 disagreement")), 0)


class TextTest(unittest.TestCase):
    def test_measures(self) -> None:
        measures = Measures(volumeMl=1432.4, longAxisMm=182.3, shortAxisMm=9.84, sliceIndex=88)
        self.assertEqual(
            text.segmentText("liver", measures, {}),
            "liver 1\u00a0432 mL · 182 × 9.8 mm on slice 88",
        )
        self.assertNotIn("slice", text.segmentText("liver", replace(measures, sliceIndex=None), {}))
        self.assertEqual(text.segmentText("liver", Measures(), {}), "")

    def test_where_it_stopped(self) -> None:
        absent = "stopped at slice {}: object absent on 3 slices".format
        stops = {"forward": absent(125), "backward": absent(66)}
        self.assertEqual(text.stopsText(stops), "stopped at 66 and 125: object absent on 3 slices")
        self.assertEqual(
            text.stopsText({"forward": "reached the end", "backward": "stopped at slice 7: too small"}),
            "stopped at 7: too small",
        )
        self.assertEqual(text.stopsText({"forward": "reached the end"}), "")

    def test_a_long_name_loses_its_middle(self) -> None:
        self.assertEqual(text.shortened("left kidney"), "left kidney")
        short = text.shortened("a segment of a very long name, number 12")
        self.assertEqual((len(short), short), (24, "a segment of…, number 12"))

    def test_why_a_slice_is_doubtful(self) -> None:
        unsure = SliceReview(12, 0.6, **ONES)
        self.assertIn("less sure", text.sliceText(12, unsure, True))
        self.assertNotIn("oubtful", text.sliceText(12, unsure, False))
        self.assertIn("differs", text.sliceText(12, SliceReview(12, 0.9, change=0.7, **ONES), True))
        self.assertIn("axes disagree", text.sliceText(12, SliceReview(12, 0.9, disagreement=0.4, **ONES), True))
        self.assertEqual(text.sliceText(3, review(3, EDITED), False), "Slice 3: edited")


if __name__ == "__main__":
    unittest.main()
