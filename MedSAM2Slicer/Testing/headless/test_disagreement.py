"""Where three axes disagree, on demand: when there is a map, how long it stays, and what it is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish

from medsam2_core.errors import Cancelled, PromptError
from medsam2_core.worker.disagreement import DisagreementMap
from MedSAM2SlicerLib.controller import Controller

MAP = DisagreementMap.of([(4, np.full((8, 9), 33, np.uint8))])


@pytest.fixture
def done(bench: ControllerBench) -> ControllerBench:
    """A bench after a propagation along three axes."""
    bench.client.differing = 0.1
    bench.click(4, 4, 3)
    bench.preview()
    finish(bench.propagate(0))
    return bench


@pytest.fixture
def shown(done: ControllerBench) -> ControllerBench:
    show(done)
    return done


def show(bench: ControllerBench) -> None:
    bench.controller.disagreement.show()
    bench.client.calls[-1].onDone(MAP)


def maps(bench: ControllerBench) -> list[Any]:
    return [one for one in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if one is not bench.volume]


def test_one_axis_has_no_map(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    finish(bench.propagate(0))
    calls = len(bench.client.calls)
    bench.controller.disagreement.show()
    assert "three axes first" in bench.said["failed"][0][0]
    assert len(bench.client.calls) == calls


def test_it_is_named_as_the_segment_and_toggled(shown: ControllerBench) -> None:
    (node,) = maps(shown)
    assert node.GetName() == "Segment_1 disagreement"
    assert (slicer.util.arrayFromVolume(node) == 33).all()
    assert shown.controller.disagreement.isShown
    assert not shown.said["failed"]
    shown.controller.disagreement.hide()
    assert maps(shown) == []


def test_redrawing_leaves_it(shown: ControllerBench) -> None:
    shown.controller.redraw(0.3)
    shown.client.redrawn(lambda index: np.ones((8, 9), dtype=bool))
    assert shown.controller.disagreement.isShown


@pytest.mark.parametrize("act", ["propagate", "undo", "segment", "volume", "close"])
def test_it_goes_with_what_it_tells_of(shown: ControllerBench, act: str) -> None:
    controller, node = shown.controller, shown.controller.segmentationNode
    acts = {
        "propagate": controller.propagate,
        "undo": controller.undo,
        "segment": lambda: controller.setSegment(node, node.GetSegmentation().AddEmptySegment()),
        "volume": lambda: controller.setVolume(None),
        "close": controller.close,
    }
    acts[act]()
    assert not controller.disagreement.isShown
    assert maps(shown) == []


def test_it_stays_for_a_controller_that_goes_on(shown: ControllerBench) -> None:
    shown.controller.close(isForGood=False)
    assert len(maps(shown)) == 1
    following = Controller(shown.client, workplace=shown.controller.workplace)
    assert following.disagreement.isShown
    following.propagate()
    assert maps(shown) == []
    following.close()


@pytest.mark.parametrize("act", ["propagate", "segment"])
def test_a_map_that_comes_too_late_is_not_shown(done: ControllerBench, act: str) -> None:
    controller, node = done.controller, done.controller.segmentationNode
    controller.disagreement.show()
    call = done.client.calls[-1]
    if act == "propagate":
        controller.propagate()
    else:
        controller.setSegment(node, node.GetSegmentation().AddEmptySegment())
    call.onDone(MAP)
    assert maps(done) == []
    assert not done.said["failed"]


def test_what_the_worker_says_of_it_is_told(done: ControllerBench) -> None:
    controller = done.controller
    for error in (Cancelled("Canceled."), PromptError("Propagate again first.")):
        controller.disagreement.show()
        done.client.calls[-1].onError(error)
    assert done.said["failed"] == [("Propagate again first.",)]
    controller.propagate()
    controller.disagreement.show()
    assert "is running" in done.said["failed"][-1][0]
