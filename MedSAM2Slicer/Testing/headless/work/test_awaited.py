"""A click whose answer was still to come when a propagation began, is drawn all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from controllerbench import ControllerBench

from medsam2_core.errors import DeviceError, WorkerError
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
