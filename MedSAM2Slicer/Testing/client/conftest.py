"""A client with a worker that has no torch, and a volume with a bright block in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from patience import CEILING

from medsam2_core.errors import WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import BoxPrompt, RunObject
from MedSAM2SlicerLib.scene.growing import GrowingArray
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.connection import Timeouts
from MedSAM2SlicerLib.worker.transports import SubprocessTransport

FAKE_WORKER = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]
PATIENT = Timeouts(start=CEILING, stall=CEILING, cancel=CEILING, shutdown=60)

# Left-handed on purpose: upright slices are flipped ones then.
GEOMETRY = Geometry((12, 20, 30), (0.5, 2.0, 3.0), (1, 2, 3), ((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
WINDOW = Window(0, 255, "test")


@dataclass(frozen=True, eq=False)
class Prepared:
    gray: np.ndarray
    geometry: Geometry
    window: Window = WINDOW


class Unmade:
    """A volume of which nothing but the first slice can be made."""

    geometry, window = GEOMETRY, WINDOW

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.growing = GrowingArray(np.zeros(GEOMETRY.shape_kji, np.uint8), self._steps())

    def _steps(self) -> Iterator[int]:
        yield 1
        raise self._error


@pytest.fixture(scope="session", params=[MemoryError(), ValueError("I/O operation on closed file")])
def unmade(request: pytest.FixtureRequest) -> tuple[Unmade, str]:
    """Such a volume, and what is told of it."""
    told = f"needs could not be sent .{type(request.param).__name__}.*tried 3 times"
    return Unmade(request.param), told


@pytest.fixture
def survive_unmade(unmade: tuple[Unmade, str], block: RunObject) -> Callable[[WorkerClient], None]:
    """Requires that such a volume is an error for a client, and that its next request works."""
    broken, text = unmade

    def check(client: WorkerClient) -> None:
        client.setVolume("broken", broken)
        client.openSession("broken", "broken", 0)
        with pytest.raises(WorkerError, match=text):
            client.predict("broken", 5, [block]).wait()
        assert client.predict("s", 5, [block]).wait()

    return check


@pytest.fixture(scope="session")
def volume() -> Prepared:
    gray = np.zeros(GEOMETRY.shape_kji, np.uint8)
    for k in range(12):
        gray[k, 3 : 10 + k // 2, 5 : 12 + k] = 200
    return Prepared(gray, GEOMETRY)


@pytest.fixture(scope="session")
def block() -> RunObject:
    return box_object(1, 5)


def box_object(label: int, *slices: int) -> RunObject:
    prompts = tuple(BoxPrompt(index, (4, 2, 18, 12)) for index in slices)
    return RunObject(Segment(str(label), label, (1, 0, 0)), prompts)


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """The worker of `make_client(None, seconds, hold)` waits after two slices from `touch` to `unlink` of this."""
    return tmp_path / "hold"


MakeClient = Callable[..., WorkerClient]


@pytest.fixture
def make_client(tmp_path: Path, volume: Prepared) -> Iterator[MakeClient]:
    clients: list[WorkerClient] = []

    def make(command: list[str] | None = None, *words: object, **options: object) -> WorkerClient:
        options = {"timeouts": PATIENT, "logPath": tmp_path / "worker.log", **options}
        line = [*(command or FAKE_WORKER), *map(str, words)]
        client = WorkerClient(SubprocessTransport, line, **options)  # type: ignore[arg-type]
        client.setModel("fake")
        client.setVolume("ct", volume)
        client.openSession("s", "ct", axis=0)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.stop()
