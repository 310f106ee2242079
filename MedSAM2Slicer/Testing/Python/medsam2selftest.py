"""What the self tests share. They run in Slicer, and under Testing/standin where there is none.

In Slicer: the module's Test button in developer mode, or
`Slicer --testing --additional-module-paths MedSAM2Slicer --python-code "import slicer.testing;
slicer.testing.runUnitTest(['MedSAM2Slicer/Testing/Python'], 'test_prompts')"`.
"""

from __future__ import annotations

import html
import logging
import re
import sys
import tempfile
import time
import traceback
import unittest
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import slicer
import slicer.util
import vtk

MODULE_FOLDER = Path(__file__).resolve().parents[2]
for folder in (MODULE_FOLDER, MODULE_FOLDER / "Testing" / "support"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from fakeclient import FakeClient  # noqa: E402 (from a folder just added)

from medsam2_core.weights.store import WeightsStore  # noqa: E402
from MedSAM2SlicerLib.controller import Controller  # noqa: E402
from MedSAM2SlicerLib.options import RunOptions  # noqa: E402
from MedSAM2SlicerLib.scene.geometry import ijkToWorld  # noqa: E402
from MedSAM2SlicerLib.scene.segments import SegmentWriter  # noqa: E402
from MedSAM2SlicerLib.work.pace import KnownPaces  # noqa: E402

SHAPE = (20, 40, 44)  # slices, rows, columns of the volume, in voxels of 1 mm
MIDDLE = 10
_CONTROLS = ("Button", "ComboBox", "SpinBox", "Slider", "Edit", "elector", "rangeWidget", "Table")
TURNS = 15_000  # of the event loop, 30 s at least, before a test gives up


class InstantClient(FakeClient):
    """Answers from `tick`, which the panel's timer calls: a preview at once, a propagation slice by slice."""

    def __init__(self) -> None:
        super().__init__((0, 0), middle=MIDDLE)
        self.paused = False
        self.error: Exception | None = None
        self.stopped = False

    def setVolume(self, key: str, volume: Any) -> None:
        super().setVolume(key, volume)
        self.volumeShape = volume.geometry.shape_kji

    def openSession(self, key: str, *settings: Any) -> None:
        super().openSession(key, *settings)
        axis = settings[1]
        self.shape = tuple(np.delete(self.volumeShape, axis))

    def predict(self, session: str, index: int, *rest: Any) -> Any:
        self.index = index
        return super().predict(session, index, *rest)

    def redraw(self, *request: Any) -> Any:
        call = super().redraw(*request)
        call.cut = self.cut
        return call

    def tick(self) -> None:
        super().tick()
        call = self.calls[-1] if self.calls else None
        if call is None or call.isFinished or self.paused:
            return
        if self.error:
            call.fail(self.error)
        elif hasattr(call, "cut"):
            self.redrawn(self.mask)
        elif call.steps:
            call.step()
            if not call.steps and not call.isFinished:
                call.finish()
        else:
            self.answer(self.index)


class FakeServices:
    """Services that install nothing, download nothing and start no process: `worker` is the client of theirs."""

    def __init__(self, folder: Path, worker: FakeClient) -> None:
        self.worker = worker
        self.store = WeightsStore(folder / "models")
        self.logPath = folder / "worker.log"
        self.workerText = ""
        self.keepsSlices, self.noKeeping = False, ""
        self.isModelOpen = True
        self.isLive = self.isSlow = self.isWarming = False
        self.newKeys: set[str] = set()
        paces = KnownPaces()
        self.pace, self.notePace = paces.pace, paces.notePace
        self.warmed: list[str] = []
        self.missing = ""
        self.questions: list[str] = []
        self.error: Exception | None = None
        self.restart = False
        self.download: Any = None
        self.closed = False

    def client(self) -> FakeClient:
        return self.worker

    def makeController(self, editorNode: Any = None, history: Any = None, workplace: Any = None) -> Controller:
        return Controller(self.worker, editorNode, history, workplace, self)

    def setWorkerText(self, text: str) -> None:
        if self.error:
            raise self.error
        self.workerText = text

    def setKeepsSlices(self, isOn: bool) -> None:
        self.keepsSlices = isOn

    def whyNotKeepSlices(self) -> str:
        return self.noKeeping

    def missingText(self) -> str:
        return self.missing

    def setLive(self, isOn: bool) -> None:
        self.isLive = isOn

    @property
    def sliceMilliseconds(self) -> float | None:
        return self.pace(RunOptions()).first

    def warm(self, model: str) -> bool:
        self.warmed.append(model)
        return True

    def isKeyNew(self, key: str) -> bool:
        return key in self.newKeys

    def setUp(self, ask: Callable[[str], bool]) -> bool:
        if self.error:
            raise self.error
        ask("PyTorch: 250 MB. Install?")
        self.missing = ""
        return self.restart

    def doctorText(self) -> str:
        return "MedSAM2Slicer 0.1.0"

    def downloadCommand(self, _model: str) -> Any:
        return self.download

    def close(self) -> None:
        self.closed = True


class FaultLog(logging.Handler):
    """Collects what the log is told of MedSAM2Slicer, and the tracebacks of all exceptions there."""

    def __init__(self, level: int = logging.ERROR) -> None:
        super().__init__(level)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.texts.append("".join(traceback.format_exception(*record.exc_info)))
        elif "MedSAM2" in record.name + record.pathname + record.getMessage():
            self.texts.append(f"{record.levelname}: {record.getMessage()}")


class PanelTestCase(unittest.TestCase):
    """The module is open on a volume, with a worker that finds a square around slice 10."""

    def setUp(self) -> None:
        self.faults = FaultLog()
        logging.getLogger("MedSAM2Slicer").addHandler(self.faults)
        logging.getLogger("MedSAM2Slicer").propagate = False  # what a test expects is no error in Slicer's log
        self.addCleanup(self.checkFaults)
        slicer.mrmlScene.Clear()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        # Slicer's own answer in testing mode is meant to be yes, but comes out as no.
        patch = mock.patch("slicer.util.confirmOkCancelDisplay", return_value=True)
        self.ask = patch.start()
        self.addCleanup(patch.stop)
        slicer.util.selectModule("MedSAM2Slicer")
        self.widget = slicer.util.getModuleWidget("MedSAM2Slicer")
        self.client = InstantClient()
        self.services = FakeServices(Path(self.folder.name), self.client)
        self.use(self.services)
        self.volume = self.addVolume()
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.look()

    def tearDown(self) -> None:
        if self.widget.tabs:  # where a test failed between cleaning up and building again, there are none
            self.widget.exit()
        slicer.mrmlScene.Clear()
        process()

    def checkFaults(self) -> None:
        """Fail if a handler raised, and the test did not expect it by clearing `faults.texts`."""
        logging.getLogger("MedSAM2Slicer").removeHandler(self.faults)
        logging.getLogger("MedSAM2Slicer").propagate = True
        self.assertEqual(self.faults.texts, [])

    def reopen(self) -> None:
        """Build the tabs again after the module was cleaned up."""
        self.widget.setup()
        self.widget.enter()

    def use(self, services: Any) -> None:
        self.widget.useServices(services)
        self.widget.enter()

    @property
    def tab(self) -> Any:
        return self.widget.tabs.front

    @property
    def ui(self) -> Any:
        return self.tab.ui

    @property
    def panel(self) -> Any:
        return self.tab.panel

    @property
    def controller(self) -> Any:
        return self.panel.controller

    def addVolume(self, name: str = "CT") -> Any:
        voxels = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
        return slicer.util.addVolumeFromArray(voxels, name=name)

    def look(self, view: str = "Red", index: int = MIDDLE) -> Any:
        """Show the volume's middle in all views, and this slice in the red one."""
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames():
            node = manager.sliceWidget(name).mrmlSliceNode()
            columns, rows, _depth = node.GetDimensions()
            scale = 64 / max(min(columns, rows), 1)  # mm a pixel: the volume fills the view
            node.SetFieldOfView(columns * scale, rows * scale, 1)
            node.JumpSliceByCentering(*self.world(SHAPE[2] // 2, SHAPE[1] // 2, index))
        process()
        return manager.sliceWidget(view)

    def world(self, i: float, j: float, k: float) -> list[float]:
        return [float(value) for value in ijkToWorld(self.volume, [[i, j, k]])[0]]

    def click(self, i: float, j: float, k: float, view: str = "Red", button: str = "Left") -> None:
        """Click on a voxel in a view."""
        interactor = self.moveMouse(i, j, k, view)
        getattr(interactor, f"{button}ButtonPressEvent")()
        getattr(interactor, f"{button}ButtonReleaseEvent")()
        process()

    def drag(self, start: Sequence[float], end: Sequence[float], view: str = "Red") -> None:
        """Press the left button on a voxel (i, j, k), move to another of its slice and release the button there."""
        self.moveMouse(*start, view).LeftButtonPressEvent()
        self.moveMouse(*end, view).LeftButtonReleaseEvent()
        process()

    def tilt(self, view: str, degrees: float) -> Any:
        """Turn a view about its own x axis, as Slicer's reformat controls do; returns its node."""
        node = slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
        turn = vtk.vtkTransform()
        turn.SetMatrix(node.GetSliceToRAS())
        turn.RotateX(degrees)
        node.GetSliceToRAS().DeepCopy(turn.GetMatrix())
        node.UpdateMatrices()
        process()
        return node

    def moveMouse(self, i: float, j: float, k: float, view: str = "Red") -> Any:
        """Show a voxel's slice in a view and move the mouse onto the voxel; returns the view's interactor."""
        widget = slicer.app.layoutManager().sliceWidget(view)
        node = widget.mrmlSliceNode()
        node.JumpSliceByOffsetting(*self.world(i, j, k))
        process()
        toView = np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()))
        x, y = np.rint(toView @ [*self.world(i, j, k), 1])[:2].astype(int)
        interactor = widget.sliceView().interactor()
        interactor.SetEventPosition(int(x), int(y))
        interactor.MouseMoveEvent()
        return interactor

    def prompt(self, k: int = MIDDLE) -> None:
        """Put an include point into a slice and wait for its mask."""
        self.ui.includeButton.click()
        self.click(20, 20, k)
        self.panel.prompts.stopPlacing()
        self.wait(lambda: self.panel.controller.review.slices())

    def propagate(self) -> None:
        """Propagate a prompt through all slices."""
        self.prompt()
        self.ui.propagateButton.click()
        self.wait(lambda: not self.controller.busy)

    def wait(self, reached: Callable[[], Any], turns: int = TURNS) -> None:
        """Let the application work until something is so. A busy machine takes longer for as many turns."""
        for _ in range(turns):
            if reached():
                return
            process()
            time.sleep(0.002)
        self.fail("What this test waits for did not come.")

    def more(self, name: str) -> Any:
        """The entry of the menu More that begins so, once the menu is filled."""
        menu = self.panel.prompts.more
        menu.fill()
        return next(action for action in menu.menu.actions() if action.text.startswith(name))

    def said(self) -> str:
        return str(self.ui.messageLabel.text)


def controls(uiFile: str) -> list[str]:
    """The controls that a .ui file of ours names; the widgets made of it have some more inside."""
    text = (MODULE_FOLDER / "Resources/UI" / uiFile).read_text(encoding="utf-8")
    return [name for name in re.findall(r'<widget class="\w+" name="(\w+)"', text) if name.endswith(_CONTROLS)]


def tip(widget: Any) -> str:
    """A widget's tooltip, which Slicer has turned into rich text."""
    return html.unescape(re.sub("<[^>]+>", "", widget.toolTip))


def paintSlice(segmentation: Any, segmentId: str, volume: Any, index: int) -> None:
    """Fill a slice of a segment, past the controller, as another tool does."""
    writer = SegmentWriter(segmentation, segmentId, volume)
    writer.begin()
    writer.writeSlices({index: np.ones(SHAPE[1:], bool)}, 0)
    writer.end()


def process() -> None:
    """Let the application work off what is due."""
    slicer.app.processEvents()
