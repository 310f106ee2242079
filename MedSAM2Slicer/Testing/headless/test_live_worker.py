"""Propagation by itself with the real worker: clicks during runs give what the same prompts give without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from patience import CEILING

from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import segmentMask

CLICKS, SLICES = 50, 20
AHEAD = 7  # slices by which the worker may be ahead of what was drawn when a click comes


@pytest.fixture
def volume(nodes: Any) -> Any:
    """A bright body of changing shape in noise: 20 slices of 48 x 48."""
    k, j, i = np.indices((SLICES, 48, 48))
    body = ((j - 22 - k / 5) / (6 + k / 3)) ** 2 + ((i - 26) / (13 - k / 4)) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 12, body.shape)
    return nodes.volume((40 + 90 * body + noise).astype(np.int16))


@pytest.fixture
def make(quickClient: Any, volume: Any) -> Iterator[Callable[[], Controller]]:
    made: list[Controller] = []

    def controller() -> Controller:
        made.append(Controller(quickClient))
        made[-1].setVolume(volume)
        return made[-1]

    yield controller
    for one in made:
        one.close()


def wait(client: Any, controller: Controller, until: Callable[[], bool]) -> None:
    end = time.monotonic() + CEILING
    while not until():
        assert time.monotonic() < end, "Nothing happened."
        client.pump(0.005)
        controller.tick()


def test_clicks_during_runs_give_what_the_same_prompts_give_without_live(
    quickClient: Any, volume: Any, make: Callable[[], Controller], at_once: None
) -> None:
    """Each time the clicks come in the middle of a run, on slices it has not drawn; then it comes to its end."""
    rng = np.random.default_rng(1)
    clicks = 0
    while clicks < CLICKS:
        bench = LiveBench(quickClient, volume, make())
        bench.click(place(volume, int(rng.integers(SLICES)), rng))
        while free := bench.draw(int(rng.integers(1, 4))):
            bench.click(place(volume, int(rng.choice(free)), rng))
            clicks += 1
        np.testing.assert_array_equal(bench.end(), without_live(quickClient, volume, make(), bench.given))


class LiveBench:
    """A controller with live on, the real worker, and what was clicked."""

    def __init__(self, client: Any, volume: Any, controller: Controller) -> None:
        self.client, self.volume, self.controller = client, volume, controller
        self.given: list[list[float]] = []
        self._drawn: list[int] = []
        self._finished: list[str] = []
        controller.sliceDrawn.connect(self._drawn.append)
        controller.finished.connect(self._finished.append)
        controller.failed.connect(pytest.fail)
        controller.live.turn(True)

    def click(self, point: list[float]) -> None:
        self.given.append(point)
        self._drawn.clear()
        self._finished.clear()
        self.controller.prompting.addPoint(point)

    def draw(self, count: int) -> list[int]:
        """Wait for a run that has drawn so many slices; returns those that it has not, if it is far from its end."""
        wait(self.client, self.controller, lambda: len(self._drawn) >= count)
        free = sorted({*range(SLICES)} - self.controller.review.slices().keys())
        return free if len(free) > AHEAD else []

    def end(self) -> Any:
        wait(self.client, self.controller, lambda: bool(self._finished))
        return mask(self.controller, self.volume)


def place(volume: Any, index: int, rng: np.random.Generator) -> list[float]:
    """A place (world) of the body on a slice."""
    x, y = 26 + rng.uniform(-3, 3), 22 + index / 5 + rng.uniform(-3, 3)
    found: list[float] = ijkToWorld(volume, [[x, y, index]])[0].tolist()
    return found


def mask(controller: Controller, volume: Any) -> Any:
    return segmentMask(controller.segmentationNode, controller.segmentId, volume)


def without_live(client: Any, volume: Any, controller: Controller, given: list[list[float]]) -> Any:
    finished: list[str] = []
    controller.finished.connect(finished.append)
    for point in given:
        controller.prompting.addPoint(point)
        wait(client, controller, lambda: not controller.waits)
    controller.propagate()
    wait(client, controller, lambda: bool(finished))
    return mask(controller, volume)
