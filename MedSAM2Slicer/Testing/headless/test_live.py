"""Propagation by itself: when it starts, what makes it start again, what does not, and what comes of it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, notice

from medsam2_core.errors import WorkerError
from MedSAM2SlicerLib import live
from MedSAM2SlicerLib.scene.geometry import ijkToWorld


@pytest.fixture
def running(bench: ControllerBench, at_once: None) -> ControllerBench:
    """A bench with live on, on its way through the slices from a click on slice 3, after which three were drawn."""
    bench.controller.live.turn(True)
    click(bench, 3)
    bench.client.answer(3)
    bench.controller.tick()
    for _ in range(3):
        bench.client.calls[-1].step()
    assert bench.drawn() == [3, 4, 5]
    return bench


def click(bench: ControllerBench, index: int) -> None:
    bench.controller.prompting.addPoint(ijkToWorld(bench.volume, [[4, 4, index]])[0].tolist())


def runs(bench: ControllerBench) -> int:
    return len(bench.client.spans)


def finish(bench: ControllerBench) -> None:
    call = bench.client.calls[-1]
    while call.steps:
        call.step()
    call.finish()


def test_it_starts_when_no_prompt_came_for_a_while(bench: ControllerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.05)
    bench.controller.live.turn(True)
    click(bench, 3)
    bench.client.answer(3)
    bench.controller.tick()
    assert not bench.controller.busy
    time.sleep(0.06)
    bench.controller.tick()
    assert bench.controller.busy
    assert not bench.said["failed"]


def test_it_waits_for_the_preview(bench: ControllerBench, at_once: None) -> None:
    bench.controller.live.turn(True)
    click(bench, 3)
    bench.controller.tick()
    assert not bench.controller.busy
    bench.client.answer(3)
    bench.controller.tick()
    assert bench.controller.busy


def test_nothing_starts_unless_it_is_on(bench: ControllerBench, at_once: None) -> None:
    click(bench, 3)
    bench.client.answer(3)
    bench.controller.tick()
    assert not bench.controller.busy
    bench.controller.live.turn(True)  # what waits is propagated
    bench.controller.tick()
    assert bench.controller.busy


def test_a_click_that_found_nothing_starts_nothing(bench: ControllerBench, at_once: None) -> None:
    bench.controller.live.turn(True)
    bench.client.gone = {3}
    click(bench, 3)
    bench.client.answer(3)
    bench.controller.tick()
    assert not bench.controller.busy


def test_a_run_that_is_done_starts_no_other(running: ControllerBench) -> None:
    finish(running)
    for _ in range(5):
        notice(running)
    assert runs(running) == 1
    assert len(running.said["finished"]) == 1


def test_the_next_click_stops_it_and_begins_again_with_both(running: ControllerBench) -> None:
    click(running, 1)
    assert not running.controller.busy  # the fake worker stops at once
    assert not running.said["finished"]  # nothing to say of what goes on
    running.client.answer(1)
    running.controller.tick()
    assert running.controller.busy
    assert {prompt.slice_index for prompt in running.client.objects[-1][0].prompts} == {1, 3}
    assert set(running.drawn()) == {1, 3, 4, 5}  # nothing is lost meanwhile
    finish(running)
    assert running.client.spans == [(0, 7), (0, 7)]
    assert not running.controller.review._workplace.work().states.hasUntold
    assert not running.said["failed"]


def test_a_click_on_what_the_stopped_run_drew_corrects_what_is_seen(running: ControllerBench) -> None:
    shown = running.mask()[5]
    click(running, 5)
    running.client.answer(5)
    prompts = [one for one in running.client.objects[-1][0].prompts if one.slice_index == 5]
    np.testing.assert_array_equal(prompts[0].mask, shown)
    assert len(prompts) == 2


def test_slices_that_the_worker_was_ahead_by_are_not_drawn(running: ControllerBench) -> None:
    """What comes after the click was not seen with it: neither drawn nor corrected."""
    ahead = heedless(running)
    drawn, told = running.drawn(), len(running.said["sliceDrawn"])
    click(running, 1)
    while ahead.steps:
        ahead.step()
    assert (running.drawn(), len(running.said["sliceDrawn"])) == (drawn, told)
    ahead.finish(cancelled=True)
    assert [one.slice_index for one in running.client.objects[-1][0].prompts if one.slice_index == 1] == [1]
    running.client.answer(1)
    assert set(running.drawn()) == {*drawn, 1}
    assert 2 not in running.states()


def test_a_click_that_the_worker_hears_of_too_late_finds_all_drawn(running: ControllerBench) -> None:
    ahead = heedless(running)
    click(running, 1)
    finish(running)
    assert not ahead.steps
    assert running.drawn() == [1, 2, 3, 4, 5]
    running.client.answer(1)
    running.controller.tick()
    assert running.controller.busy
    assert runs(running) == 2


def heedless(bench: ControllerBench) -> Any:
    """The run, whose worker does not hear that it is to stop."""
    call = bench.client.calls[-1]
    call.cancel = lambda keep: None
    return call


def test_several_clicks_during_a_run_are_all_drawn(running: ControllerBench) -> None:
    before = len(running.said["previewed"])
    running.client.calls[-1].cancel = lambda keep: None  # a worker that is in the middle of a slice
    for index in (1, 2, 1):
        click(running, index)
    running.client.calls[-1].finish(cancelled=True)
    for index in (1, 2):
        running.client.answer(index)
    assert running.said["previewed"][before:] == [(1,), (2,)]
    running.controller.tick()
    assert running.controller.busy


def test_clicks_outlive_a_worker_that_has_to_be_stopped(running: ControllerBench) -> None:
    from medsam2_core.errors import Cancelled

    running.client.calls[-1].cancel = lambda keep: None
    click(running, 1)
    running.client.calls[-1].fail(Cancelled("Canceled; the model process had to be stopped."))
    running.client.answer(1)
    running.controller.tick()
    assert running.controller.busy
    assert not running.said["failed"]


def test_a_worker_that_died_is_not_asked_again_and_again(running: ControllerBench) -> None:
    running.client.calls[-1].fail(WorkerError("The model process ended."))
    for _ in range(5):
        notice(running)
    assert runs(running) == 1
    assert running.said["failed"] == [("The model process ended.",)]
    click(running, 1)
    running.client.answer(1)
    running.controller.tick()
    assert runs(running) == 2


def test_one_undo_takes_back_all_since_the_last_pause(running: ControllerBench) -> None:
    finish(running)
    before = running.mask()
    running.client.gone = {1, 5}
    for index in (1, 2):
        click(running, index)
        running.client.answer(index)
    running.controller.tick()
    finish(running)
    running.controller.undo()
    np.testing.assert_array_equal(running.mask(), before)
    for _ in range(3):
        notice(running)
    assert runs(running) == 2  # undo is no reason to begin
    running.controller.undo()
    assert running.drawn() == []


def test_undo_in_the_middle_ends_it(running: ControllerBench) -> None:
    running.controller.undo()
    for _ in range(3):
        notice(running)
    assert not running.controller.busy
    assert running.drawn() == []
    assert runs(running) == 1


def test_undo_by_the_editor_in_the_middle_ends_it(running: ControllerBench) -> None:
    """Segment Editor undoes past the controller."""
    running.controller.workplace.target.history.undo()
    assert running.drawn() == []
    notice(running)
    assert not running.controller.busy
    for _ in range(3):
        notice(running)
    assert running.drawn() == []
    assert runs(running) == 1
    assert running.states() == {}


def test_no_slice_is_drawn_after_an_undo(running: ControllerBench) -> None:
    """The worker's next answer comes before anybody looks."""
    running.controller.workplace.target.history.undo()
    running.client.calls[-1].step()
    assert running.drawn() == []
    assert not running.controller.busy
    assert not running.said["failed"]


def test_a_new_name_in_the_middle_does_not_end_it(running: ControllerBench) -> None:
    segment = running.controller.segmentationNode.GetSegmentation().GetSegment(running.controller.segmentId)
    segment.SetName("liver")
    notice(running)
    assert running.controller.busy


def test_an_edit_by_another_tool_starts_it(running: ControllerBench) -> None:
    finish(running)
    running.paint(1)
    time.sleep(0.001)
    running.controller.tick()
    assert runs(running) == 2
    assert running.client.spans[-1] == (0, 4)


def test_stop_ends_it_until_the_next_prompt_and_keeps_what_it_drew(running: ControllerBench) -> None:
    running.controller.stop()
    for _ in range(3):
        notice(running)
    assert runs(running) == 1
    assert running.drawn() == [3, 4, 5]
    assert running.states() == {3: "prompted", 4: "propagated", 5: "propagated"}
    assert running.record()["interrupted"]


def test_stop_leaves_what_the_pass_before_drew_and_it_did_not_reach(running: ControllerBench) -> None:
    finish(running)
    before = running.mask()
    click(running, 3)
    running.client.answer(3)
    running.controller.tick()
    running.client.gone = {4, 5, 6}
    running.client.calls[-1].step()
    running.client.calls[-1].step()
    running.controller.stop()
    assert (running.states()[4], running.mask()[4].any()) == ("propagated", False)
    np.testing.assert_array_equal(running.mask()[[1, 2, 5]], before[[1, 2, 5]])
    assert not running.controller.review._workplace.work().states.hasUntold


@pytest.mark.parametrize("leave", ["scene", "segment", "volume"])
def test_it_ends_with_what_it_works_on(running: ControllerBench, scene: Any, leave: str) -> None:
    controller = running.controller
    if leave == "scene":
        scene.Clear(0)
    elif leave == "segment":
        segmentation = controller.segmentationNode
        controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment())
    else:
        controller.setVolume(None)
    for _ in range(3):
        notice(running)
    assert not controller.busy
    assert runs(running) == 1


def test_a_pass_over_several_segments_is_not_interrupted(running: ControllerBench) -> None:
    finish(running)
    controller, node = running.controller, running.controller.segmentationNode
    controller.setSegment(node, node.GetSegmentation().AddEmptySegment())
    click(running, 3)
    running.client.answer(3)
    controller.propagateAll()
    click(running, 4)
    assert controller.busy
    finish(running)
    running.client.answer(4)
    controller.tick()
    assert runs(running) == 3
    assert running.client.only == [2]  # the one that was clicked


def test_the_part_that_is_looked_at_comes_first(running: ControllerBench) -> None:
    finish(running)
    for index in (2, 4):
        running.controller.accept(index)
    for index in (1, 6):
        click(running, index)
        running.client.answer(index)
    running.controller.tick()
    assert running.client.spans[-1] == (4, 7)
