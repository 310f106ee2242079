"""What was clicked is drawn, whatever is switched, stopped or fails before the answer comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from controllerbench import ControllerBench, finish, notice

from medsam2_core.errors import DeviceError, PromptError, WorkerError
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.geometry import ijkToWorld

SETTINGS = [{"model": "tiny"}, {"device": "cuda"}, {"window": "lung"}, {"memory": "pooled"}, {"fieldOfView": "prompts"}]


def click(bench: ControllerBench, index: int) -> None:
    bench.controller.prompting.addPoint(ijkToWorld(bench.volume, [[4, 4, index]])[0].tolist())


def choose(bench: ControllerBench, **settings: Any) -> None:
    bench.controller.setOptions(replace(bench.controller.options, **settings))


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: next(iter(settings)))
def test_clicks_are_drawn_with_the_settings_that_were_chosen_meanwhile(
    bench: ControllerBench, settings: dict[str, Any]
) -> None:
    click(bench, 3)
    click(bench, 5)
    choose(bench, **settings)
    bench.client.answer(3)
    bench.client.answer(5)
    assert bench.states() == {3: "prompted", 5: "prompted"}
    assert not bench.controller.waits
    assert not bench.said["failed"]


def test_a_click_during_a_run_is_drawn_though_other_settings_end_that(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=2)
    click(bench, 5)
    choose(bench, model="tiny")
    assert not bench.controller.busy
    bench.client.answer(5)
    assert bench.states()[5] == "prompted"


def test_a_click_on_slices_of_another_axis_is_not_looked_for_on_these(bench: ControllerBench) -> None:
    from medsam2_core.image.slicing import SliceStack

    click(bench, 3)
    choose(bench, stack=SliceStack(1), model="tiny")
    assert not bench.controller.waits


def test_a_click_that_was_taken_back_meanwhile_is_not_drawn(bench: ControllerBench) -> None:
    click(bench, 3)
    (prompt,) = bench.controller.review.prompts()
    bench.controller.prompting.removePrompt(prompt)
    choose(bench, model="tiny")
    assert not bench.controller.waits


def test_live_begins_again_with_other_settings(bench: ControllerBench, at_once: None) -> None:
    bench.controller.live.turn(True)
    click(bench, 3)
    bench.client.answer(3)
    notice(bench)
    bench.client.calls[-1].step()
    choose(bench, model="tiny")
    assert not bench.controller.busy
    notice(bench)
    finish(bench.client.calls[-1])
    assert set(bench.states()) == set(range(7))
    assert "stale" not in bench.states().values()


def test_a_click_is_drawn_when_its_segment_is_come_back_to(bench: ControllerBench) -> None:
    click(bench, 3)
    click(bench, 5)
    node, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    bench.controller.setSegment(node, node.GetSegmentation().AddEmptySegment())
    assert not bench.controller.waits
    bench.controller.setSegment(node, segmentId)
    bench.client.answer(3)
    bench.client.answer(5)
    assert bench.states() == {3: "prompted", 5: "prompted"}
    assert not bench.controller.waits


def test_a_click_is_drawn_when_its_segmentation_is_come_back_to(bench: ControllerBench, nodes: Any) -> None:
    click(bench, 3)
    node, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    bench.controller.setSegment(None)
    bench.controller.setSegment(node, segmentId)
    bench.client.answer(3)
    assert bench.states() == {3: "prompted"}


def test_a_click_during_a_run_is_drawn_when_its_segment_is_come_back_to(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=2)
    click(bench, 5)
    node, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    bench.controller.setSegment(node, node.GetSegmentation().AddEmptySegment())
    bench.controller.setSegment(node, segmentId)
    bench.client.answer(5)
    assert bench.states()[5] == "prompted"


def test_a_click_is_drawn_when_the_effect_is_come_back_to(bench: ControllerBench) -> None:
    click(bench, 3)
    bench.controller.close(isForGood=False)
    again = Controller(bench.client, workplace=bench.controller.workplace)
    again.setInUse(True)
    assert again.waits
    bench.client.answer(3)
    assert bench.states() == {3: "prompted"}
    again.close()


@pytest.mark.parametrize("isPropagated", [False, True])
def test_a_click_is_drawn_though_a_redraw_comes_before_its_answer(bench: ControllerBench, isPropagated: bool) -> None:
    bench.click(4, 4, 3)
    if isPropagated:
        finish(bench.propagate(0))
    click(bench, 5)
    bench.controller.redraw(0.7)
    assert bench.controller.busy == isPropagated
    if isPropagated:
        bench.client.redrawn(bench.client.mask)
    bench.client.answer(5)
    assert bench.states()[5] == "prompted"
    assert not bench.controller.waits


def test_a_click_outside_of_the_range_is_drawn_when_the_run_that_came_before_its_answer_is_over(
    bench: ControllerBench,
) -> None:
    bench.click(4, 4, 3)
    choose(bench, first=2, last=5)
    click(bench, 6)
    finish(bench.propagate(0))
    bench.client.answer(6)
    assert {index for index, state in bench.states().items() if state == "prompted"} == {3, 6}
    assert not bench.controller.waits


def test_a_click_within_the_range_is_drawn_by_the_run(bench: ControllerBench) -> None:
    click(bench, 3)
    finish(bench.propagate(0))
    assert not bench.controller.waits


def test_a_click_on_another_volume_is_forgotten(bench: ControllerBench, nodes: Any) -> None:
    click(bench, 3)
    node, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    bench.controller.setSegment(None)
    bench.controller.setVolume(nodes.volume(shape=(7, 8, 9)))
    bench.controller.setSegment(node, segmentId)
    assert not bench.controller.waits


@pytest.mark.parametrize("error", [DeviceError("The GPU has no memory left."), PromptError("Too little.")])
@pytest.mark.parametrize("isRun", [False, True])
def test_what_fails_leaves_the_clicks_that_wait_for_it(bench: ControllerBench, error: Any, isRun: bool) -> None:
    bench.click(4, 4, 3)
    if isRun:
        bench.propagate(steps=2)
    else:
        bench.controller.prompting.preview(3)
    click(bench, 5)
    bench.client.calls[-1].fail(error)
    bench.client.answer(5)
    assert bench.states()[5] == "prompted"
    assert bench.said["failed"] == [(str(error),)]


def test_a_worker_that_is_gone_is_not_asked_for_the_clicks_that_wait(bench: ControllerBench) -> None:
    click(bench, 3)
    click(bench, 5)
    bench.client.calls[-1].fail(WorkerError("The model process ended."))
    assert not bench.controller.waits
    assert bench.said["failed"] == [("The model process ended.",)]


def test_a_click_is_drawn_though_the_run_it_waits_for_is_stopped_before_it_begins(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.controller.propagate()
    run = bench.client.calls[-1]
    run.steps = []  # as one whose model is still being opened: canceling ends it at once
    click(bench, 5)
    bench.controller.stop()
    assert not bench.controller.busy
    bench.client.answer(5)
    assert bench.states()[5] == "prompted"


def test_a_click_is_drawn_once_though_the_run_it_waits_for_is_stopped(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=2)
    click(bench, 5)
    bench.controller.stop()
    bench.client.answer(5)
    assert not bench.controller.waits
