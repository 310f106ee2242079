"""Passes of the worker: several parts and segments in one, and what is drawn again without the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish, notice, segmentEditor

from medsam2_core.errors import WorkerError
from medsam2_core.run.settings import usual
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.cut import wholeCut
from MedSAM2SlicerLib.scene.segments import segmentMask


def correctBothEnds(bench: ControllerBench) -> None:
    """Edits at 1 and 5, locked slices at 2 and 4, and a worker that fills whatever it draws now."""
    for index in (2, 4):
        bench.controller.lock(index)
    bench.paint(1)
    bench.paint(5)
    notice(bench)
    bench.client.mask = lambda index: np.ones((8, 9), dtype=bool)


def test_two_corrections_leave_what_lies_between_their_anchors(done: ControllerBench) -> None:
    correctBothEnds(done)
    assert done.controller.review.intervals() == [(0, 3), (4, 7)]
    before = done.mask()
    finish(done.propagate(0))
    assert done.controller.busy
    finish(done.client.calls[-1])
    assert not done.controller.busy
    assert done.client.spans[-2:] == [(0, 3), (4, 7)]
    np.testing.assert_array_equal(done.mask()[2:5], before[2:5])
    assert done.drawn() == [0, 1, 2, 3, 4, 5, 6]
    assert "stale" not in done.states().values()
    assert done.controller.review.intervals() == []
    counts = [(progress.done, progress.planned) for (progress,) in done.said["progressed"][7:]]
    assert counts == sorted(counts)
    assert counts[-1][0] == counts[-1][1]
    assert len(done.said["finished"]) == 2
    ranges = [run["settings"].get("range") for run in done.record()["earlier"]]
    assert [*ranges, done.record()["settings"]["range"]] == [[0, 7], [0, 3], [4, 7]]
    done.controller.undo()
    np.testing.assert_array_equal(done.mask(), before)


def test_stopping_ends_all_parts_of_a_propagation(done: ControllerBench) -> None:
    correctBothEnds(done)
    done.propagate(1)
    done.controller.stop()
    assert not done.controller.busy
    assert done.client.spans[-1] == (0, 3)
    assert done.controller.review.intervals() == [(0, 3), (4, 7)]
    assert "Canceled." in done.said["finished"][-1][0]


def test_stopping_empties_nothing_that_a_worker_which_began_anew_has_not_come_to(done: ControllerBench) -> None:
    before = done.mask()
    done.propagate(1)
    done.client._before = {}  # as after its process ended while it was idle
    done.controller.stop()
    np.testing.assert_array_equal(done.mask(), before)


def test_a_part_that_fails_keeps_what_the_one_before_it_drew(done: ControllerBench) -> None:
    correctBothEnds(done)
    finish(done.propagate(0))
    done.client.calls[-1].fail(WorkerError("gone"))
    assert not done.controller.busy
    assert done.controller.review.intervals() == [(4, 7)]
    assert done.controller.review.slices()[0].areaMm2 is not None
    assert done.said["failed"] == [("gone",)]


def test_all_segments_go_in_one_pass(done: ControllerBench) -> None:
    segmentation, first = done.controller.segmentationNode, done.controller.segmentId
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    done.controller.setSegment(segmentation, second)
    assert done.controller.review.outlookOfAll().segments == 1
    done.click(2, 2, 3)
    assert done.controller.review.outlookOfAll().segments == 2
    done.controller.propagateAll()
    call = done.client.calls[-1]
    assert sorted(done.client.only) == [1, 2]
    assert [item.segment.name for item in done.client.objects[-1]] == ["Segment_1", "second"]
    finish(call)
    assert not done.said["failed"]
    assert done.states()[3] == "prompted"
    assert len(done.client.sessions) == 1
    done.controller.setSegment(segmentation, first)
    assert done.states()[3] == "prompted"


def test_segments_in_one_pass_go_through_their_own_intervals(done: ControllerBench) -> None:
    segmentation, first = done.controller.segmentationNode, done.controller.segmentId
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    done.controller.setSegment(segmentation, second)
    done.click(2, 2, 3)
    finish(done.propagate(0))
    done.paint(5)
    notice(done)
    done.controller.setSegment(segmentation, first)
    done.paint(1)
    notice(done)
    before = done.mask()
    done.client.gone = {4, 5}
    done.controller.propagateAll()
    assert done.client.only == [1]
    finish(done.client.calls[-1])
    assert done.client.only == [2]
    finish(done.client.calls[-1])
    assert done.client.spans[-2:] == [(0, 4), (3, 7)]
    np.testing.assert_array_equal(done.mask()[4:], before[4:])
    assert not done.controller.busy
    assert not done.said["failed"]


def test_a_run_of_one_segment_sends_the_others_along_and_leaves_them_alone(done: ControllerBench) -> None:
    segmentation, first = done.controller.segmentationNode, done.controller.segmentId
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    done.controller.setSegment(segmentation, second)
    done.click(2, 2, 3)
    done.propagate()
    assert done.client.only == [2]
    assert [item.segment.label for item in done.client.objects[-1]] == [2, 1]
    done.controller.setSegment(segmentation, first)
    assert "edited" not in done.states().values()


def test_the_settings_of_a_run_go_with_it(done: ControllerBench) -> None:
    done.controller.setOptions(RunOptions(direction="forward"))
    finish(done.propagate(0))
    assert done.client.settings == {**usual("run"), "direction": "forward", "tentative": False}


def test_a_redraw_writes_slices_anew_but_no_kept_ones(done: ControllerBench) -> None:
    done.controller.lock(2)
    before, undone = done.mask(), done.states()
    done.controller.redraw(0.3, 2.0, near=4)
    assert done.client.cut == wholeCut(0.3, 2.0)
    assert done.client.near == 4
    done.client.redrawn(lambda index: np.ones((8, 9), dtype=bool))
    assert not done.controller.busy
    np.testing.assert_array_equal(done.mask()[2], before[2])
    assert done.mask()[4].all()
    assert done.states() == undone
    assert done.controller.review.slices()[4].areaMm2 == 72
    done.controller.undo()
    np.testing.assert_array_equal(done.mask(), before)


def test_what_follows_a_run_goes_with_its_undo_and_takes_all_its_segments(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    segmentation, first = bench.controller.segmentationNode, bench.controller.segmentId
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    bench.controller.setSegment(segmentation, second)
    bench.click(2, 2, 3)
    bench.preview()

    def masks() -> list[Any]:
        return [segmentMask(segmentation, one, bench.volume) for one in (first, second)]

    before = masks()
    bench.controller.propagateAll()
    finish(bench.client.calls[-1])
    bench.controller.redrawRun(0.3, 2.0)
    for _ in range(2):
        bench.client.redrawn(lambda index: np.ones((8, 9), dtype=bool))
    assert not bench.controller.busy
    assert [mask[4].all() for mask in masks()] == [True, True]
    bench.controller.undo()
    for mask, earlier in zip(masks(), before, strict=True):
        np.testing.assert_array_equal(mask, earlier)


def test_undo_of_a_redraw_takes_its_values_back_too_and_redo_brings_them(done: ControllerBench) -> None:
    assert done.controller.review.cut() == wholeCut(0.5, 0.0)
    before = done.mask()
    done.controller.redraw(0.3, 2.0)
    done.client.redrawn(lambda index: np.ones((8, 9), dtype=bool))
    assert done.controller.review.cut() == wholeCut(0.3, 2.0)
    drawn = done.mask()
    done.controller.undo()
    np.testing.assert_array_equal(done.mask(), before)
    assert done.controller.review.cut() == wholeCut(0.5, 0.0)
    assert done.record()["settings"]["threshold"] == 0.5
    assert done.controller.review.whyNotRedraw() == ""
    done.controller.redo()
    np.testing.assert_array_equal(done.mask(), drawn)
    assert done.controller.review.cut() == wholeCut(0.3, 2.0)
    assert done.record()["settings"]["threshold"] == 0.3
    assert done.controller.review.whyNotRedraw() == ""


def test_undo_of_a_propagation_leaves_nothing_to_redraw_until_redo(done: ControllerBench) -> None:
    done.controller.undo()
    assert (
        "Propagate this segment again first" in done.controller.review.whyNotRedraw()
        or not done.controller.review.slices()
    )
    assert done.controller.review.cut() is None
    done.controller.redo()
    assert done.controller.review.whyNotRedraw() == ""
    assert done.controller.review.cut() == wholeCut(0.5, 0.0)
    done.click(4, 4, 3)
    finish(done.propagate(0))
    done.client.gone = {5}
    done.click(4, 4, 4)
    finish(done.propagate(0))
    done.controller.undo()
    assert "Propagate this segment again first" in done.controller.review.whyNotRedraw()


def test_where_nothing_was_propagated_redrawing_says_what_it_needs(bench: ControllerBench) -> None:
    bench.controller.setOptions(RunOptions(first=3, last=4))
    bench.click(4, 4, 3)
    bench.propagate(1).finish()
    assert bench.states() == {3: "prompted"}
    said = bench.controller.review.whyNotRedraw()
    assert "Only propagated slices" in said
    bench.controller.redraw(0.3, 2.0)
    assert bench.said["failed"] == [(said,)]
    bench.controller.redrawRun(0.3, 2.0)  # as the panel does after a run, where sliders were moved before it
    assert len(bench.said["failed"]) == 1
    assert not bench.controller.busy


def test_how_a_segment_is_drawn_is_known_in_another_session(done: ControllerBench) -> None:
    done.controller.redraw(0.3, 2.0)
    done.client.redrawn(lambda index: np.ones((8, 9), dtype=bool))
    later = Controller(done.client)
    later.setVolume(done.volume)
    later.setSegment(done.controller.segmentationNode, done.controller.segmentId)
    assert later.review.cut() == wholeCut(0.3, 2.0)
    later.close()


def test_a_redraw_of_what_is_not_kept_says_what_to_do(done: ControllerBench) -> None:
    done.controller.setOptions(RunOptions(memory="self-sorting"))
    done.click(4, 4, 4)
    done.preview(4)  # which is kept, but was not propagated
    calls = len(done.client.calls)
    done.controller.redraw(0.3)
    assert "Propagate this segment again first" in done.said["failed"][0][0]
    assert len(done.client.calls) == calls
    assert not done.controller.busy
    done.propagate().finish()
    done.controller.redraw(0.3)
    assert len(done.said["failed"]) == 1


@pytest.mark.parametrize("act", ["preview", "propagate"])
def test_what_gives_way_to_another_segment_is_no_edit_but_what_a_tool_did_there_is(
    done: ControllerBench, act: str
) -> None:
    segmentation, first = done.controller.segmentationNode, done.controller.segmentId
    done.paint(6)  # which nobody has noticed yet
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    segmentEditor(segmentation)
    done.controller.setSegment(segmentation, second)
    done.click(4, 4, 3)
    if act == "preview":
        done.preview()
    else:
        finish(done.propagate(0))
    done.controller.setSegment(segmentation, first)
    states = done.states()
    assert not segmentMask(segmentation, first, done.volume)[3].any()
    assert states.pop(6) == "edited"
    assert "edited" not in states.values()


def addSegment(bench: ControllerBench, name: str = "second") -> str:
    segmentId: str = bench.controller.segmentationNode.GetSegmentation().AddEmptySegment("", name)
    return segmentId


def test_a_segment_removed_in_a_later_part_frees_the_controller(done: ControllerBench) -> None:
    segmentation, first, second = done.controller.segmentationNode, done.controller.segmentId, addSegment(done)
    done.controller.setSegment(segmentation, second)
    done.click(2, 2, 3)
    finish(done.propagate(0))
    done.paint(5)
    done.controller.setSegment(segmentation, first)
    done.paint(1)
    notice(done)
    done.controller.setSegment(segmentation, second)
    done.controller.propagateAll()
    finish(done.client.calls[-1])
    segmentation.GetSegmentation().RemoveSegment(first)
    finish(done.client.calls[-1])
    assert not done.controller.busy
    assert "edited" in done.states().values()
    assert "stale" not in done.states().values()


def test_a_segment_removed_just_before_the_end_frees_the_controller(done: ControllerBench) -> None:
    done.paint(5)
    notice(done)
    call = done.propagate(0)
    while call.steps:
        call.step()
    done.controller.segmentationNode.GetSegmentation().RemoveSegment(done.controller.segmentId)
    call.finish()
    assert not done.controller.busy


def test_what_follows_a_run_is_of_the_segments_that_ran(done: ControllerBench) -> None:
    done.controller.setSegment(done.controller.segmentationNode, addSegment(done))
    done.controller.propagateAll()
    finish(done.client.calls[-1])
    done.controller.redrawRun(0.3, 0.0)
    assert not done.said["failed"]
    assert done.controller.busy


def test_a_click_during_a_run_waits_for_what_follows_it_too(done: ControllerBench) -> None:
    call = done.propagate(0)
    done.controller.finished.connect(lambda _summary: done.controller.redrawRun(0.3, 0.0))
    done.controller.prompting.addPoint((4, 4, 2))
    finish(call)
    done.client.redrawn(lambda index: np.ones((8, 9), dtype=bool))
    done.client.answer(2)
    assert done.states()[2] == "prompted"


def test_a_click_taken_back_during_a_run_leaves_nothing(done: ControllerBench) -> None:
    call = done.propagate(0)
    done.controller.prompting.addPoint((4, 4, 2))
    done.controller.prompting.removePrompt(
        next(item for item in done.controller.review.prompts() if item.sliceIndex == 2)
    )
    calls = len(done.client.calls)
    finish(call)
    assert len(done.client.calls) == calls
    assert done.states()[2] == "propagated"


@pytest.mark.parametrize("isRunning", [True, False])
def test_without_prompts_no_slice_is_prompted(done: ControllerBench, isRunning: bool) -> None:
    if isRunning:
        call = done.propagate(0)
        done.controller.prompting.removeAllPrompts()
        finish(call)
    else:
        done.controller.prompting.addPoint((4, 4, 2))
        done.controller.prompting.removeAllPrompts()
        done.client.answer(2)
    assert done.controller.review.prompts() == []
    assert "prompted" not in done.states().values()


def test_what_was_undone_is_not_kept_to_be_drawn_again(done: ControllerBench) -> None:
    done.paint(5)
    notice(done)
    done.client.gone = {4}
    finish(done.propagate(0))
    assert done.drawn() == [1, 2, 3, 5]
    assert done.controller.review.whyNotRedraw() == ""
    done.controller.undo()
    assert done.drawn() == [1, 2, 3, 4, 5]
    assert "Propagate this segment again first" in done.controller.review.whyNotRedraw()
