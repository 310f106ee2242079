"""Random actions of a user in 3D Slicer: in whatever order, what is theirs stays, and clicks are drawn.

`make fuzz` plays them on slicer-core's scene, with a worker that answers message by message, and prints the actions of
each seed that breaks one of these promises:

- nothing raises in a handler, and in the end nothing is still awaited;
- a slice that was painted, accepted or locked shows what it did until it is clicked, given back or undone;
- no slice counts as edited that nobody painted;
- a click is drawn, unless it was stopped, undone or removed, or the worker ended after it.

    python benchmarks/fuzz_actions.py --first 0 --last 2000
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import headless

sys.path.append(str(Path(__file__).parents[1] / "MedSAM2Slicer" / "Testing" / "support"))

from patientclient import PatientClient

from medsam2_core.errors import WorkerError
from MedSAM2SlicerLib import faults, live
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.scenewatch import EditWatch
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask

SEEDS = 2000
SHAPE = (7, 8, 9)


class BrokenError(Exception):
    """A promise was not kept."""


class User:
    """Does things by chance, and knows what is theirs: slices with the masks they left, and clicks still owed."""

    def __init__(self, seed: int) -> None:
        self.chance, self.client = random.Random(seed), PatientClient(SHAPE[1:])
        array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
        self.volume = headless.volume_node(array, np.eye(4))
        self.controller = Controller(self.client)
        self.controller.setVolume(self.volume)
        self.theirs: dict[int, np.ndarray] = {}
        self.painted: set[int] = set()
        self.owed: set[int] = set()

    @property
    def mask(self) -> np.ndarray:
        return segmentMask(self.controller.segmentationNode, self.controller.segmentId, self.volume)

    def click(self) -> None:
        index = self.chance.randrange(SHAPE[0])
        self._give_back(index)
        self.owed.add(index)
        (world,) = ijkToWorld(self.volume, [[4, 4, index]])
        self.controller.prompting.addPoint(world.tolist())

    def remove_prompt(self) -> None:
        if prompts := self.controller.review.prompts():
            item = self.chance.choice(prompts)
            self._give_back(item.sliceIndex)
            self.owed.discard(item.sliceIndex)
            self.controller.prompting.removePrompt(item)

    def remove_prompts(self) -> None:
        self.owed.clear()
        self.controller.prompting.removeAllPrompts()

    def paint(self) -> None:
        row, column = self.chance.randrange(SHAPE[1]), self.chance.randrange(SHAPE[2])
        mask = np.zeros(SHAPE[1:], dtype=bool)
        mask[row], mask[:, column] = True, True
        self._draw(mask)

    def erase(self) -> None:
        self.wait()  # a stroke that is erased before anybody looked was none
        self._draw(np.zeros(SHAPE[1:], dtype=bool))

    def accept(self) -> None:
        self._mark("accept")

    def lock(self) -> None:
        self._mark("lock")

    def disown(self) -> None:
        if edited := self.controller.review.edited():
            index = self.chance.choice(edited)
            if not self.controller.busy:
                self.theirs.pop(index, None)
                self.owed.discard(index)
            self.controller.disown(index)

    def propagate(self) -> None:
        self.controller.propagate()

    def redraw(self) -> None:
        self.controller.redraw(self.chance.choice((0.3, 0.5)))

    def stop(self) -> None:
        if not self.controller.busy:
            self.owed.clear()  # what is stopped then is the drawing of a click
        self.controller.stop()

    def undo(self) -> None:
        self._travel(self.controller.undo)

    def redo(self) -> None:
        self._travel(self.controller.redo)

    def live(self) -> None:
        self.controller.live.turn(not self.controller.live.isOn)

    def choose_range(self) -> None:
        first, last = self.chance.choice((None, 1, 2)), self.chance.choice((None, 5, 6))
        self.controller.setOptions(replace(self.controller.options, first=first, last=last))

    def choose_model(self) -> None:
        self.controller.setOptions(replace(self.controller.options, model=self.chance.choice(("starter", "tiny"))))

    def leave_effect(self) -> None:
        """Leave the effect of Segment Editor, and come back to it."""
        is_live, workplace = self.controller.live.isOn, self.controller.workplace
        self.controller.close(isForGood=False)
        self.controller = Controller(self.client, workplace=workplace)
        self.controller.setInUse(True)
        self.controller.live.turn(is_live)

    def lose_worker(self) -> None:
        self.owed.clear()
        if self.client.isAsked:
            self.client.calls[-1].fail(WorkerError("The model process ended."))

    def wait(self) -> None:
        self.controller.tick()

    def hear(self) -> None:
        """Wait until the worker says something."""
        self.client.send()

    def hear_all(self) -> None:
        """Wait until the worker has nothing more to say."""
        while self.client.isAsked:
            self.client.send()

    def end(self) -> None:
        """Wait for all that is to come, and check that nothing is owed."""
        self.controller.live.turn(False)
        for _ in range(3):
            self.hear_all()
            self.wait()
        self.check()
        if self.controller.busy or self.controller.waits:
            raise BrokenError("something is still awaited")
        slices = self.controller.review.slices()
        if owed := [index for index in sorted(self.owed) if index not in slices or not slices[index].isAnchor]:
            raise BrokenError(f"clicks on {owed} were not drawn")

    def check(self) -> None:
        """Raise BrokenError if what is theirs was changed, or something else is said to be theirs."""
        if not self.controller.segmentId:
            return
        mask, states = self.mask, self.controller.review.slices()
        if lost := [index for index, one in self.theirs.items() if not np.array_equal(mask[index], one)]:
            raise BrokenError(f"slices {lost} were theirs and were changed")
        if wrong := [index for index in states if states[index].state == "edited" and index not in self.painted]:
            raise BrokenError(f"slices {wrong} count as edited and were never painted")

    def _give_back(self, index: int) -> None:
        """A prompt may change a slice, unless it is locked."""
        review = self.controller.review.slices().get(index)
        if review is None or review.mark != "locked":
            self.theirs.pop(index, None)

    def _draw(self, mask: np.ndarray) -> None:
        """As Segment Editor's own tools do: past the controller."""
        if self.controller.segmentId:
            index = self.chance.randrange(SHAPE[0])
            self.controller.workplace.target.history.saveState()
            writer = SegmentWriter(self.controller.segmentationNode, self.controller.segmentId, self.volume)
            writer.begin()
            is_other = not np.array_equal(self.mask[index], mask)
            writer.writeSlices({index: mask}, 0)
            writer.end()
            if is_other:
                self.painted.add(index)
                self.theirs[index] = mask

    def _mark(self, how: str) -> None:
        index = self.chance.randrange(SHAPE[0])
        if self.controller.busy or not self.controller.segmentId:
            return
        getattr(self.controller, how)(index)
        if self.controller.review.slices()[index].isKept:
            self.theirs[index] = self.mask[index].copy()
        else:
            self.theirs.pop(index, None)
            self.owed.discard(index)

    def _travel(self, step: Any) -> None:
        self.theirs.clear()
        self.owed.clear()
        step()
        self.wait()


_OFTEN = {"click": 4, "hear": 8, "hear_all": 3, "wait": 6, "propagate": 4, "paint": 2}
_SELDOM = (
    "remove_prompt", "remove_prompts", "erase", "accept", "lock", "disown", "redraw", "stop", "undo", "redo", "live",
    "choose_range", "choose_model", "leave_effect", "lose_worker",
)  # fmt: skip
ACTIONS = [name for name, count in _OFTEN.items() for _ in range(count)] + list(_SELDOM)


@dataclass(frozen=True)
class Fault:
    """A seed whose actions broke a promise, the last one of them."""

    seed: int
    what: str
    actions: tuple[str, ...]


def play(seed: int) -> Fault | None:
    """Play the actions of a seed in a scene of their own; what went wrong, if anything."""
    raised: list[Exception] = []
    done: list[str] = []
    faults.listen(raised.append)
    try:
        with headless.new_scene(), mock.patch.object(live, "PAUSE", 0.0), mock.patch.object(EditWatch, "SETTLED", -1.0):
            user = User(seed)
            try:
                for _ in range(user.chance.randrange(8, 40)):
                    done.append(user.chance.choice(ACTIONS))
                    getattr(user, done[-1])()
                    user.check()
                    _raise(raised)
                user.end()
            finally:
                user.controller.close()
            _raise(raised)
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        what = str(error) if isinstance(error, BrokenError) else "".join(traceback.format_exception(error, limit=-4))
        return Fault(seed, what, tuple(done))
    finally:
        faults.unlisten(raised.append)
    return None


def fuzz(seeds: Iterable[int]) -> list[Fault]:
    """Play the actions of these seeds; what went wrong."""
    return [fault for fault in map(play, seeds) if fault is not None]


def _raise(raised: list[Exception]) -> None:
    if raised:
        raise raised[0]


def run() -> int:
    """The command line of this benchmark."""
    parser = argparse.ArgumentParser(description="Random actions of a user, and what is promised whatever they do.")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--last", type=int, default=SEEDS, help=f"the seed behind the last one (default: {SEEDS})")
    options = parser.parse_args()
    started = time.monotonic()
    found = fuzz(range(options.first, options.last))
    for fault in found:
        print(f"{fault.seed}: {fault.what}\n    {' '.join(fault.actions)}")
    seconds = time.monotonic() - started
    print(f"{options.last - options.first} seeds, {len(found)} faults, {seconds:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(run())
