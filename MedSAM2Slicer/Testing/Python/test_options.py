"""The choices: what the widgets show, what the controller is told, what is saved."""

from __future__ import annotations

import unittest
from types import SimpleNamespace

import slicer
from medsam2selftest import PanelTestCase

from MedSAM2SlicerLib.scene.measures import milliliters
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.choices import Choices
from MedSAM2SlicerLib.ui.source import Source
from MedSAM2SlicerLib.work.pace import Outlook

OTHERS = Choices(
    model="starter",
    axis="coronal",
    window="-500/1400",
    first=3,
    last=30,
    direction="forward",
    directions="three",
    memory="self-sorting",
    bankSize=4,
    absentSlices=0,
    minAreaMm2=12.5,
    maxAreaChange=50,
    maxDistanceMm=42.5,
    threshold=0.65,
    smoothingMm=2.5,
    largest="3d",
    fillHoles="on",
)


class ChoicesTest(PanelTestCase):
    def pick(self, name: str, value: str) -> None:
        box = getattr(self.ui, name)
        box.currentIndex = box.findData(value)

    def test_what_is_shown_is_what_is_chosen(self) -> None:
        self.assertEqual(self.panel.choices(), Choices())
        self.panel.show(Source(self.volume), OTHERS)
        self.assertEqual(self.panel.choices(), OTHERS)

    def test_the_controller_is_told(self) -> None:
        self.panel.show(Source(self.volume), OTHERS)
        options = self.controller.options
        self.assertEqual((options.stack.axis, options.window, options.memory), (1, "-500/1400", "self-sorting"))
        self.assertEqual((options.first, options.last, options.direction), (3, 31, "forward"))
        self.assertEqual(options.directions, "three")
        self.assertEqual((options.absentSlices, options.minAreaMm2, options.maxAreaChange), (None, 12.5, 0.5))
        self.assertEqual((options.maxDistanceMm, options.inside), (42.5, ""))

    def test_each_control_reaches_the_parameter_node(self) -> None:
        node = self.widget.logic.getParameterNode()
        self.pick("axisComboBox", "sagittal")
        self.assertEqual(node.axis, "sagittal")
        self.assertEqual(self.controller.review.stack.axis, 2)
        self.pick("directionComboBox", "backward")
        self.assertEqual(node.direction, "backward")
        self.pick("windowComboBox", "lung")
        self.assertEqual(self.controller.options.window, "lung")
        self.pick("windowComboBox", "custom")
        self.ui.levelSpinBox.value = 30
        self.ui.widthSpinBox.value = 200
        self.assertEqual(node.window, "30/200")
        self.assertFalse(self.ui.bankSizeSpinBox.enabled)
        self.pick("memoryComboBox", "self-sorting")
        self.assertTrue(self.ui.bankSizeSpinBox.enabled)
        self.ui.bankSizeSpinBox.value = 8
        self.assertEqual(node.bankSize, 8)
        self.ui.absentSlicesSpinBox.value = 5
        self.ui.minAreaSpinBox.value = 4.5
        self.ui.areaChangeSpinBox.value = 30
        self.assertEqual((node.absentSlices, node.minAreaMm2, node.maxAreaChange), (5, 4.5, 30))
        self.ui.maxDistanceSpinBox.value = 60
        self.ui.thresholdSlider.value = 0.4
        self.ui.smoothingSlider.value = 1.5
        self.assertEqual((node.maxDistanceMm, node.threshold, node.smoothingMm), (60, 0.4, 1.5))
        self.pick("largestComboBox", "prompt")
        self.pick("fillHolesComboBox", "on")
        self.assertEqual((node.largest, node.fillHoles), ("prompt", "on"))
        self.assertEqual(self.controller.options.maxDistanceMm, 60)

    def test_staying_inside_another_segment(self) -> None:
        box, node = self.ui.insideComboBox, self.widget.logic.getParameterNode()
        self.assertEqual([box.itemText(index) for index in range(box.count)], ["Anywhere"])
        self.ui.addSegmentButton.click()
        lung = self.controller.segmentId
        self.controller.segmentationNode.GetSegmentation().GetSegment(lung).SetName("lung")
        self.ui.addSegmentButton.click()
        self.assertEqual([box.itemText(index) for index in range(box.count)], ["Anywhere", "lung"])
        self.pick("insideComboBox", lung)
        self.assertEqual((node.inside, self.controller.options.inside), (lung, lung))
        self.ui.segmentSelector.setCurrentSegmentID(lung)  # which cannot be drawn inside itself
        self.assertEqual((node.inside, self.controller.options.inside), ("", ""))

    def test_staying_inside_an_roi(self) -> None:
        box, node = self.ui.insideComboBox, self.widget.logic.getParameterNode()
        self.ui.boxButton.click()
        self.click(10, 10, 10)
        self.click(30, 28, 10)  # a prompt, which is no region
        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "chest")
        self.wait(lambda: box.count == 2)
        self.assertEqual(box.itemText(1), "chest (ROI)")
        self.pick("insideComboBox", roi.GetID())
        self.assertEqual((node.inside, self.controller.options.inside), (roi.GetID(), roi.GetID()))
        roi.SetName("thorax")
        self.wait(lambda: box.itemText(1) == "thorax (ROI)")
        self.assertEqual(self.controller.options.inside, roi.GetID())
        slicer.mrmlScene.RemoveNode(roi)
        self.wait(lambda: box.count == 1)
        self.assertEqual((node.inside, self.controller.options.inside), ("", ""))

    def test_a_whole_range_stays_whole_on_another_volume(self) -> None:
        self.assertEqual((self.ui.rangeWidget.minimumValue, self.ui.rangeWidget.maximumValue), (0, 19))
        self.pick("axisComboBox", "coronal")
        self.assertEqual((self.ui.rangeWidget.minimumValue, self.ui.rangeWidget.maximumValue), (0, 39))
        self.assertEqual((self.panel.choices().first, self.panel.choices().last), (-1, -1))
        self.ui.volumeSelector.setCurrentNode(None)
        self.assertFalse(self.ui.rangeWidget.enabled)
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.assertEqual(self.ui.rangeWidget.maximumValue, 39)

    def test_a_range_belongs_to_its_volume_and_direction(self) -> None:
        self.ui.rangeWidget.setValues(4, 12)
        self.assertEqual((self.controller.options.first, self.controller.options.last), (4, 13))
        other = self.addVolume("MR")
        self.ui.volumeSelector.setCurrentNode(other)
        self.assertEqual((self.ui.rangeWidget.minimumValue, self.ui.rangeWidget.maximumValue), (0, 19))
        self.assertEqual((self.controller.options.first, self.controller.options.last), (None, None))
        self.ui.rangeWidget.setValues(5, 9)
        self.pick("axisComboBox", "coronal")
        self.assertEqual((self.panel.choices().first, self.panel.choices().last), (-1, -1))
        self.assertEqual((self.controller.options.first, self.controller.options.last), (None, None))

    def test_an_unknown_choice_of_another_version_becomes_the_default(self) -> None:
        node = self.widget.logic.getParameterNode()
        node.direction = "sideways"
        self.assertEqual(self.panel.choices().direction, "both")

    def test_a_model_of_ones_own(self) -> None:
        node = self.widget.logic.getParameterNode()
        node.model = "/somewhere/tuned.pt"
        self.assertEqual(self.controller.options.model, "/somewhere/tuned.pt")
        self.assertEqual(self.panel.models.whyNot(), "")


class TextTest(unittest.TestCase):
    def test_numbers(self) -> None:
        self.assertEqual(text.megabytes(None), "unknown size")
        self.assertEqual(text.megabytes(156_008_466), "156 MB")
        self.assertEqual(milliliters(1432.4), "1\u00a0432 mL")
        self.assertEqual(milliliters(3.14159), "3.14 mL")

    def test_progress(self) -> None:
        progress = SimpleNamespace(done=48, planned=84, slicesPerSecond=12.0, secondsLeft=3.0)
        self.assertEqual(text.progressText(progress), "48/84 · 12/s · 3 s left")
        progress = SimpleNamespace(done=0, planned=84, slicesPerSecond=0.0, secondsLeft=None)
        self.assertEqual(text.progressText(progress), "0/84")
        progress = SimpleNamespace(done=1, planned=900, slicesPerSecond=0.51, secondsLeft=1750.0)
        self.assertEqual(text.progressText(progress), "1/900 · 0.5/s · 30 min left")

    def test_outlook(self) -> None:
        self.assertEqual(text.outlookText(None), "")
        self.assertEqual(text.outlookText(Outlook(1, 132, 1, None, True)), "")
        self.assertEqual(text.outlookText(Outlook(1, 0, 1, 0.0, False)), "")
        self.assertEqual(text.outlookText(Outlook(1, 1, 1, 0.05, False)), "1 slice: about 1 s on this machine.")
        said = text.outlookText(Outlook(8, 1056, 3, 153.0, True))
        self.assertIn("Up to 1056 slices in 8 segments, along 3 axes: at most about 3 min on this machine", said)


if __name__ == "__main__":
    unittest.main()
