"""What the panel needs beside the controller: the worker's settings, what is installed, and the models on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer

from medsam2_core.errors import WorkerError
from medsam2_core.weights.store import WeightsStore
from MedSAM2SlicerLib.setup.installing import Setup, SlicerHost, banner
from MedSAM2SlicerLib.ui.keptslices import KeptSlices
from MedSAM2SlicerLib.work.pace import Pace
from MedSAM2SlicerLib.worker.callqueue import State
from MedSAM2SlicerLib.worker.commands import Origin, WorkerCommand, workerCommand
from MedSAM2SlicerLib.worker.sharedclient import SharedClient

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.options import RunOptions
    from MedSAM2SlicerLib.scene.history import History
    from MedSAM2SlicerLib.work.workplace import Workplace
    from MedSAM2SlicerLib.worker.client import WorkerClient

WORKER_COMMAND = "MedSAM2Slicer/WorkerCommand"  # keys of the application's settings
LIVE, PACE = "MedSAM2Slicer/Live", "MedSAM2Slicer/Pace"
KEYS = "MedSAM2Slicer/KeysPressed"
_NEW_PRESSES = 3  # of a key, after which nobody needs to be told any more
_ON, _OFF = "on", "off"
_LIVE_MILLISECONDS = 150.0  # for a slice: where one takes longer, Live is off unless somebody switches it on

_worker = SharedClient()  # one model process for the module, the effect and scripts


class Services:
    """The running Slicer's own; tests hand in others."""

    def __init__(self, moduleFolder: Path) -> None:
        self._moduleFolder = moduleFolder
        self._setup = Setup(SlicerHost())
        self._kept = KeptSlices()
        self._client: WorkerClient | None = None
        self.store = WeightsStore()
        self.logPath = Path(slicer.app.temporaryPath) / "MedSAM2Slicer-worker.log"

    @property
    def workerText(self) -> str:
        """The worker command as the person typed it; empty for Slicer's own Python."""
        return str(qt.QSettings().value(WORKER_COMMAND, "") or "")

    def setWorkerText(self, text: str) -> None:
        """Run the model by another command from now on. WorkerError if it cannot be read; nothing changes then."""
        command = self._command(text)
        qt.QSettings().setValue(WORKER_COMMAND, text)
        self.client().setCommand(command.arguments, command.environment)

    @property
    def keepsSlices(self) -> bool:
        """Whether encoded slices stay on this computer when Slicer ends."""
        return self._kept.isOn

    def setKeepsSlices(self, isOn: bool) -> None:
        """Keep encoded slices from now on, or delete those that were kept. The worker starts anew."""
        self._kept.choose(isOn)
        self.setWorkerText(self.workerText)
        if not isOn:
            self._kept.forget()

    def whyNotKeepSlices(self) -> str:
        """Say why there is no choice whether encoded slices are kept; nothing where there is one."""
        try:
            return self._kept.whyNot(self._typed(self.workerText))
        except WorkerError as error:
            return str(error)

    @property
    def isLive(self) -> bool:
        """Whether propagations start by themselves: as the user chose, else unless the machine is slow."""
        chosen = str(qt.QSettings().value(LIVE, "") or "")
        return chosen == _ON if chosen else not self.isSlow

    def setLive(self, isOn: bool) -> None:
        """Keep what the user chose."""
        qt.QSettings().setValue(LIVE, _ON if isOn else _OFF)

    @property
    def sliceMilliseconds(self) -> float | None:
        """How long a slice took when it was last seen for the first time; None before any propagation."""
        return self._latestPace()[1].first

    @property
    def isSlow(self) -> bool:
        """Whether a slice takes too long for propagations that nobody asked for."""
        return (self.sliceMilliseconds or 0.0) > _LIVE_MILLISECONDS

    def pace(self, options: RunOptions) -> Pace:
        """Return how long slices take with these options; nothing if the latest propagation had others."""
        way, latest = self._latestPace()
        return latest if way == self._wayToRun(options) else Pace()

    def notePace(self, options: RunOptions, pace: Pace) -> None:
        """Keep what a propagation with these options measured."""
        if pace != Pace():
            stored = {"way": self._wayToRun(options), **asdict(self.pace(options).updated(pace))}
            qt.QSettings().setValue(PACE, json.dumps(stored))

    def client(self) -> WorkerClient:
        """Return the client of the application's worker, which follows `setWorkerText`."""
        if self._client is None:
            self._client = _worker.take(self._makeClient)
        return self._client

    def makeController(
        self,
        editorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
        history: History | None = None,
        workplace: Workplace | None = None,
    ) -> Controller:
        """Make a panel's controller; a Segment Editor gives it its settings, its undo and the `workplace` of before."""
        from MedSAM2SlicerLib.controller import Controller

        return Controller(self.client(), editorNode, history, workplace, self)

    def close(self) -> None:
        """Need the worker no more; it ends if nobody else does."""
        if self._client is not None:
            self._client = None
            _worker.leave()

    @property
    def isModelOpen(self) -> bool:
        """Whether the worker has started and opened the model."""
        return self.client().isReady

    @property
    def isWarming(self) -> bool:
        """Whether the worker starts, or opens the model."""
        client = self.client()
        return not client.isReady and client.state in (State.STARTING, State.WORKING)

    def isKeyNew(self, key: str) -> bool:
        """Count a key that is pressed; whether the user has pressed it no more than a few times."""
        settings, name = qt.QSettings(), f"{KEYS}/{key}"
        count = int(settings.value(name, 0) or 0)
        if count < _NEW_PRESSES:
            settings.setValue(name, count + 1)
        return count < _NEW_PRESSES

    def warm(self, model: str) -> bool:
        """Start the worker and open the model ahead of the first prompt; what goes wrong is told when that comes.

        A command that was typed waits for it: that may ask a cluster for a GPU. Returns whether this one does not.
        """
        try:
            isHere = self._command(self.workerText).origin is not Origin.TYPED
        except WorkerError:
            return False
        if isHere:
            self.client().setModel(model)
            self.client().prepare()
        return isHere

    def missingText(self) -> str:
        """Say what must be set up, nothing if Slicer's Python has it all.

        A worker elsewhere is not asked, since that takes seconds; it says itself what it lacks when it is used.
        """
        try:
            command = self._command(self.workerText)
            missing = self._setup.missing(command) if command.origin is Origin.SLICER else []
        except WorkerError as error:
            return str(error)
        return banner(missing) if missing else ""

    def setUp(self, ask: Callable[[str], bool]) -> bool:
        """Install what is missing after one question; return whether to restart. MedSAM2Error if that did not work."""
        return self._setup.ensure(self._command(self.workerText), ask)

    def doctorText(self) -> str:
        """Return the page for a bug report."""
        return self._setup.doctorText(self._command(self.workerText))

    def downloadCommand(self, model: str) -> WorkerCommand:
        """Return the command that downloads a model whose license was accepted."""
        command = self._command("").sibling("models")
        return replace(command, arguments=(*command.arguments, "download", model, "--accept-license"))

    def _latestPace(self) -> tuple[list[str], Pace]:
        """How the model ran last, and how long slices took then."""
        try:
            stored = json.loads(qt.QSettings().value(PACE, ""))
            return stored["way"], Pace(stored["first"], stored["again"])
        except (TypeError, ValueError, KeyError):  # nothing yet, or another version's
            return [], Pace()

    def _wayToRun(self, options: RunOptions) -> list[str]:
        """What the time of a slice depends on."""
        return [self.workerText, options.model, options.device, options.precision, options.fieldOfView]

    def _makeClient(self) -> WorkerClient:
        """Make a client of the worker, which starts with the first request."""
        from MedSAM2SlicerLib.ui.qprocess import QProcessTransport
        from MedSAM2SlicerLib.worker.client import WorkerClient

        command = self._command(self.workerText)
        return WorkerClient(QProcessTransport, command.arguments, self.logPath, command.environment)

    def _command(self, text: str) -> WorkerCommand:
        return self._kept.applied(self._typed(text))

    def _typed(self, text: str) -> WorkerCommand:
        return workerCommand(text, self._moduleFolder, slicer.util.startupEnvironment())
