"""Set-up, models, the worker's command, its log, and the page for bug reports."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import qt
import slicer
from medsam2selftest import MODULE_FOLDER, PanelTestCase, process, tip

from medsam2_core.errors import WeightsError, WorkerError
from medsam2_core.weights.catalog import ModelEntry
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.ui.keptslices import KEEP
from MedSAM2SlicerLib.ui.process import Program
from MedSAM2SlicerLib.ui.services import KEYS, LIVE, PACE, WORKER_COMMAND, Services
from MedSAM2SlicerLib.work.pace import Pace
from MedSAM2SlicerLib.worker.commands import Origin, WorkerCommand

TORONTO = "medsam2-toronto"


def python(code: str, **environment: str) -> WorkerCommand:
    """A program of this test's own."""
    return WorkerCommand(Origin.TYPED, (sys.executable, "-c", code), environment or None)


class SetUpTest(PanelTestCase):
    def lack(self) -> None:
        self.services.missing = "MedSAM-2 needs PyTorch (about 250 MB)."
        self.panel.start()

    def test_banner_is_hidden_where_nothing_is_missing(self) -> None:
        self.assertFalse(self.ui.bannerFrame.visible)

    def test_banner_says_what_is_missing(self) -> None:
        self.lack()
        self.assertTrue(self.ui.bannerFrame.visible)
        self.assertEqual(self.ui.bannerLabel.text, "MedSAM-2 needs PyTorch (about 250 MB).")
        self.assertEqual(tip(self.ui.includeButton), "Set up MedSAM-2 first (see above).")

    def test_set_up(self) -> None:
        self.lack()
        self.services.restart = True
        self.ask.reset_mock()
        with mock.patch("slicer.util.restart") as restart:
            self.ui.setUpButton.click()
        restart.assert_called_once_with()
        self.assertEqual(self.ask.call_count, 2)
        self.assertFalse(self.ui.bannerFrame.visible)
        self.assertTrue(self.ui.includeButton.enabled)

    def test_a_failed_set_up_is_told(self) -> None:
        self.lack()
        self.services.error = WorkerError("PyTorch could not be installed: check the network.")
        self.ui.setUpButton.click()
        self.assertEqual(self.said(), "⚠ PyTorch could not be installed: check the network.")
        self.assertTrue(self.ui.bannerFrame.visible)

    def test_other_python_leads_to_the_worker_command(self) -> None:
        self.lack()
        with mock.patch("qt.QFileDialog.getOpenFileName", return_value=""):
            self.ui.otherPythonButton.click()
        self.assertEqual(self.services.workerText, "")
        with mock.patch("qt.QFileDialog.getOpenFileName", return_value="/opt/with torch/bin/python3"):
            self.ui.otherPythonButton.click()
        self.assertEqual(self.services.workerText, "/opt/with torch/bin/python3")
        self.assertEqual(self.ui.workerCommandEdit.text, "/opt/with torch/bin/python3")


class ModelTest(PanelTestCase):
    def choose(self, model: str) -> None:
        box = self.ui.modelComboBox
        box.currentIndex = box.findData(model)
        self.panel.models.onActivated()

    def file(self) -> Path:
        return self.services.store.folder / self.services.store.catalog[TORONTO].file

    def download(self, code: str) -> None:
        self.services.download = python(code)
        self.choose(TORONTO)
        self.wait(lambda: not self.panel.models.manager.downloading)

    def test_list_says_state_size_and_license(self) -> None:
        box = self.ui.modelComboBox
        self.assertEqual(self.ui.modelNoteLabel.text, "Built in.")
        toronto = box.findData(TORONTO)
        self.assertEqual(box.itemText(toronto), "MedSAM2 (Ma/Wang, Toronto)")
        note = "Not downloaded: 156 MB. Research and education only."
        self.assertEqual(box.itemData(toronto, qt.Qt.ToolTipRole), note)
        self.ask.return_value = False
        self.choose(TORONTO)
        self.assertEqual(self.ui.modelNoteLabel.text, note)

    def test_a_model_that_is_not_here_is_offered(self) -> None:
        self.ask.return_value = False
        self.choose(TORONTO)
        self.assertIn("research and education only", self.ask.call_args.args[0])
        self.assertIn("download it", tip(self.ui.includeButton))
        self.assertFalse(self.panel.models.manager.downloading)

    def test_download_and_remove(self) -> None:
        self.file().parent.mkdir(parents=True)
        self.download(f"print(' 42%|####'); open({str(self.file())!r}, 'w').close()")
        manager = self.panel.models.manager
        self.assertEqual(manager.message.text, "The download is complete.")
        self.assertEqual(self.panel.models.whyNot(), "")
        self.assertEqual(self.ui.modelNoteLabel.text, "Downloaded. Research and education only.")
        row = list(self.services.store.catalog).index(TORONTO)
        manager.table.cellWidget(row, 4).click()
        self.assertFalse(self.file().exists())
        self.assertEqual(manager.message.text, "medsam2-toronto was removed.")
        with mock.patch.object(self.services.store, "remove", side_effect=WeightsError("It is in use.")):
            manager.remove(TORONTO)
        self.assertEqual(manager.message.text, "It is in use.")

    def test_a_failed_download_says_why(self) -> None:
        self.download("import sys; sys.exit('medsam2: There is no network.')")
        self.assertEqual(self.panel.models.manager.message.text, "There is no network.")

    def test_a_download_that_fails_without_a_word(self) -> None:
        self.download("import sys; sys.exit(3)")
        self.assertEqual(self.panel.models.manager.message.text, "no message")
        self.assertFalse(self.panel.models.manager.cancelButton.visible)

    def test_a_download_that_cannot_start(self) -> None:
        self.services.download = WorkerCommand(Origin.TYPED, (str(self.file()),))
        self.choose(TORONTO)
        self.wait(lambda: not self.panel.models.manager.downloading)
        self.assertIn("stopped", self.panel.models.manager.message.text)

    def test_cancel(self) -> None:
        self.services.download = python("print('1%', flush=True); import time; time.sleep(60)")
        self.choose(TORONTO)
        manager = self.panel.models.manager
        self.wait(lambda: manager.bar.value == 1)
        self.assertTrue(manager.cancelButton.visible)
        manager.offer(TORONTO)
        manager.cancelButton.click()
        self.wait(lambda: not manager.downloading)
        self.assertIn("resumes from there", manager.message.text)
        manager.cancel()

    def test_leaving_ends_a_download(self) -> None:
        self.services.download = python("import time; time.sleep(60)")
        self.choose(TORONTO)
        manager = self.panel.models.manager
        self.addCleanup(self.reopen)
        self.widget.cleanup()
        self.assertFalse(manager.downloading)

    def test_program_gets_its_environment(self) -> None:
        heard: list[object] = []
        program = Program(heard.append, heard.append)
        program.start(python("import os; print(os.environ['MEDSAM2_TEST'])", MEDSAM2_TEST="here"))
        self.wait(lambda: len(heard) == 2)
        self.assertEqual([str(heard[0]).strip(), heard[1]], ["here", 0])


class WorkerTest(PanelTestCase):
    def type(self, command: str) -> None:
        self.ui.workerCommandEdit.text = command
        self.panel.support.onCommand()

    def test_worker_command(self) -> None:
        self.type(" ssh gpu-host medsam2 worker ")
        self.assertEqual(self.services.workerText, "ssh gpu-host medsam2 worker")
        self.type("ssh gpu-host medsam2 worker")
        self.services.error = WorkerError("Check the quotes.")
        self.type("'")
        self.assertEqual(self.said(), "⚠ Check the quotes.")
        self.assertEqual(self.services.workerText, "ssh gpu-host medsam2 worker")

    def test_encoded_slices_may_be_kept(self) -> None:
        box = self.ui.keepSlicesComboBox
        self.ui.advancedSection.collapsed = False
        self.assertEqual((box.currentIndex, self.services.keepsSlices), (0, False))
        self.services.warmed.clear()
        for index in (1, 0):
            box.currentIndex = index
            self.panel.support._onKeepSlices()
            self.assertEqual(self.services.keepsSlices, bool(index))
        self.assertEqual(len(self.services.warmed), 2, "The worker starts anew.")
        self.services.noKeeping = "The model runs elsewhere."
        self.type("ssh gpu-host medsam2 worker")
        self.assertFalse(box.enabled)
        self.assertEqual(tip(box), "The model runs elsewhere.")

    def test_log(self) -> None:
        self.assertFalse(self.ui.logButton.enabled)
        self.services.logPath.write_text("Started.", encoding="utf-8")
        self.ui.advancedSection.collapsed = False
        self.assertTrue(self.ui.logButton.enabled)
        with mock.patch("qt.QDesktopServices.openUrl") as openUrl:
            self.ui.logButton.click()
        self.assertEqual(openUrl.call_args.args[0].toLocalFile(), str(self.services.logPath))

    def test_doctor(self) -> None:
        self.ui.doctorButton.click()
        page = self.panel.support.page
        self.assertEqual(page.text.plainText, "MedSAM2Slicer 0.1.0")
        self.assertTrue(qt.QFontInfo(page.text.font).fixedPitch())
        page.copyButton.click()
        self.assertEqual(slicer.app.clipboard().text(), "MedSAM2Slicer 0.1.0")


class ServicesTest(unittest.TestCase):
    """The real services, without starting anything."""

    def setUp(self) -> None:
        settings = qt.QSettings()
        for name in (WORKER_COMMAND, LIVE, PACE, KEEP):
            self.addCleanup(settings.setValue, name, settings.value(name, ""))
            settings.setValue(name, "")
        self.services = Services(MODULE_FOLDER)
        self.addCleanup(self.services.close)

    def test_worker_command_is_kept_and_checked(self) -> None:
        controller = self.services.makeController()
        self.addCleanup(controller.close)
        self.services.setWorkerText("ssh gpu-host medsam2 worker")
        self.assertEqual(Services(MODULE_FOLDER).workerText, "ssh gpu-host medsam2 worker")
        self.assertEqual(self.services.missingText(), "")
        with self.assertRaises(WorkerError):
            self.services.setWorkerText("'")
        self.assertEqual(self.services.workerText, "ssh gpu-host medsam2 worker")

    def test_encoded_slices_are_kept_where_the_user_chose_that(self) -> None:
        with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, MEDSAM2_HOME=home):
            features = Path(home) / "features"
            self.assertIsNone(self.environment())
            self.services.setKeepsSlices(True)
            self.assertTrue(Services(MODULE_FOLDER).keepsSlices)
            self.assertEqual(self.environment()["MEDSAM2_FEATURES"], str(features))
            self.assertEqual(self.environment()["MEDSAM2_HOME"], home)
            self.services.setWorkerText(sys.executable)
            self.assertEqual(self.environment()["MEDSAM2_FEATURES"], str(features))
            features.mkdir()
            for name in ("1.features", "notes.txt"):
                (features / name).touch()
            self.services.setKeepsSlices(False)
            self.assertEqual([path.name for path in features.iterdir()], ["notes.txt"])
            self.assertNotIn("MEDSAM2_FEATURES", self.environment())

    def test_why_encoded_slices_are_not_kept_here(self) -> None:
        self.assertEqual(self.services.whyNotKeepSlices(), "")
        self.services.setKeepsSlices(True)
        with mock.patch.dict(os.environ, MEDSAM2_FEATURES="/data/features"):
            self.assertEqual(self.services.whyNotKeepSlices(), "MEDSAM2_FEATURES says where: /data/features")
            self.services.setWorkerText("")
            self.assertIsNone(self.environment())
        self.services.setWorkerText("ssh gpu-host medsam2 worker")
        self.assertIn("set MEDSAM2_FEATURES to a folder there", self.services.whyNotKeepSlices())
        qt.QSettings().setValue(WORKER_COMMAND, "'")
        self.assertIn("quote", self.services.whyNotKeepSlices())

    def environment(self) -> Any:
        """What the worker would be started in."""
        return self.services.client()._queue._environment

    def test_the_model_is_opened_ahead_but_not_by_a_command_that_was_typed(self) -> None:
        with mock.patch.object(self.services, "client") as client:
            self.services.warm("starter")
            client.return_value.setModel.assert_called_once_with("starter")
            client.return_value.prepare.assert_called_once_with()
            client.return_value.reset_mock()
            self.services.setWorkerText("srun --gres=gpu:1 medsam2 worker")
            self.services.warm("starter")
            client.return_value.prepare.assert_not_called()

    def test_a_key_is_new_three_times(self) -> None:
        settings = qt.QSettings()
        self.addCleanup(settings.setValue, f"{KEYS}/a", settings.value(f"{KEYS}/a", 0))
        settings.setValue(f"{KEYS}/a", 0)
        self.assertEqual([self.services.isKeyNew("a") for _ in range(5)], [True] * 3 + [False] * 2)

    def test_live_is_on_unless_slices_take_long_or_somebody_chose(self) -> None:
        self.assertIsNone(self.services.sliceMilliseconds)
        self.assertTrue(self.services.isLive)
        self.services.notePace(RunOptions(), Pace(first=151.0))
        self.assertEqual(self.services.sliceMilliseconds, 151.0)
        self.assertFalse(self.services.isLive)
        self.services.setLive(True)
        self.assertTrue(Services(MODULE_FOLDER).isLive)
        self.services.notePace(RunOptions(), Pace(first=60.0))
        self.services.setLive(False)
        self.assertFalse(Services(MODULE_FOLDER).isLive)

    def test_the_time_of_a_slice_is_kept_for_the_way_it_was_measured(self) -> None:
        self.services.notePace(RunOptions(), Pace(first=50.0))
        self.services.notePace(RunOptions(), Pace(again=20.0))
        self.assertEqual(Services(MODULE_FOLDER).pace(RunOptions()), Pace(50.0, 20.0))
        self.services.notePace(RunOptions(), Pace())
        self.assertEqual(self.services.pace(RunOptions(model="large.pt")), Pace())
        self.services.notePace(RunOptions(model="large.pt"), Pace(first=900.0))
        self.assertEqual(self.services.pace(RunOptions(model="large.pt")), Pace(first=900.0))
        qt.QSettings().setValue(PACE, "151")  # not what this version writes
        self.assertIsNone(self.services.sliceMilliseconds)

    def test_what_is_missing(self) -> None:
        setup = mock.Mock()
        setup.missing.return_value = []
        setup.ensure.return_value = False
        setup.doctorText.return_value = "page"
        with mock.patch("MedSAM2SlicerLib.ui.services.Setup", return_value=setup):
            services = Services(MODULE_FOLDER)
        self.assertEqual(services.missingText(), "")
        setup.missing.return_value = [mock.Mock(sizeMb=250)]
        setup.missing.return_value[0].name = "torch"
        self.assertIn("PyTorch", services.missingText())
        setup.missing.side_effect = WorkerError("This Python is too old.")
        self.assertEqual(services.missingText(), "This Python is too old.")
        self.assertFalse(services.setUp(lambda _question: True))
        self.assertEqual(services.doctorText(), "page")

    def test_download_command(self) -> None:
        command = self.services.downloadCommand(TORONTO)
        self.assertEqual(command.arguments[-4:], ("models", "download", TORONTO, "--accept-license"))

    def test_catalog_entries_are_what_the_panel_expects(self) -> None:
        self.assertTrue(all(isinstance(one, ModelEntry) for one in self.services.store.catalog.values()))
        process()


if __name__ == "__main__":
    unittest.main()
