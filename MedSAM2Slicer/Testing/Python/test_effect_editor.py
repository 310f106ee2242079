"""The effect in Segment Editor: who chooses, undo, keys, trouble, and that nothing of it is left when it is over."""

from __future__ import annotations

import gc
import sys
import unittest
import weakref
from typing import Any
from unittest import mock

import qt
import slicer
import slicer.util
from effectselftest import NAME, EffectTestCase
from medsam2selftest import MIDDLE, paintSlice, process, tip

KEYS = {"a", "x", "d", "m", "s", "p", "u", "return", "enter", "n", "k", "l"}
HAS_OUTER_LOOP = "stand-in" not in slicer.app.applicationVersion


class EditorTest(EffectTestCase):
    def test_metadata(self) -> None:
        self.assertEqual((self.effect.name, self.effect.title), (NAME, "MedSAM-2"))
        self.assertTrue(self.effect.perSegment)
        self.assertTrue(self.effect.requireSegments)
        self.assertFalse(self.effect.self().icon().isNull())
        self.assertIn("Drag", self.effect.self().helpText())
        shown = slicer.util.findChild(self.editor, "EffectHelpBrowser").plainText
        self.assertIn("on one slice…", shown, "Slicer puts an ellipsis behind the first line.")
        self.assertTrue(hasattr(sys.modules["MedSAM2SlicerLib"], "__path__"), "the package was replaced by a file")

    def test_each_editor_has_an_effect_of_its_own(self) -> None:
        other = slicer.qMRMLSegmentEditorWidget()
        self.assertIsNot(other.effectByName(NAME).self(), self.effect.self())
        self.assertIsNone(other.effectByName(NAME).self().face)
        other.deleteLater()

    def test_the_panel_leaves_out_what_the_editor_has(self) -> None:
        hidden = ("sourceFrame",)
        self.assertFalse([name for name in hidden if not getattr(self.ui, name).isHidden()])
        self.assertFalse(self.ui.includeButton.isHidden())
        shortcuts = slicer.util.findChildren(self.face.uiWidget, className="QShortcut")
        self.assertEqual({key.key.toString().lower() for key in shortcuts}, KEYS)

    def test_the_editor_chooses_the_segment(self) -> None:
        self.point()
        self.editor.setCurrentSegmentID(self.otherId)
        process()
        self.assertEqual(self.controller.segmentId, self.otherId)
        self.assertEqual(self.kinds(), [])
        self.click(20, 20, 12)
        self.wait(lambda: self.mask(self.otherId).any())
        self.assertEqual(self.drawn(), [MIDDLE])
        self.editor.setCurrentSegmentID(self.segmentId)
        process()
        self.assertEqual(self.kinds(), [("include", MIDDLE)])

    def test_prompts_of_another_segment_are_hidden_and_catch_no_click(self) -> None:
        self.point()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        color = self.segmentation.GetSegmentation().GetSegment(self.segmentId).GetColor()
        self.assertEqual(node.GetDisplayNode().GetSelectedColor(), color)
        self.editor.setCurrentSegmentID(self.otherId)
        process()
        self.assertFalse(node.GetDisplayVisibility())
        self.click(20, 20, MIDDLE)
        self.wait(lambda: self.mask(self.otherId).any())
        self.assertEqual(self.kinds(), [("include", MIDDLE)])

    def test_prompts_are_locked_without_the_effect_and_shown_by_the_module_too(self) -> None:
        self.point()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        self.assertFalse(node.GetLocked())
        self.leave()
        self.assertTrue(node.GetDisplayVisibility())
        self.assertTrue(node.GetLocked())
        self.widget.enter()
        self.assertFalse(node.GetDisplayVisibility(), "The module works on no segment yet.")
        self.tab.panel.controller.setSegment(self.segmentation, self.segmentId)
        self.assertTrue(node.GetDisplayVisibility())
        self.assertFalse(node.GetLocked())
        self.widget.exit()
        self.activate()
        self.assertFalse(node.GetLocked())

    def test_a_segment_removed_in_the_editor_takes_its_prompts_along_and_undo_brings_both_back(self) -> None:
        self.point()
        node = slicer.mrmlScene.GetNodeByID(self.controller.review.prompts()[0].nodeId)
        self.editor.saveStateForUndo()
        self.segmentation.GetSegmentation().RemoveSegment(self.segmentId)
        process()
        self.assertFalse(node.GetDisplayVisibility())
        self.editor.undo()
        self.editor.setCurrentSegmentID(self.segmentId)
        process()
        self.assertTrue(node.GetDisplayVisibility())
        self.assertEqual(self.kinds(), [("include", MIDDLE)])

    def test_the_editor_chooses_the_volume(self) -> None:
        other = self.addVolume("other")
        self.editor.setSourceVolumeNode(other)
        process()
        self.assertIs(self.controller.volumeNode, other)
        self.editor.setSourceVolumeNode(None)
        process()
        self.assertFalse(self.ui.includeButton.enabled)
        self.click(20, 20, MIDDLE)
        self.assertIn("Choose a volume first.", self.said())

    def test_without_a_segment(self) -> None:
        self.point()
        self.segmentation.GetSegmentation().RemoveSegment(self.segmentId)
        self.node.SetSelectedSegmentID("")
        process()
        if self.effectIsActive():  # Slicer leaves effects that work on a segment then
            self.assertFalse(self.ui.includeButton.enabled)
            self.assertIn("Select a segment", tip(self.ui.includeButton))
            self.click(20, 20, MIDDLE)
            self.assertEqual(self.kinds(), [])

    def test_a_segment_removed_while_running(self) -> None:
        self.start(2)
        self.segmentation.GetSegmentation().RemoveSegment(self.segmentId)
        if self.client.calls[-1].steps and not self.client.calls[-1].isFinished:
            self.client.calls[-1].step()
        process()
        self.assertFalse(self.effectIsActive() and self.controller.busy)

    def test_coming_back_after_another_tool_has_painted_builds_one_panel(self) -> None:
        self.run_()
        widgets = len(self.effect.optionsFrame().children())
        self.leave()
        paintSlice(self.segmentation, self.segmentId, self.volume, 12)
        self.activate()
        self.assertEqual(self.controller.review.edited(), [12])
        self.assertEqual(len(self.effect.optionsFrame().children()), widgets)
        self.leave()
        self.assertIsNone(self.face)

    def test_coming_back_goes_on_in_the_same_session(self) -> None:
        self.run_()
        sessions = set(self.client.sessions)
        self.leave()
        paintSlice(self.segmentation, self.segmentId, self.volume, 12)
        self.activate()
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(set(self.client.sessions), sessions)
        self.assertTrue(self.ui.thresholdSlider.enabled)
        self.effect.self().cleanup()
        self.assertEqual(set(self.client.sessions), set())

    def test_coming_back_with_other_settings_leaves_what_was_drawn_in_peace(self) -> None:
        self.ui.memoryComboBox.currentIndex = self.ui.memoryComboBox.findData("self-sorting")
        self.run_()
        before = {index: one.state for index, one in self.controller.review.slices().items()}
        self.leave()
        self.activate()
        self.assertEqual(self.controller.options.memory, "self-sorting")
        self.assertEqual({index: one.state for index, one in self.controller.review.slices().items()}, before)

    def test_leaving_while_running_ends_once(self) -> None:
        self.start(2)
        face = self.face
        with mock.patch.object(face.controller, "close", wraps=face.controller.close) as close:
            self.leave()
        close.assert_called_once()
        self.assertFalse(self.effectIsActive())

    def test_nodes_removed_while_active(self) -> None:
        self.start(2)
        slicer.mrmlScene.RemoveNode(self.volume)
        process()
        self.assertFalse(self.effectIsActive() and self.controller.busy)
        slicer.mrmlScene.RemoveNode(self.segmentation)
        process()
        self.assertFalse(self.effectIsActive() and self.controller.segmentationNode)

    def test_the_scene_closed_while_running(self) -> None:
        self.start(2)
        slicer.mrmlScene.Clear()
        process()
        self.assertFalse(self.effectIsActive() and self.controller.busy)

    def test_undo_of_the_editor_takes_a_run_back(self) -> None:
        self.point()
        before = self.mask()
        self.panel.actions()["p"]()
        self.wait(lambda: not self.controller.busy)
        after = self.mask()
        self.assertGreater(after.sum(), before.sum())
        self.editor.undo()
        self.assertTrue((self.mask() == before).all())
        self.editor.redo()
        self.assertTrue((self.mask() == after).all())

    def test_undo_while_running(self) -> None:
        self.start(3)
        self.editor.undo()
        self.client.paused = False
        self.wait(lambda: not self.controller.busy)
        self.assertNotIn("⚠", self.said())

    def test_place_mode_of_its_own_keeps_the_effect(self) -> None:
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        self.ui.boxButton.click()
        self.assertEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        self.assertTrue(self.effectIsActive())
        self.click(10, 10, MIDDLE)
        self.click(30, 28, MIDDLE)
        self.wait(lambda: self.drawn())
        self.assertEqual(self.kinds(), [("box", MIDDLE)])
        self.assertTrue(self.ui.includeButton.checked)
        self.point(12)
        interaction.SetCurrentInteractionMode(interaction.Place)
        process()
        self.assertFalse(self.effectIsActive())
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def escape(self, isAutoRepeat: bool = False) -> bool:
        """Press Esc in the main window; return whether it was taken before Slicer's shortcuts."""
        kind, key, none = qt.QEvent.ShortcutOverride, qt.Qt.Key_Escape, qt.Qt.NoModifier
        event = qt.QKeyEvent(kind, key, none, "", isAutoRepeat)
        event.ignore()
        qt.QApplication.sendEvent(slicer.util.mainWindow(), event)
        return bool(event.isAccepted())

    def test_escape_stops_and_keeps_what_is_done(self) -> None:
        self.assertFalse(self.escape())
        self.start(2)
        self.assertTrue(self.escape())
        self.assertFalse(self.controller.busy)
        self.assertEqual(self.drawn(), [MIDDLE, MIDDLE + 1])
        self.assertTrue(self.escape(isAutoRepeat=True))
        self.assertFalse(self.escape(), "Esc once more is Segment Editor's, and leaves the effect.")

    def test_escape_gives_up_a_box(self) -> None:
        self.moveMouse(10, 12, MIDDLE).LeftButtonPressEvent()
        self.moveMouse(25, 25, MIDDLE)
        self.assertTrue(self.escape())
        self.moveMouse(30, 28, MIDDLE).LeftButtonReleaseEvent()
        self.assertEqual(self.kinds(), [])
        self.ui.boxButton.click()
        self.assertTrue(self.escape())
        self.assertFalse(self.face.isPlacing)


class LeavingTest(EffectTestCase):
    def test_nothing_is_built_before_it_is_used(self) -> None:
        self.leave()
        self.assertIsNone(self.face)
        self.assertEqual(self.effect.optionsFrame().layout().count(), 0)

    def test_a_run_ends_and_what_it_drew_stays(self) -> None:
        self.start(2)
        self.leave()
        self.assertEqual(self.drawn(), [MIDDLE, MIDDLE + 1])
        self.client.calls[-1].steps and self.client.calls[-1].step()
        self.assertEqual(self.drawn(), [MIDDLE, MIDDLE + 1])
        self.assertFalse(self.services.closed, "The model stays loaded.")
        self.client.paused = False
        self.activate()
        self.assertEqual(self.kinds(), [("include", MIDDLE)])
        self.effect.self().cleanup()
        self.assertTrue(self.services.closed)

    def test_nothing_is_left_behind(self) -> None:
        self.leave()
        observing: list[Any] = []
        original = slicer.util.VTKObservationMixin.__init__

        def noting(mixin: Any) -> None:
            observing.append(mixin)
            original(mixin)

        interaction = slicer.app.applicationLogic().GetInteractionNode()
        views = list(map(slicer.app.layoutManager().sliceWidget, slicer.app.layoutManager().sliceViewNames()))
        before = self.count()
        with mock.patch.object(slicer.util.VTKObservationMixin, "__init__", noting):
            self.activate()
            self.run_()
            prompts = len(self.kinds())
            self.ui.boxButton.click()
            self.click(10, 10, 5)
            self.moveMouse(10, 12, MIDDLE).LeftButtonPressEvent()
            self.moveMouse(25, 25, MIDDLE)
        actor = self.face.gestures.band.actor
        self.assertGreater(self.count()["shortcuts"], before["shortcuts"])
        self.assertTrue(any(one.Observations for one in observing))
        self.leave()
        self.assertFalse([one for one in observing if one.Observations])
        self.assertFalse([view for view in views if self.effect.renderer(view).HasViewProp(actor)])
        after = self.count()
        self.assertEqual(after.pop("nodes") - before.pop("nodes"), prompts, "Prompts stay, with their display nodes.")
        self.assertEqual(after, before)
        self.assertEqual(interaction.GetCurrentInteractionMode(), interaction.ViewTransform)

    def count(self) -> dict[str, int]:
        """Count what an effect could leave behind."""
        return {
            "shortcuts": len(slicer.util.findChildren(self.editor, className="QShortcut")),
            "widgets": len(self.effect.optionsFrame().children()),
            "nodes": slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode"),
            "others": slicer.mrmlScene.GetNumberOfNodes()
            - slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode")
            - slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsDisplayNode"),
        }

    @unittest.skipIf(HAS_OUTER_LOOP, "Slicer's Qt deletes widgets only in its outermost event loop.")
    def test_nobody_holds_what_is_over(self) -> None:
        """A forgotten observer, timer or connection would."""
        self.run_()
        self.moveMouse(10, 12, MIDDLE)
        gone = [weakref.ref(one) for one in (self.face, self.controller, self.panel, self.face.gestures)]
        self.client.calls.clear()
        self.leave()
        gc.collect()
        self.assertEqual([one() for one in gone], [None] * len(gone))


if __name__ == "__main__":
    unittest.main()
