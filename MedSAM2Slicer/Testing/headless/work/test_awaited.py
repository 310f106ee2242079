"""A click is drawn though a propagation begins, or another prompt is taken back, before its answer comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from controllerbench import ControllerBench, finish, notice

from medsam2_core.errors import DeviceError, WorkerError
from medsam2_core.run.prompts import MaskPrompt
from MedSAM2SlicerLib.scene.geometry import ijkToWorld


def click(bench: ControllerBench, index: int) -> None:
    bench.controller.prompting.addPoint(ijkToWorld(bench.volume, [[4, 4, index]])[0].tolist())


def prompted(bench: ControllerBench) -> set[int]:
    return {index for index, state in bench.states().items() if state == "prompted"}


def remove(bench: ControllerBench, index: int) -> None:
    (item,) = [one for one in bench.controller.review.prompts() if one.sliceIndex == index]
    bench.controller.prompting.removePrompt(item)


def stop(bench: ControllerBench) -> None:
    bench.controller.stop()


def fail(bench: ControllerBench) -> None:
    bench.client.calls[-1].fail(DeviceError("The GPU has no memory left."))


def chooseModel(bench: ControllerBench) -> None:
    bench.controller.setOptions(replace(bench.controller.options, model="tiny"))


def leaveAndComeBack(bench: ControllerBench) -> None:
    node, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    bench.controller.setSegment(node, node.GetSegmentation().AddEmptySegment())
    bench.controller.setSegment(node, segmentId)


ENDS = [stop, fail, chooseModel, leaveAndComeBack]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("steps", [0, 2])
def test_a_click_is_drawn_though_the_run_that_came_before_its_answer_ends_early(
    bench: ControllerBench, end: Callable[[ControllerBench], None], steps: int
) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    click(bench, 5)
    bench.propagate(steps)  # slices 3 and 4
    end(bench)
    assert not bench.controller.busy
    bench.client.answer(5)
    assert prompted(bench) == {3, 5}
    assert not bench.controller.waits


@pytest.mark.parametrize("end", ENDS)
def test_a_click_that_such_a_run_has_drawn_is_not_drawn_again(
    bench: ControllerBench, end: Callable[[ControllerBench], None]
) -> None:
    click(bench, 3)
    bench.propagate(steps=1)
    end(bench)
    assert not bench.controller.waits


def test_a_click_that_the_run_drew_of_another_segment_alone_is_drawn(bench: ControllerBench) -> None:
    click(bench, 3)
    bench.client.answer(3)
    node = bench.controller.segmentationNode
    bench.controller.setSegment(node, node.GetSegmentation().AddEmptySegment())
    click(bench, 3)
    bench.controller.propagateAll()
    (first, _), call = [one.objectId for one in bench.controller.workplace.works()], bench.client.calls[-1]
    bench.client.only = [first]
    call.step()
    bench.controller.setOptions(replace(bench.controller.options, model="tiny"))
    assert bench.controller.waits


def test_a_prompt_that_is_removed_during_such_a_run_is_not_drawn(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    click(bench, 5)
    bench.propagate(steps=1)
    remove(bench, 5)
    bench.controller.stop()
    assert not bench.controller.waits


def test_a_worker_that_is_gone_is_not_asked_for_what_the_run_left_out(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    click(bench, 5)
    bench.propagate(steps=1).fail(WorkerError("The model process ended."))
    assert not bench.controller.waits


@pytest.mark.parametrize("isQueued", [False, True])
@pytest.mark.parametrize("mark", ["", "accept"])
def test_a_click_on_a_slice_that_is_the_users_counts_though_a_run_comes_before_its_answer(
    bench: ControllerBench, isQueued: bool, mark: str
) -> None:
    click(bench, 3)
    bench.client.answer(3)
    bench.paint(5)
    notice(bench)
    if mark:
        bench.controller.accept(5)
    if isQueued:
        click(bench, 3)
    click(bench, 5)
    bench.controller.propagate()
    sent = [one for one in bench.client.objects[-1][0].prompts if one.slice_index == 5]
    assert [isinstance(one, MaskPrompt) for one in sent] == [True, False]
    finish(bench.client.calls[-1])
    assert not bench.controller.waits
    assert bench.states()[5] != "edited"
    assert np.array_equal(bench.mask()[5], bench.client.mask(5))


def test_a_click_on_a_slice_that_was_locked_meanwhile_is_told_after_the_run(bench: ControllerBench) -> None:
    click(bench, 3)
    bench.client.answer(3)
    bench.controller.lock(5)
    click(bench, 3)
    click(bench, 5)
    bench.controller.propagate()
    finish(bench.client.calls[-1])
    assert bench.states()[5] == "locked"
    assert bench.said["failed"] == [("Slice 5 is locked: unlock it (l) to change it.",)]


def test_a_click_on_a_slice_that_is_painted_after_it_is_left_as_painted(bench: ControllerBench) -> None:
    click(bench, 3)
    click(bench, 5)
    bench.paint(5)
    painted = bench.mask()[5]
    finish(bench.propagate(0))
    assert bench.states()[5] == "edited"
    assert np.array_equal(bench.mask()[5], painted)
    assert not bench.controller.waits


@pytest.mark.parametrize("gone", [3, 5])
def test_a_prompt_that_is_removed_leaves_the_clicks_on_other_slices(bench: ControllerBench, gone: int) -> None:
    click(bench, 3)
    click(bench, 5)
    click(bench, 6)
    remove(bench, gone)
    left = [index for index in (3, 5, 6) if index != gone]
    for index in left:
        bench.client.answer(index)
    assert prompted(bench) == set(left)
    assert not bench.controller.waits


@pytest.mark.parametrize("isEmpty", [False, True])
def test_a_segment_that_is_taken_as_a_prompt_leaves_the_clicks_on_other_slices(
    bench: ControllerBench, isEmpty: bool
) -> None:
    click(bench, 3)
    bench.client.answer(3)
    node, own = bench.controller.segmentationNode, bench.controller.segmentId
    source = node.GetSegmentation().AddEmptySegment()
    bench.controller.setSegment(node, source)
    if not isEmpty:
        bench.paint(1)
    bench.controller.setSegment(node, own)
    click(bench, 5)
    click(bench, 6)
    bench.controller.prompting.addSegmentPrompt(source, 1)
    bench.client.answer(5)
    bench.client.answer(6)
    assert prompted(bench) == ({3, 5, 6} if isEmpty else {1, 3, 5, 6})
    assert not bench.controller.waits


@pytest.mark.parametrize("isLater", [False, True])
def test_of_a_segment_that_is_removed_meanwhile_nothing_is_drawn(bench: ControllerBench, isLater: bool) -> None:
    click(bench, 3)
    call = bench.propagate(steps=0)
    if isLater:
        click(bench, 5)
    segmentation = bench.controller.segmentationNode.GetSegmentation()
    segmentation.RemoveSegment(bench.controller.segmentId)
    while call.steps and not call.isFinished and bench.controller.busy:
        call.step()
    if bench.controller.busy:
        call.finish()
    assert not segmentation.GetNumberOfSegments()
    assert not bench.controller.waits


def test_a_click_on_an_edited_slice_is_left_alone_once_that_is_accepted(bench: ControllerBench) -> None:
    click(bench, 3)
    bench.client.answer(3)
    bench.paint(5)
    notice(bench)
    click(bench, 3)
    click(bench, 5)
    bench.controller.accept(5)
    painted = bench.mask()[5]
    bench.client.answer(3)
    assert not bench.controller.waits
    assert bench.states()[5] == "accepted"
    assert np.array_equal(bench.mask()[5], painted)
