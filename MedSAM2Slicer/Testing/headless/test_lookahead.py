"""What the model sees of the slice in view, ahead of a click there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import slicer
from controllerbench import ControllerBench

from MedSAM2SlicerLib.lookahead import PAUSE, LookAhead
from MedSAM2SlicerLib.work.pace import Pace
from MedSAM2SlicerLib.worker.callqueue import State


class Ahead:
    """A `LookAhead` whose clock goes on as the test says."""

    def __init__(self, bench: ControllerBench) -> None:
        self.now = 0.0
        self._ahead = LookAhead(bench.controller._runner, bench.controller.warm, lambda: self.now)

    def stay(self, index: int | None, seconds: float) -> None:
        """Have a slice in view for a while, and tell of it 20 times a second."""
        for _ in range(round(seconds * 20)):
            self._ahead.follow(index)
            self.now += 0.05


@pytest.fixture
def ahead(bench: ControllerBench) -> Ahead:
    """At a segment that has a prompt, with a model that is known to be quick."""
    bench.click(4, 4, 3)
    bench.preview(3)
    note(bench, 400.0)
    return Ahead(bench)


def note(bench: ControllerBench, milliseconds: float | None) -> None:
    bench.controller._runner._paces._known.clear()
    bench.controller._runner._paces.notePace(bench.controller.options, Pace(first=milliseconds))


def test_the_slice_that_the_user_stays_on_is_seen_once(bench: ControllerBench, ahead: Ahead) -> None:
    for index in (0, 1, 2):
        ahead.stay(index, PAUSE / 2)
    assert bench.client.seen == []
    ahead.stay(3, 4 * PAUSE)
    ahead.stay(None, 4 * PAUSE)
    assert bench.client.seen == [3]
    ahead.stay(3, 4 * PAUSE)
    assert bench.client.seen == [3, 3]  # which the worker has kept


def test_it_waits_while_the_worker_is_at_work(bench: ControllerBench, ahead: Ahead) -> None:
    bench.controller.prompting.preview(3)
    ahead.stay(2, 2 * PAUSE)
    assert bench.client.seen == []
    bench.client.answer(3)
    ahead.stay(2, 0.1)
    assert bench.client.seen == [2]
    bench.client.state = State.WORKING  # at that slice, or for somebody else
    ahead.stay(4, 2 * PAUSE)
    assert bench.client.seen == [2]
    bench.client.state = State.READY
    ahead.stay(5, 2 * PAUSE)
    assert bench.client.seen == [2, 5]


def test_the_same_index_in_another_window_is_another_slice(bench: ControllerBench, ahead: Ahead) -> None:
    ahead.stay(3, 2 * PAUSE)
    bench.controller.setOptions(replace(bench.controller.options, window="bone"))
    ahead.stay(3, 2 * PAUSE)
    assert bench.client.seen == [3, 3]


def test_the_first_click_finds_what_was_seen_before_there_was_a_segmentation(bench: ControllerBench) -> None:
    note(bench, 400.0)
    Ahead(bench).stay(3, 2 * PAUSE)
    assert bench.client.seen == [3]
    sessions = dict(bench.client.sessions)
    bench.click(4, 4, 3)
    bench.preview(3)
    assert bench.controller.segmentationNode is not None
    assert bench.client.sessions == sessions
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bench.controller.setSegment(segmentation)
    bench.controller.warm(3)
    assert bench.client.sessions.keys() > sessions.keys()  # another segmentation has other objects


@pytest.mark.parametrize("hindrance", ["square", "model not open", "slow", "not measured", "no volume"])
def test_nothing_is_seen_where_it_would_be_no_help(bench: ControllerBench, ahead: Ahead, hindrance: str) -> None:
    controller = bench.controller
    if hindrance == "square":
        bench.client.modelFacts["field_of_view"] = "zoom"
    elif hindrance == "model not open":
        bench.client.isReady = False
    elif hindrance in ("slow", "not measured"):
        note(bench, 3000.0 if hindrance == "slow" else None)
    else:
        controller.setVolume(None)
    ahead.stay(3, 2 * PAUSE)
    assert bench.client.seen == []
    controller.setOptions(replace(controller.options, fieldOfView="whole"))
    ahead.stay(4, 2 * PAUSE)
    assert bench.client.seen == ([4] if hindrance == "square" else [])
