"""The tab Cohort: a folder is opened, its cases are loaded into the tab Volume, corrected and accepted."""

from __future__ import annotations

import json
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import qt
import slicer
import slicer.util
from cohortfiles import make_cohort
from medsam2selftest import MIDDLE, SHAPE, PanelTestCase, paintSlice, process, tip

from MedSAM2SlicerLib.ui import cohorttab


class CohortTest(PanelTestCase):
    """Three cases; p1 is the most doubtful one, p0 the least."""

    def setUp(self) -> None:
        super().setUp()
        slicer.mrmlScene.RemoveNode(self.volume)
        self.results = make_cohort(Path(self.folder.name), SHAPE, (0.9, 0.4, 0.6))
        self.widget.tabs.bring("Cohort")
        self.cohort.open(self.results)
        process()

    @property
    def cohort(self) -> Any:
        return self.widget.tabs.tab("Cohort")

    @property
    def tab(self) -> Any:
        return self.widget.tabs.tab("Volume")

    @property
    def bar(self) -> Any:
        return self.cohort.bar

    @property
    def case(self) -> str:
        return str(self.cohort.review.name)

    def column(self, column: int) -> list[str]:
        table = self.cohort.ui.caseTable
        return [table.item(row, column).text() for row in range(table.rowCount)]

    def choose(self, row: int) -> None:
        self.cohort.ui.caseTable.setCurrentCell(row, 0)
        self.cohort.table.chosen.emit(self.column(0)[row])
        process()
        self.volume = self.controller.volumeNode

    def accepted(self) -> list[str]:
        return sorted(path.parent.name for path in self.results.rglob("accepted.json"))

    def test_the_table_has_the_most_doubtful_case_first(self) -> None:
        self.assertEqual(self.column(0), ["p1", "p2", "p0"])
        self.assertEqual(self.column(1), ["to review"] * 3)
        self.assertEqual(self.column(4), ["0.60", "0.40", "0.10"])
        self.assertEqual(self.cohort.ui.countLabel.text, "3 of 3 to review")
        box = self.cohort.ui.filterComboBox
        box.currentIndex = box.findData("doubtful")
        process()
        self.assertEqual(self.column(0), ["p1", "p2"])

    def test_a_case_is_ready_to_be_corrected(self) -> None:
        self.choose(0)
        self.assertIs(self.widget.tabs.front, self.tab)
        self.assertEqual(self.ui.volumeSelector.currentNode().GetName(), "p1")
        slices = self.controller.review.slices()
        self.assertEqual({index: one.state for index, one in slices.items()}, {
            8: "propagated", 9: "propagated", 10: "prompted", 11: "propagated", 12: "propagated",
        })  # fmt: skip
        self.assertEqual(self.panel.choices().bankSize, 8)
        self.assertEqual(len(self.controller.review.prompts()), 1)
        self.look()
        self.prompt(MIDDLE + 1)
        self.wait(lambda: self.controller.review.slices()[MIDDLE + 1].state == "prompted")
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)
        self.assertFalse(any(one.stale for one in self.controller.review.slices().values()))
        self.bar.acceptButton.click()
        self.assertEqual(self.accepted(), ["p1"])
        self.assertTrue((self.results / "p1" / "segmentation.model.seg.nrrd").is_file())
        self.assertIn("p1 is accepted", self.said())

    def test_a_cohort_is_reviewed_with_two_buttons_and_no_dialog(self) -> None:
        seen = []
        for _turn in range(3):
            self.bar.nextButton.click()
            process()
            seen.append(self.case)
            self.bar.acceptButton.click()
        self.bar.nextButton.click()
        self.assertEqual(seen, ["p1", "p2", "p0"])
        self.assertEqual(self.accepted(), ["p0", "p1", "p2"])
        self.assertIn("last case", self.said())
        self.assertEqual(list(self.results.rglob("*.model.seg.nrrd")), [], "Nobody has changed anything.")
        self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")), 1)
        self.wait(lambda: (self.results / "summary.json").is_file())
        summary = json.loads((self.results / "summary.json").read_text(encoding="utf-8"))
        self.assertEqual([one["state"] for one in summary["cases"]], ["accepted"] * 3)

    def test_keys_go_through_the_cases_in_the_tab_volume_too(self) -> None:
        found = slicer.util.findChildren(self.widget.tabs.widget, className="QShortcut")
        keys = {one.key.toString(): one for one in found}
        self.assertLessEqual({"<", ">", "C"}, set(keys))
        self.bar.actions()[">"]()
        self.assertEqual(self.case, "p1")
        self.bar.actions()["c"]()
        self.bar.actions()[">"]()
        self.assertEqual((self.case, self.accepted()), ("p2", ["p1"]))
        self.bar.actions()["<"]()
        self.assertIn("first case", self.said())

    def test_another_model_than_that_of_the_case_is_told(self) -> None:
        report = self.results / "p1" / "report.json"
        text = report.read_text(encoding="utf-8").replace('"model": "starter"', '"model": "own.pt"')
        report.write_text(text, encoding="utf-8")
        self.choose(0)
        self.assertIn("made with the model own.pt", self.said())
        self.choose(1)
        self.assertNotIn("own.pt", self.said())

    def test_a_draft_is_kept_and_can_be_put_aside(self) -> None:
        self.choose(0)
        nodes = self.cohort.review.case.nodes
        paintSlice(nodes.segmentationNode, nodes.segmentIds[0], nodes.volumeNode, 2)
        self.choose(1)
        self.assertEqual(self.column(1)[0], "draft")
        self.assertIn("kept as a draft", self.cohort.ui.messageLabel.text)
        self.assertIn("kept as a draft", self.said())
        self.cohort.ui.caseTable.setCurrentCell(0, 0)
        process()
        self.cohort.ui.startOverButton.click()
        self.assertEqual(self.column(1)[0], "to review")
        self.assertTrue(list((self.results / "replaced" / "p1").rglob("draft.seg.nrrd")))

    def test_a_selection_stays_with_its_case(self) -> None:
        self.choose(0)
        self.bar.acceptButton.click()
        self.cohort.ui.caseTable.setCurrentCell(1, 0)
        self.wait(lambda: (self.results / "summary.json").is_file())
        process()
        self.assertEqual(self.cohort.table.line().name, "p2")
        self.bar.nextButton.click()
        process()
        self.assertEqual((self.case, self.cohort.table.line().name), ("p2", "p2"))
        self.bar.nextButton.click()
        process()
        self.assertEqual((self.case, self.cohort.table.line().name), ("p0", "p0"))

    def test_a_draft_is_kept_now_and_then(self) -> None:
        self.choose(0)
        nodes = self.cohort.review.case.nodes
        paintSlice(nodes.segmentationNode, nodes.segmentIds[0], nodes.volumeNode, 2)
        timer = self.cohort._keeping
        self.assertTrue(timer.active)
        timer.setInterval(1)
        self.wait(lambda: (self.results / "p1" / "draft.json").is_file())
        self.assertEqual(self.column(1)[0], "draft")

    def test_an_acceptance_can_be_taken_back(self) -> None:
        self.choose(0)
        self.assertFalse(self.cohort.ui.takeBackButton.enabled)
        self.bar.acceptButton.click()
        process()
        self.assertTrue(self.cohort.ui.takeBackButton.enabled)
        self.cohort.ui.takeBackButton.click()
        self.assertEqual(self.accepted(), [])

    def test_while_a_propagation_runs_no_case_is_left(self) -> None:
        self.choose(0)
        self.look()
        self.prompt(MIDDLE + 1)
        self.client.paused = True
        self.ui.propagateButton.click()
        self.bar.nextButton.click()
        self.assertEqual(self.case, "p1")
        self.assertIn("Stop it first", self.said())
        self.client.paused = False
        self.wait(lambda: not self.controller.busy)

    def test_a_closed_scene_keeps_a_draft(self) -> None:
        self.choose(0)
        nodes = self.cohort.review.case.nodes
        paintSlice(nodes.segmentationNode, nodes.segmentIds[0], nodes.volumeNode, 2)
        slicer.mrmlScene.Clear()
        process()
        self.assertEqual(self.case, "")
        self.assertFalse(self.bar.acceptButton.enabled)
        self.assertTrue((self.results / "p1" / "draft.json").is_file())

    def test_a_folder_that_is_no_cohort_is_refused(self) -> None:
        self.cohort.open(Path(self.folder.name))
        self.assertIn("holds no cohort", self.cohort.ui.messageLabel.text)
        self.assertEqual(self.column(0), ["p1", "p2", "p0"])

    def test_the_folder_is_asked_for_once(self) -> None:
        with mock.patch.object(qt.QFileDialog, "getExistingDirectory", return_value=str(self.results)) as asked:
            self.cohort.ui.openButton.click()
        self.assertEqual(asked.call_count, 1)

    def test_the_report_is_shown_as_it_is_now(self) -> None:
        self.choose(0)
        self.bar.acceptButton.click()
        with mock.patch("qt.QDesktopServices.openUrl") as openUrl:
            self.cohort.ui.reportButton.click()
        self.assertEqual(openUrl.call_args.args[0].toLocalFile(), str(self.results / "index.html"))
        self.assertIn("1 accepted", (self.results / "index.html").read_text(encoding="utf-8"))

    def test_every_control_explains_itself(self) -> None:
        for name in ("openButton", "reportButton", "filterComboBox", "takeBackButton", "startOverButton"):
            self.assertTrue(tip(getattr(self.cohort.ui, name)), name)
        for button in (self.bar.previousButton, self.bar.acceptButton, self.bar.nextButton):
            self.assertTrue(tip(button))

    def test_nothing_is_left_when_the_module_is_closed(self) -> None:
        self.addCleanup(self.reopen)
        self.choose(0)
        nodes = self.cohort.review.case.nodes
        paintSlice(nodes.segmentationNode, nodes.segmentIds[0], nodes.volumeNode, 2)
        self.widget.cleanup()
        process()
        self.assertTrue((self.results / "p1" / "draft.json").is_file())
        self.assertGreater(cohorttab._REPORT_AFTER, 0)


if __name__ == "__main__":
    unittest.main()
