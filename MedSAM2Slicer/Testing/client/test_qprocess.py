"""The Qt transport does what the other one does, with PySide6 in the place of Slicer's `qt`."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patience import CEILING

from medsam2_core.errors import WorkerError
from MedSAM2SlicerLib.scene.growing import GrowingArray
from MedSAM2SlicerLib.worker.callqueue import State
from MedSAM2SlicerLib.worker.client import WorkerClient

QtCore = pytest.importorskip("PySide6.QtCore", reason="needs PySide6: pip install PySide6-Essentials")


class Process(QtCore.QProcess):  # type: ignore[misc, name-defined]
    """A QProcess as PythonQt shows it: signals are connected by their C++ signature."""

    def connect(self, signature: str, slot: Callable[..., Any]) -> None:
        getattr(self, signature.partition("(")[0]).connect(slot)


@pytest.fixture(scope="module")
def transport() -> Iterator[Any]:
    """`QProcessTransport` on a flat module `qt` as Slicer has it."""
    application = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
    names = ("QCoreApplication", "QTimer", "QProcessEnvironment")
    qt = types.ModuleType("qt")
    vars(qt).update({name: getattr(QtCore, name) for name in names}, QProcess=Process)
    before = {name: sys.modules.pop(name, None) for name in ("qt", "MedSAM2SlicerLib.ui.qprocess")}
    sys.modules["qt"] = qt
    yield importlib.import_module("MedSAM2SlicerLib.ui.qprocess").QProcessTransport
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module
    application.processEvents()


@pytest.fixture
def make(transport: Any, make_client: Any, tmp_path: Path, volume: Any) -> Iterator[Callable[..., WorkerClient]]:
    clients = []

    def client(command: list[str] | None = None, *words: object, **options: Any) -> WorkerClient:
        command = [*(command or make_client()._queue._command), *map(str, words)]
        client = WorkerClient(transport, command, tmp_path / "qt.log", **options)
        client.setModel("fake")
        client.setVolume("ct", volume)
        client.openSession("s", "ct", 0)
        clients.append(client)
        return client

    yield client
    for one in clients:
        one.stop()


def test_it_propagates(make, volume, block) -> None:
    client, steps = make(), []
    client.propagate("s", [block], 0, 12, onStep=steps.append).wait()
    assert len(steps) == 12
    for step in steps:
        assert np.array_equal(step.answers[0].mask.full((20, 30)), volume.gray[step.slice_index] > 100)
    client.stop()
    assert client.state is State.STOPPED
    assert "A library printed this" in (client.log.path).read_text(encoding="utf-8")


def test_the_event_loop_is_enough(make, block) -> None:
    client, loop, answers = make(), QtCore.QEventLoop(), []
    client.predict("s", 5, [block], lambda found: (answers.append(found), loop.quit()))
    QtCore.QTimer.singleShot(int(1000 * CEILING), loop.quit)
    loop.exec()
    assert answers


def test_a_large_volume_goes_through(make, volume, block) -> None:
    gray = np.random.default_rng(0).integers(0, 255, (64, 512, 512), np.uint8)
    geometry = type(volume.geometry)(gray.shape, (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    client = make()
    client.setVolume("large", type(volume)(gray, geometry))
    client.openSession("large", "large", 0)
    (answer,) = client.predict("large", 5, [block]).wait()
    assert np.array_equal(answer.mask.full((512, 512)), gray[5] > 100)


class Slow:
    """A volume of which each slice takes a while to make; it counts the event loop's turns at each."""

    def __init__(self, volume: Any) -> None:
        self.geometry, self.window = volume.geometry, volume.window
        self.turns, self.seen = 0, []
        array = np.empty_like(volume.gray)
        self.growing = GrowingArray(array, self._steps(array, volume.gray))
        self._timer = QtCore.QTimer()
        self._timer.timeout.connect(self._count)
        self._timer.start(0)

    def _count(self) -> None:
        self.turns += 1

    def _steps(self, array: np.ndarray, gray: np.ndarray) -> Iterator[int]:
        for index in range(len(array)):
            start = time.thread_time()
            while time.thread_time() - start < 0.011:
                array[index] = gray[index]
            self.seen.append(self.turns)
            yield index + 1


def test_a_volume_is_made_while_the_event_loop_runs(make, volume, block) -> None:
    slow, client = Slow(volume), make()
    client.setVolume("slow", slow)
    client.openSession("slow", "slow", 0)
    (answer,) = client.predict("slow", 5, [block]).wait()
    assert np.array_equal(answer.mask.full((20, 30)), volume.gray[5] > 100)
    assert len(set(slow.seen)) >= len(volume.gray) - 1  # the first may go with the turn in which it was asked for


def test_a_volume_that_cannot_be_made_is_an_error_and_the_next_request_works(make, survive_unmade) -> None:
    survive_unmade(make())


def test_killed_it_comes_back(make, hold, block) -> None:
    client, steps, reasons = make(None, 0, hold), [], []
    hold.touch()
    client.restarted.connect(reasons.append)
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    while len(steps) < 2:
        client.pump(0.05)
    os.kill(client._queue._connection._transport._process.processId(), signal.SIGKILL)
    hold.unlink()
    assert len(call.wait().objects[0].slices) == 12
    (reason,) = reasons
    assert reason == (
        "The model process was ended by signal 9: A library printed this to stdout. If memory ran out, close other "
        "programs or choose a smaller model."
    )


def test_it_says_good_bye_without_running_the_event_loop(make, block) -> None:
    """Slicer stops it while its windows are being destroyed."""
    client, events = make(), []
    client.predict("s", 5, [block]).wait()
    process = client._queue._connection._transport._process
    QtCore.QTimer.singleShot(0, lambda: events.append("delivered"))
    client.stop()
    assert not events
    assert (process.exitStatus(), process.exitCode()) == (QtCore.QProcess.NormalExit, 0)  # it was not killed


@pytest.mark.parametrize("command", [["no-such-program"], [""], []])
def test_a_program_that_cannot_be_started(make, block, command: list[str]) -> None:
    client = make()
    client.setCommand(command)
    call = client.predict("s", 5, [block])
    assert not call.isFinished
    with pytest.raises(WorkerError, match="cannot be started"):
        call.wait()


def test_last_words_are_in_the_message_and_the_environment_arrives(make, block) -> None:
    code = "import os, sys; sys.exit('no ' + os.environ['WHAT'])"
    client = make([sys.executable, "-c", code], environment={**os.environ, "WHAT": "torch here"})
    with pytest.raises(WorkerError, match="ended with code 1: no torch here"):
        client.predict("s", 5, [block]).wait()
