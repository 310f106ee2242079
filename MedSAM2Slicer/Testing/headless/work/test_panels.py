"""Module, effect and console at the same segment, one after the other: each knows what the others did to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish, notice, segmentEditor

from MedSAM2SlicerLib import console, live
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.replay import replay

FULL, NOTHING = np.ones((8, 9), dtype=bool), np.zeros((8, 9), dtype=bool)


@pytest.fixture
def effect(done: ControllerBench) -> Iterator[Controller]:
    """Another controller at the segment of the bench."""
    controller = Controller(done.client)
    controller.setVolume(done.volume)
    controller.setSegment(done.controller.segmentationNode, done.controller.segmentId)
    yield controller
    controller.close()


def statesOf(controller: Controller) -> dict[int, str]:
    return {index: one.state for index, one in controller.review.slices().items()}


def propagate(bench: ControllerBench, controller: Controller) -> None:
    """Draw slices 0 to 5 from slice 4 on."""
    bench.client.mask = lambda index: FULL if index < 6 else NOTHING
    controller.prompting.preview(4)
    bench.client.answer(4)
    controller.propagate()
    finish(bench.client.calls[-1])


def test_what_another_panel_propagated_is_no_edit(done: ControllerBench, effect: Controller) -> None:
    propagate(done, effect)
    notice(done)
    assert done.states() == statesOf(effect)
    assert "edited" not in done.states().values()


def test_what_a_tool_did_after_another_panel_is_one(done: ControllerBench, effect: Controller) -> None:
    propagate(done, effect)
    done.paint(1, np.eye(8, 9, dtype=bool))
    notice(done)
    assert [index for index, state in done.states().items() if state == "edited"] == [1]


def test_a_slice_that_another_panel_locked_is_locked(done: ControllerBench, effect: Controller) -> None:
    effect.lock(5)
    done.controller.setInUse(True)
    assert done.states()[5] == "locked"
    done.controller.accept(2)
    assert {2: "accepted", 5: "locked"}.items() <= done.states().items()


def test_live_starts_nothing_for_what_another_panel_propagated(
    done: ControllerBench, effect: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    done.controller.live.turn(True)
    propagate(done, effect)
    calls = len(done.client.calls)
    notice(done)
    notice(done)
    assert len(done.client.calls) == calls


def test_what_another_panel_drew_is_corrected_and_not_drawn_anew(done: ControllerBench, effect: Controller) -> None:
    propagate(done, effect)
    done.click(1, 1, 5, "exclude")
    done.preview(5)
    (sent,) = done.client.objects[-1]
    assert any(getattr(one, "mask", None) is not None for one in sent.prompts if one.slice_index == 5)


@pytest.mark.parametrize("isSame", [True, False])
def test_what_the_console_draws_is_no_edit(done: ControllerBench, isSame: bool) -> None:
    controller = done.controller
    segment = controller.segmentationNode.GetSegmentation().GetSegment(controller.segmentId)
    segmentEditor(controller.segmentationNode).SetOverwriteMode(0)
    done.client.mask = lambda index: FULL
    name = segment.GetName() if isSame else "other"
    console.process(done.client, done.volume, controller.segmentationNode, name, points=[[1, 1, 3]])
    notice(done)
    assert done.mask().all() == isSame
    assert "edited" not in done.states().values()


def test_what_a_replay_draws_is_no_edit(done: ControllerBench) -> None:
    done.controller.accept(5)
    record: Any = done.record()
    done.client.mask = lambda index: FULL if 1 < index < 6 else NOTHING
    replay(done.client, done.volume, record, done.controller.segmentationNode, model="starter")
    notice(done)
    assert done.drawn() == [2, 3, 4, 5]
    assert set(done.states().values()) == {"prompted", "propagated"}
