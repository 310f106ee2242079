"""What other tools do to segments while a run goes on: it is theirs, and not the run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish, notice, segmentEditor

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib import live
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.oblique import masksOn
from MedSAM2SlicerLib.scene.segments import SegmentWriter

SPOT, FULL = np.eye(8, 9, dtype=bool), np.ones((8, 9), dtype=bool)
TILTED = SliceStack(0, ((-1, 0, 0, 0), (0, 0.8, -0.6, 0), (0, 0.6, 0.8, 0), (0, 0, 0, 1)))


def paint(bench: ControllerBench, segmentId: str, index: int, mask: Any = SPOT) -> None:
    writer = SegmentWriter(bench.controller.segmentationNode, segmentId, bench.volume)
    writer.begin()
    writer.writeSlices({index: mask}, 0)
    writer.end()


def edited(bench: ControllerBench) -> list[int]:
    return [index for index, state in bench.states().items() if state == "edited"]


@pytest.mark.parametrize("end", ["done", "stopped", "broken off"])
def test_what_is_painted_behind_a_run_is_an_edit(done: ControllerBench, end: str) -> None:
    call = done.propagate(3)  # slices 3, 4, 5
    done.paint(5, SPOT)
    notice(done)
    if end == "done":
        finish(call)
    elif end == "stopped":
        done.controller.stop()
    else:
        done.controller.setOptions(RunOptions(memory="self-sorting"))
    notice(done)
    assert not done.controller.busy
    assert edited(done) == [5]
    assert done.said["promptsChanged"]
    finish(done.propagate(0))
    np.testing.assert_array_equal(done.mask()[5], SPOT)


def stroke(bench: ControllerBench, index: int, mask: Any = SPOT) -> None:
    """What Segment Editor's Paint does: a state for undo first."""
    bench.controller.workplace.target.history.saveState()
    bench.paint(index, mask)


@pytest.mark.parametrize("end", ["done", "stopped", "broken off"])
def test_what_is_painted_ahead_of_a_run_is_left_alone(done: ControllerBench, end: str) -> None:
    call = done.propagate(3)  # slices 3, 4, 5; then 6, 2, 1, 0
    done.paint(1, SPOT)
    notice(done)
    for _ in range(3):
        call.step()
    if end == "done":
        finish(call)
    elif end == "stopped":
        done.controller.stop()
    else:
        done.controller.setOptions(RunOptions(memory="self-sorting"))
    notice(done)
    assert edited(done) == [1]
    np.testing.assert_array_equal(done.mask()[1], SPOT)
    assert done.controller.review.intervals() == ([] if end == "broken off" else [(0, 4)])
    finish(done.propagate(0))
    np.testing.assert_array_equal(done.mask()[1], SPOT)


def test_what_a_run_leaves_alone_is_seen_as_an_edit_at_once(done: ControllerBench) -> None:
    call = done.propagate(3)
    done.paint(1, SPOT)
    call.step()
    assert done.states()[1] == "edited"
    finish(call)
    assert done.states()[1] == "edited"
    done.controller.redraw(0.3)
    done.paint(5, SPOT)
    done.client.redrawn(lambda index: FULL)
    assert [done.states()[index] for index in (1, 5)] == ["edited", "edited"]


def test_what_is_painted_ahead_of_a_run_is_known_as_if_it_came_behind_it(done: ControllerBench) -> None:
    call = done.propagate(3)
    done.paint(1, SPOT)
    finish(call)
    notice(done)
    states, intervals, script = done.states(), done.controller.review.intervals(), done.controller.review.script()
    done.controller.undo()
    finish(done.propagate(0))
    done.paint(1, SPOT)
    notice(done)
    assert (states, intervals) == (done.states(), done.controller.review.intervals())
    assert script == done.controller.review.script()


def test_a_brush_that_reaches_through_slices_leaves_all_of_them_to_the_user(done: ControllerBench) -> None:
    call = done.propagate(3)
    writer = SegmentWriter(done.controller.segmentationNode, done.controller.segmentId, done.volume)
    writer.writeSlices(dict.fromkeys((0, 1, 2, 4), SPOT), 0)
    finish(call)
    notice(done)
    assert edited(done) == [0, 1, 2, 4]
    for index in (0, 1, 2, 4):
        np.testing.assert_array_equal(done.mask()[index], SPOT)


def test_what_is_erased_ahead_of_a_run_stays_empty(done: ControllerBench) -> None:
    call = done.propagate(3)
    done.paint(1, ~FULL)
    finish(call)
    notice(done)
    assert edited(done) == [1]
    assert not done.mask()[1].any()


@pytest.mark.parametrize("mask", [SPOT, ~FULL])
def test_a_slice_that_a_run_comes_back_to_is_left_as_somebody_made_it(done: ControllerBench, mask: Any) -> None:
    call = done.propagate(3)
    done.paint(5, mask)
    call.steps.append(5)  # as at the end of a run along three axes
    finish(call)
    notice(done)
    assert edited(done) == [5]
    np.testing.assert_array_equal(done.mask()[5], mask)


def test_a_slice_that_a_run_gives_up_keeps_what_is_painted_there(done: ControllerBench) -> None:
    call = done.propagate(3)
    done.paint(1, SPOT)
    call.steps.remove(1)  # that direction ended before
    finish(call)
    notice(done)
    assert edited(done) == [1]
    np.testing.assert_array_equal(done.mask()[1], SPOT)


def test_undo_of_what_was_painted_during_a_run_brings_back_what_it_had_drawn(done: ControllerBench) -> None:
    before, history = done.states(), done.mask()
    done.client.mask = lambda index: ~SPOT
    call = done.propagate(3)
    drawn = done.mask()
    stroke(done, 1)
    call.step()
    stroke(done, 0)
    finish(call)
    notice(done)
    assert edited(done) == [0, 1]
    done.controller.undo()
    notice(done)
    assert edited(done) == [1]
    done.controller.undo()
    notice(done)
    np.testing.assert_array_equal(done.mask(), drawn)
    assert {index: state for index, state in done.states().items() if state != "stale"} == {3: "prompted"}
    assert done.controller.review.intervals() == []
    done.controller.undo()
    notice(done)
    np.testing.assert_array_equal(done.mask(), history)
    assert done.states() == before


def test_what_goes_with_undo_of_a_stroke_during_a_run_is_drawn_by_the_next_one(done: ControllerBench) -> None:
    done.client.mask = lambda index: ~SPOT
    call = done.propagate(3)
    stroke(done, 1)
    for _ in range(3):
        call.step()  # 6 and 2, and 1 that is left alone
    done.controller.workplace.target.history.undo()  # as Segment Editor's own, which stops no run
    finish(call)
    notice(done)
    assert edited(done) == []
    assert [index for index, state in done.states().items() if state == "stale"] == [1, 2, 6]
    assert not (done.mask()[6] == ~SPOT).all()
    finish(done.propagate(0))
    assert "stale" not in done.states().values()
    for index in (1, 2, 6):
        np.testing.assert_array_equal(done.mask()[index], ~SPOT)


def test_a_stroke_that_is_redone_during_a_run_is_an_edit(done: ControllerBench) -> None:
    call = done.propagate(3)
    stroke(done, 1)
    call.step()
    history = done.controller.workplace.target.history
    history.undo()
    call.step()
    history.redo()
    finish(call)
    notice(done)
    assert 1 in edited(done)
    np.testing.assert_array_equal(done.mask()[1], SPOT)


def test_a_slice_that_was_painted_and_undone_during_a_run_is_not_said_to_be_drawn(done: ControllerBench) -> None:
    before = done.mask()[1]
    done.client.mask = lambda index: ~SPOT
    call = done.propagate(3)
    done.paint(1, SPOT)
    call.step()
    done.paint(1, before)
    finish(call)
    notice(done)
    np.testing.assert_array_equal(done.mask()[1], before)
    assert done.states()[1] == "stale"
    assert done.controller.review.intervals() == [(0, 4)]
    finish(done.propagate(0))
    np.testing.assert_array_equal(done.mask()[1], ~SPOT)


def test_what_is_painted_on_an_oblique_slice_ahead_of_a_run_is_left_alone(done: ControllerBench) -> None:
    controller, segmentation = done.controller, done.controller.segmentationNode
    controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment("", "tilted"))
    controller.setOptions(RunOptions(stack=TILTED))
    done.click(4, 4, 3)
    done.client.shape = controller.workplace.sliced().slicing.shape
    (prompt,) = controller.review.prompts()
    done.client.middle = prompt.sliceIndex
    done.client.mask = lambda index: np.ones(done.client.shape, dtype=bool)
    call = done.propagate(1)
    edge = np.zeros((8, 9), dtype=bool)
    edge[7] = True
    done.paint(0, done.mask()[0] | edge)  # a row of a stored slice, which lies in an oblique one
    finish(call)
    notice(done)
    (own,) = edited(done)
    masks = masksOn(controller.workplace.sliced(), segmentation, controller.segmentId)
    assert masks.mask(own).sum() < masks.mask(prompt.sliceIndex).sum()
    assert done.mask()[0, 7].all()


@pytest.mark.parametrize("axis", [0, 1])
def test_an_edit_is_known_though_another_segment_of_the_run_overwrites_a_part_of_it(
    done: ControllerBench, axis: int
) -> None:
    controller, segmentation, first = done.controller, done.controller.segmentationNode, done.controller.segmentId
    segmentEditor(segmentation).SetOverwriteMode(0)
    controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment("", "second"))
    controller.setOptions(RunOptions(stack=SliceStack(axis)))
    done.client.shape = (8, 9) if axis == 0 else (7, 9)
    done.click(4, 4, 3)
    controller.propagateAll()
    call = done.client.calls[-1]
    paint(done, first, 1, FULL)
    while not call.isFinished:
        finish(call)
        call = done.client.calls[-1]
    controller.setSegment(segmentation, first)
    assert 1 in edited(done)


def test_what_is_painted_ahead_of_a_redraw_is_left_alone(done: ControllerBench) -> None:
    done.controller.redraw(0.3)
    done.paint(5, SPOT)
    done.client.redrawn(lambda index: FULL)
    notice(done)
    assert edited(done) == [5]
    np.testing.assert_array_equal(done.mask()[5], SPOT)
    assert done.mask()[4].all()


def test_what_is_painted_behind_a_redraw_is_an_edit(done: ControllerBench) -> None:
    done.controller.redraw(0.3)
    done.paint(3, SPOT)
    done.client.redrawn(lambda index: ~SPOT)
    notice(done)
    assert edited(done) == [3]


def test_a_run_alone_leaves_no_edit_behind(done: ControllerBench) -> None:
    finish(done.propagate(0))
    notice(done)
    assert edited(done) == []
    assert not done.controller.workplace.edits.pending


@pytest.mark.parametrize(("painted", "span"), [(5, (3, 7)), (1, (0, 4))], ids=["behind", "ahead"])
def test_live_goes_on_from_what_was_painted_behind_or_ahead_of_a_run(
    done: ControllerBench, monkeypatch: pytest.MonkeyPatch, painted: int, span: tuple[int, int]
) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    done.controller.live.turn(True)
    call = done.propagate(3)
    done.paint(painted, SPOT)
    finish(call)
    notice(done)
    assert done.client.spans[-1] == span
    np.testing.assert_array_equal(done.mask()[painted], SPOT)


def overNeighbor(bench: ControllerBench, axis: int) -> tuple[Any, str]:
    """A run of another segment along an axis, which overwrites the one that was propagated; and the ID of that."""
    controller, segmentation, first = bench.controller, bench.controller.segmentationNode, bench.controller.segmentId
    segmentEditor(segmentation).SetOverwriteMode(0)
    controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment("", "second"))
    controller.setOptions(RunOptions(stack=SliceStack(axis)))
    bench.client.shape = (8, 9) if axis == 0 else (7, 9)
    bench.click(4, 4, 3)
    return bench.propagate(1), first


@pytest.mark.parametrize(("isOverwritten", "axis"), [(True, 0), (False, 0), (False, 1)])
def test_what_is_painted_in_another_segment_during_a_run_is_an_edit_of_that_one(
    done: ControllerBench, isOverwritten: bool, axis: int
) -> None:
    controller, segmentation, first = done.controller, done.controller.segmentationNode, done.controller.segmentId
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    if isOverwritten:
        segmentEditor(segmentation).SetOverwriteMode(0)
    controller.setSegment(segmentation, second)
    controller.setOptions(RunOptions(stack=SliceStack(axis)))
    done.client.shape = (8, 9) if axis == 0 else (7, 9)
    done.click(4, 4, 3)
    call = done.propagate(3)
    paint(done, first, 0)
    finish(call)
    controller.setSegment(segmentation, first)
    assert edited(done) == [0]


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_painted_in_another_segment_is_known_though_the_run_draws_over_a_part_of_it(
    done: ControllerBench, axis: int
) -> None:
    call, first = overNeighbor(done, axis)
    paint(done, first, 2, FULL)
    finish(call)
    done.controller.setSegment(done.controller.segmentationNode, first)
    assert edited(done) == [2]
    assert done.mask()[2].any()
    assert not done.mask()[2].all()


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_painted_in_another_segment_and_undone_during_a_run_is_no_edit(
    done: ControllerBench, axis: int
) -> None:
    call, first = overNeighbor(done, axis)
    call.steps.clear()
    done.controller.workplace.target.history.saveState()
    paint(done, first, 0, FULL)
    call.steps.append(6)
    call.step()
    done.controller.workplace.target.history.undo()  # as Segment Editor's own, which stops no run
    finish(call)
    done.controller.setSegment(done.controller.segmentationNode, first)
    assert edited(done) == []


@pytest.mark.parametrize("isLeft", [True, False])
def test_a_segment_that_comes_back_with_undo_after_a_run_has_no_edits(done: ControllerBench, isLeft: bool) -> None:
    controller, segmentation, segmentId = (
        done.controller,
        done.controller.segmentationNode,
        done.controller.segmentId,
    )
    done.client.mask = lambda index: ~SPOT
    call = done.propagate(3)
    controller.removeSegment()
    if isLeft:
        controller.setSegment(segmentation, "")
    else:
        finish(call)
    notice(done)
    controller.undo()
    controller.setSegment(segmentation, segmentId)
    notice(done)
    assert segmentation.GetSegmentation().GetSegment(segmentId) is not None
    assert edited(done) == []
    assert {4: "stale", 5: "stale"}.items() <= done.states().items()
