"""The module as a whole: opening, leaving, scenes, reloading, scripts."""

from __future__ import annotations

import gc
import sys
import unittest
import weakref
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
from medsam2selftest import MIDDLE, SHAPE, PanelTestCase, controls, process, tip

KEYS = {"a", "x", "d", "m", "s", "p", "u", "return", "enter", "n", "k", "l", "esc"}


def shortcuts(widget: object) -> set[str]:
    return {key.key.toString().lower() for key in slicer.util.findChildren(widget, className="QShortcut")}


class ModuleTest(PanelTestCase):
    def test_metadata(self) -> None:
        module = slicer.modules.medsam2slicer
        self.assertEqual(module.title, "MedSAM2Slicer")
        self.assertEqual(list(module.categories), ["Segmentation"])
        self.assertIn("2408.00874", module.acknowledgementText)
        self.assertIn("Toronto", module.acknowledgementText)

    def test_nothing_heavy_is_loaded(self) -> None:
        self.assertNotIn("torch", sys.modules)

    def test_keys_live_only_while_the_module_is_open(self) -> None:
        self.assertEqual(shortcuts(self.tab.widget), KEYS)
        self.widget.exit()
        process()
        self.assertEqual(shortcuts(self.tab.widget), set())
        self.widget.enter()
        self.assertEqual(shortcuts(self.tab.widget), KEYS)

    def test_every_control_explains_itself(self) -> None:
        for name in controls("MedSAM2Slicer.ui"):
            control = getattr(self.ui, name)
            self.assertTrue(control.toolTip, name)
            self.assertTrue(control.accessibleName, name)

    def test_a_segmentation_of_another_grid_is_said_at_once_and_no_longer_than_it_holds(self) -> None:
        self.prompt()
        self.volume.SetSpacing(0.5, 0.5, 1)
        reason = "drawn on a different grid"
        self.wait(lambda: reason in tip(self.ui.includeButton))
        self.assertFalse(self.ui.includeButton.enabled)
        self.assertFalse(self.ui.propagateButton.enabled)
        self.volume.SetSpacing(1, 1, 1)
        self.wait(lambda: self.ui.includeButton.enabled)
        self.assertNotIn(reason, tip(self.ui.includeButton))

    def test_works_without_a_volume(self) -> None:
        self.ui.volumeSelector.setCurrentNode(None)
        with mock.patch("qt.QFileDialog.getOpenFileName", return_value=""):
            for control in (getattr(self.ui, name) for name in controls("MedSAM2Slicer.ui") if name.endswith("Button")):
                if hasattr(control, "click") and control.enabled:
                    control.click()
                    process()
        self.ui.rangeFrame.hide()
        self.panel.models.manager.dialog.close()
        for action in self.panel.actions().values():
            action()
        self.assertFalse(self.ui.includeButton.enabled)
        self.assertEqual(tip(self.ui.includeButton), "Choose a volume first.")
        self.assertEqual(tip(self.ui.propagateButton), "Choose a volume first.")

    def test_first_volume_is_chosen(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "not to segment")
        volume = self.addVolume("only one")
        self.widget.enter()
        self.assertIs(self.controller.volumeNode, volume)

    def test_closing_the_scene_empties_the_panel(self) -> None:
        self.propagate()
        slicer.mrmlScene.Clear()
        process()
        self.assertIsNone(self.controller.volumeNode)
        self.assertEqual(self.controller.review.slices(), {})
        self.assertEqual(self.ui.promptTable.rowCount, 0)
        self.volume = self.addVolume()
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.propagate()
        self.assertEqual(len(self.controller.review.slices()), SHAPE[0])

    def test_closing_the_scene_while_running(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        self.assertTrue(self.controller.busy)
        slicer.mrmlScene.Clear()
        process()
        self.assertFalse(self.controller.busy)
        self.assertIn("scene was closed", self.said())

    def test_removing_the_volume_while_running(self) -> None:
        self.prompt()
        self.client.paused = True
        self.ui.propagateButton.click()
        slicer.mrmlScene.RemoveNode(self.volume)
        process()
        self.assertFalse(self.controller.busy)
        self.assertIsNone(self.controller.volumeNode)
        self.assertFalse(self.ui.stopButton.enabled)

    def test_leaving_the_module_lets_a_run_go_on(self) -> None:
        self.prompt()
        self.ui.propagateButton.click()
        self.widget.exit()
        self.wait(lambda: not self.controller.busy)
        self.assertEqual(len(self.controller.review.slices()), SHAPE[0])
        self.assertFalse(self.panel.ticking)

    def test_choices_are_saved_with_the_scene(self) -> None:
        self.ui.axisComboBox.currentIndex = self.ui.axisComboBox.findData("axial")
        self.ui.rangeWidget.setValues(4, 12)
        self.propagate()
        inside = self.controller.segmentId
        self.ui.addSegmentButton.click()
        self.ui.insideComboBox.currentIndex = self.ui.insideComboBox.findData(inside)
        self.ui.maxDistanceSpinBox.value = 40
        segmentation = self.controller.segmentationNode
        segmentationName = segmentation.GetName()
        segmentation.AddDefaultStorageNode(str(Path(self.folder.name) / "result.seg.nrrd"))
        segmentation.GetStorageNode().WriteData(segmentation)
        path = str(Path(self.folder.name) / "scene.mrml")
        slicer.mrmlScene.SetURL(path)
        slicer.mrmlScene.Commit(path)
        slicer.mrmlScene.Clear()
        process()
        self.assertEqual(self.panel.choices().axis, "auto")
        slicer.mrmlScene.SetURL(path)
        slicer.mrmlScene.Connect()
        process()
        self.assertEqual(self.panel.choices().axis, "axial")
        node = self.widget.logic.getParameterNode()
        self.assertEqual((node.first, node.last, node.maxDistanceMm), (4, 12, 40))
        self.assertEqual(node.inside, inside)
        self.assertEqual(self.controller.options.inside, inside)
        self.assertEqual(self.panel.source.source().volume.GetName(), "CT")
        self.leaveAndEnter()
        self.assertEqual(self.panel.source.source().segmentation.GetName(), segmentationName)
        node = self.widget.logic.getParameterNode()
        self.assertEqual(node.segmentation.GetName(), segmentationName, "The next save has it too.")
        self.assertEqual((node.inside, self.controller.options.inside), (inside, inside))

    def test_coming_back_leaves_no_parameter_node_behind(self) -> None:
        before = weakref.ref(self.tab._parameterNode)
        self.leaveAndEnter()
        gc.collect()
        self.assertIsNone(before())

    def test_leaving_without_tabs_does_nothing(self) -> None:
        self.addCleanup(self.reopen)
        self.widget.cleanup()
        self.widget.exit()
        self.assertIsNone(self.widget.tabs)

    def leaveAndEnter(self) -> None:
        """Go to another module and come back."""
        self.widget.exit()
        process()
        self.widget.enter()
        process()

    def test_a_script_can_set_the_parameter_node(self) -> None:
        other = self.addVolume("other")
        node = self.widget.logic.getParameterNode()
        node.volume = other
        node.direction = "forward"
        self.assertIs(self.controller.volumeNode, other)
        self.assertEqual(self.controller.options.direction, "forward")

    def test_reload(self) -> None:
        self.propagate()
        slicer.util.reloadScriptedModule("MedSAM2Slicer")
        process()
        widget = slicer.util.getModuleWidget("MedSAM2Slicer")
        self.assertIsNot(widget, self.widget)
        self.assertIs(widget.tabs.front.panel.controller.volumeNode, self.volume)
        self.assertEqual(shortcuts(widget.tabs.front.widget), KEYS)
        widget.exit()
        self.assertTrue(self.services.closed)
        self.widget = widget

    def test_the_logic_hands_on_to_the_console(self) -> None:
        logic = self.widget.logic
        with mock.patch("MedSAM2SlicerLib.console.process", return_value="segmentation") as process_:
            made = logic.process(self.volume, points=[(1, 2, 3)], window="lung", range=(2, 8))
        self.assertEqual(made, "segmentation")
        given = process_.call_args
        self.assertIs(given.args[1], self.volume)
        self.assertEqual(given.kwargs["range"], (2, 8))
        self.assertEqual(given.kwargs["points"], [(1, 2, 3)])
        with mock.patch("MedSAM2SlicerLib.console.process") as again:
            logic.process(self.volume)
        self.assertIs(again.call_args.args[0], given.args[0])

    def test_sample_data_and_self_test_are_handed_on(self) -> None:
        module = sys.modules["MedSAM2Slicer"]
        with mock.patch("MedSAM2SlicerLib.sampledata.registerSampleData") as register:
            module.registerSampleData()
        register.assert_called_once_with()
        for wasSuccessful in (True, False):
            result = mock.Mock(failures=[], errors=[1], wasSuccessful=lambda now=wasSuccessful: now)
            with mock.patch("unittest.TextTestRunner") as runner, mock.patch("unittest.TestLoader") as loader:
                runner.return_value.run.return_value = result
                if wasSuccessful:
                    module.MedSAM2SlicerTest().runTest()
                else:
                    self.assertRaises(AssertionError, module.MedSAM2SlicerTest().runTest)
            self.assertIn("Testing", loader.return_value.discover.call_args.args[0])

    def test_a_single_slice(self) -> None:
        voxels = np.zeros((1, 20, 20), np.int16)
        self.ui.volumeSelector.setCurrentNode(slicer.util.addVolumeFromArray(voxels, name="X-ray"))
        self.panel.tick()
        self.assertEqual(self.panel.review.shown, 0)

    def test_thumbnail_and_marker_follow_the_view(self) -> None:
        self.ui.advancedSection.collapsed = False
        self.look(index=5)
        self.panel.tick()
        self.assertFalse(self.ui.thumbnailLabel.pixmap.isNull())
        before = self.ui.thumbnailLabel.pixmap.toImage()
        self.look(index=MIDDLE)
        self.panel.tick()
        self.assertNotEqual(self.ui.thumbnailLabel.pixmap.toImage(), before)
        self.ui.volumeSelector.setCurrentNode(None)
        self.panel.tick()
        self.assertEqual(self.ui.thumbnailLabel.text, "No slice is in view.")


class KeyTest(PanelTestCase):
    def test_keys_do_what_the_buttons_do(self) -> None:
        actions = self.panel.actions()
        actions["a"]()
        self.assertTrue(self.ui.includeButton.checked)
        actions["x"]()
        self.assertTrue(self.ui.excludeButton.checked)
        self.assertFalse(self.ui.includeButton.checked)
        actions["d"]()
        self.assertTrue(self.ui.boxButton.checked)
        actions["m"]()
        self.assertTrue(self.ui.moreButton.checked)
        self.assertEqual(self.ui.moreButton.text, "Line m")
        actions["Esc"]()
        self.assertFalse(self.ui.moreButton.checked)
        self.assertEqual(self.ui.moreButton.text, "More")
        self.prompt()
        self.client.paused = True
        actions["p"]()
        self.assertTrue(self.controller.busy)
        actions["Esc"]()
        self.assertFalse(self.controller.busy)

    def test_the_first_times_a_key_says_in_the_view_what_it_does(self) -> None:
        self.services.newKeys = {"x"}
        self.prompt()
        for key in ("a", "x"):
            with mock.patch.object(self.panel.inView, "show") as show:
                self.panel.actions()[key]()
            said = [call.args[0] for call in show.call_args_list]
            self.assertEqual(said, ["x: clicks exclude"] * (key == "x"))

    def test_a_click_in_a_view_takes_the_keys_from_what_had_the_focus(self) -> None:
        self.tab.shortcuts.follow(self.ui.bankSizeSpinBox)
        self.assertEqual(self.silent(), KEYS - {"esc"})
        self.prompt()
        self.assertEqual(self.silent(), set())

    def test_enter_propagates_too(self) -> None:
        self.prompt()
        self.client.paused = True
        for key in ("Return", "Enter"):
            self.panel.actions()[key]()
            self.assertTrue(self.controller.busy)
            self.panel.escape()

    def test_keys_are_left_to_what_takes_text_or_selects_by_letter(self) -> None:
        self.tab.shortcuts.follow(None)
        self.assertEqual(self.silent(), set())
        takers = (self.ui.workerCommandEdit, self.ui.bankSizeSpinBox, self.ui.windowComboBox, self.ui.promptTable)
        for taker in takers:
            self.tab.shortcuts.follow(taker)
            self.assertEqual(self.silent(), KEYS - {"esc"})
        self.tab.shortcuts.follow(self.ui.propagateButton)
        self.assertEqual(self.silent(), set())

    def test_keys_follow_the_focus(self) -> None:
        slicer.util.mainWindow().activateWindow()
        process()
        if not slicer.util.mainWindow().isActiveWindow:
            self.skipTest("No window manager gives this window the focus.")
        self.ui.advancedSection.collapsed = False
        self.ui.workerCommandEdit.setFocus()
        self.wait(lambda: self.silent() == KEYS - {"esc"})
        self.ui.propagateButton.setFocus()
        self.ui.workerCommandEdit.clearFocus()
        self.wait(lambda: self.silent() == set())

    def silent(self) -> set[str]:
        """The keys that do nothing."""
        found = slicer.util.findChildren(self.tab.widget, className="QShortcut")
        return {key.key.toString().lower() for key in found if not key.enabled}


if __name__ == "__main__":
    unittest.main()
