"""What happens to a segment while a run writes into it, and what comes of that."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish, notice

from medsam2_core.errors import PromptError, WorkerError
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.scenewatch import EditWatch


@pytest.mark.parametrize("isRenamed", [False, True])
def test_what_undo_takes_back_of_a_running_run_is_no_edit(bench: ControllerBench, isRenamed: bool) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    bench.propagate(steps=3)
    if isRenamed:
        controller = bench.controller
        controller.segmentationNode.GetSegmentation().GetSegment(controller.segmentId).SetName("liver")
    bench.controller.undo()
    assert bench.states() == {3: "prompted"}
    bench.propagate().finish()
    assert bench.drawn() == [1, 2, 3, 4, 5]


def test_undo_of_a_stroke_during_a_run_makes_no_edit_of_what_was_drawn_after_it(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    call = bench.propagate(steps=2)  # slices 3, 4
    bench.controller.workplace.target.history.saveState()  # as Paint does
    bench.paint(1)
    call.step()  # slice 5
    bench.controller.undo()
    assert bench.drawn() == [3, 4]
    assert "edited" not in bench.states().values()
    bench.controller.undo()
    assert bench.states() == {3: "prompted"}


def test_undo_of_a_stroke_that_changed_nothing_makes_no_edit_of_what_was_drawn_after_it(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    call = bench.propagate(steps=2)  # slices 3, 4
    bench.controller.workplace.target.history.saveState()
    written = slicer.vtkSegmentation.SourceRepresentationModified  # as the eraser says where nothing is
    bench.controller.segmentationNode.GetSegmentation().InvokeEvent(written)
    call.step()  # slice 5
    bench.controller.undo()
    assert bench.drawn() == [3, 4]
    assert "edited" not in bench.states().values()


def test_undo_of_the_preview_before_a_run_drew_anything_is_no_edit(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    call = bench.propagate(steps=0)
    bench.controller.workplace.target.history.undo()  # as Segment Editor's own, which stops no run
    assert bench.drawn() == []
    finish(call)
    notice(bench)
    assert bench.drawn() == [1, 2, 3, 4, 5]
    assert "edited" not in bench.states().values()


def test_undo_that_takes_other_segments_along_makes_no_edits(done: ControllerBench) -> None:
    before = done.states()
    for _ in range(2):  # which share a layer
        done.controller.segmentationNode.GetSegmentation().AddEmptySegment()
    notice(done)
    done.controller.undo()
    assert done.states() == {}
    done.controller.redo()
    assert done.states() == before


def toSurface(bench: ControllerBench) -> None:
    """What the module Segmentations does when Closed surface is made the source representation."""
    segmentation = bench.controller.segmentationNode.GetSegmentation()
    segmentation.CreateRepresentation("Closed surface")
    segmentation.SetSourceRepresentationName("Closed surface")


@pytest.mark.parametrize("isPreview", [False, True])
def test_a_segment_that_becomes_a_surface_ends_what_is_under_way(bench: ControllerBench, isPreview: bool) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    if isPreview:
        bench.controller.prompting.preview(3)
        toSurface(bench)
        bench.client.answer(3)
    else:
        call = bench.propagate(steps=3)
        toSurface(bench)
        call.step()
    assert not bench.controller.busy
    ((said,),) = bench.said["failed"]
    assert "Binary labelmap" in said
    bench.controller.undo()


def test_a_segment_that_is_a_surface_for_a_while_keeps_what_is_known_of_its_slices(done: ControllerBench) -> None:
    done.controller.lock(2)
    before, segmentation = done.states(), done.controller.segmentationNode.GetSegmentation()
    segment = segmentation.GetSegment(done.controller.segmentId)
    layer = segment.GetRepresentation("Binary labelmap")
    toSurface(done)
    notice(done)
    assert done.states() == before
    segment.AddRepresentation("Binary labelmap", layer)
    segmentation.SetSourceRepresentationName("Binary labelmap")
    notice(done)
    assert done.states() == before


@pytest.mark.parametrize("how", ["stop", "undo"])
def test_a_run_through_a_segment_that_became_a_surface_can_be_ended(bench: ControllerBench, how: str) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=3)
    toSurface(bench)
    getattr(bench.controller, how)()
    assert not bench.controller.busy


def test_whatever_is_asked_of_a_removed_segment_is_refused_in_words(done: ControllerBench) -> None:
    controller = done.controller
    controller.segmentationNode.GetSegmentation().RemoveSegment(controller.segmentId)
    actions = [
        controller.propagate,
        controller.redraw,
        controller.disagreement.show,
        lambda: controller.prompting.addPoint((4, 4, 3)),
        lambda: controller.prompting.addBox((2, 2, 3), (5, 5, 3)),
        lambda: controller.prompting.preview(3),
    ]
    for action in actions:
        done.said["failed"].clear()
        action()
        assert len(done.said["failed"]) == 1
    assert not done.client.calls[1:]


@pytest.mark.parametrize("isLeft", [False, True])
def test_undo_beyond_the_removal_of_a_segment_makes_no_edits(
    bench: ControllerBench, at_once: None, isLeft: bool
) -> None:
    bench.click(4, 4, 3)
    node, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    other = node.GetSegmentation().AddEmptySegment()
    bench.preview()
    bench.controller.removeSegment()
    notice(bench)
    bench.controller.setSegment(node, other)
    if not isLeft:
        bench.controller.setSegment(node, segmentId)
        notice(bench)
    for expected in ({3: "prompted"}, {}):
        bench.controller.undo()
        bench.controller.setSegment(node, segmentId)
        notice(bench)
        assert bench.states() == expected


def test_undo_to_a_state_that_was_saved_in_the_middle_of_a_run_makes_no_edits(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    call = bench.propagate(steps=2)  # slices 3, 4
    bench.controller.workplace.target.history.saveState()  # as a brush does, which then paints nothing
    finish(call)
    bench.controller.undo()
    assert bench.drawn() == [3, 4]
    assert "edited" not in bench.states().values()
    bench.propagate().finish()
    assert bench.drawn() == [1, 2, 3, 4, 5]


def test_undo_of_the_last_of_two_strokes_makes_edits_of_the_first_alone(done: ControllerBench) -> None:
    history = done.controller.workplace.target.history
    history.saveState()
    done.paint(1)
    history.saveState()
    done.paint(5)
    notice(done)
    assert [index for index, one in done.states().items() if one == "edited"] == [1, 5]
    history.undo()
    notice(done)
    assert [index for index, one in done.states().items() if one == "edited"] == [1]
    assert done.states()[5] == "stale"  # no record tells of the segment as it is now
    done.propagate().finish()
    assert done.states()[5] == "propagated"


def test_what_is_erased_while_nobody_watches_is_an_edit_though_the_slice_was_empty(done: ControllerBench) -> None:
    done.controller.close(isForGood=False)
    done.paint(5, np.zeros((8, 9), dtype=bool))
    done.paint(1)
    done.controller = Controller(done.client, workplace=done.controller.workplace)
    assert done.states()[5] == "edited"


@pytest.mark.parametrize("isAsked", [False, True])
def test_a_stroke_soon_after_an_undo_makes_an_edit_of_its_own_slice_alone(
    done: ControllerBench, monkeypatch: pytest.MonkeyPatch, isAsked: bool
) -> None:
    monkeypatch.setattr(EditWatch, "SETTLED", 60.0)  # the stroke is not over
    if isAsked:  # for a preview, which takes the worker a while
        done.controller.prompting.preview(3)
    done.controller.workplace.target.history.undo()
    notice(done)
    done.paint(1)
    monkeypatch.setattr(EditWatch, "SETTLED", 0.0)
    notice(done)
    done.controller.propagate()
    assert done.states() == {1: "edited"}


def test_a_stroke_after_an_undo_while_a_slice_takes_long_makes_an_edit_of_its_own_slice_alone(
    bench: ControllerBench,
) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    call = bench.propagate(steps=0)
    bench.controller.workplace.target.history.undo()
    notice(bench)
    bench.paint(1)
    finish(call)
    notice(bench)
    assert [index for index, one in bench.states().items() if one == "edited"] == [1]
    assert bench.drawn() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("isEdited", [False, True])
@pytest.mark.parametrize("isRunning", [False, True])
def test_a_preview_that_waits_for_its_turn_is_not_drawn_over_what_is_painted_meanwhile(
    done: ControllerBench, isEdited: bool, isRunning: bool
) -> None:
    if isEdited:
        done.paint(5)
        notice(done)
    if isRunning:
        done.controller.propagate()
    else:
        done.controller.prompting.preview(3)
    before = len(done.client.calls)
    done.click(4, 4, 5)
    done.controller.prompting.preview(5)
    painted = np.eye(8, 9, dtype=bool)
    done.paint(5, painted)
    if isRunning:
        finish(done.client.calls[-1])
    else:
        done.client.answer(3)
    assert len(done.client.calls) == before
    np.testing.assert_array_equal(done.mask()[5], painted)
    assert done.states()[5] == "edited"
    done.controller.prompting.preview(5)
    done.client.answer(5)
    assert done.states()[5] == "prompted"


@pytest.mark.parametrize("isEdit", [False, True])
@pytest.mark.parametrize("isLost", [False, True])
def test_a_slice_that_is_undone_during_a_run_from_it_is_none_to_go_from_any_more(
    bench: ControllerBench, isEdit: bool, isLost: bool
) -> None:
    bench.click(4, 4, 3)
    history = bench.controller.workplace.target.history
    if isEdit:
        history.saveState()
        bench.paint(0)
        notice(bench)
    call = bench.propagate(steps=1)  # slice 3
    history.undo()
    if isEdit:
        history.undo()
    notice(bench)
    if isLost:
        call.fail(WorkerError("The worker is gone."))
    else:
        finish(call)
        assert bench.drawn() == [1, 2, 4, 5]
    notice(bench)
    assert not ({0, 3} if isEdit else {3}) & bench.states().keys()
    with pytest.raises(PromptError, match="propagate"):
        bench.controller.review.script()
    bench.propagate().finish()
    assert bench.states()[3] == "prompted"
    assert bench.drawn() == [1, 2, 3, 4, 5]


def test_undo_of_a_stroke_and_of_a_run_while_a_slice_takes_long_makes_no_edits(
    bench: ControllerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EditWatch, "SETTLED", 0.0)
    bench.click(4, 4, 3)
    bench.preview()
    call = bench.propagate(steps=3)  # slices 3, 4, 5
    history = bench.controller.workplace.target.history
    history.saveState()
    bench.paint(5)
    notice(bench)
    history.undo()
    history.undo()
    finish(call)
    notice(bench)
    assert "edited" not in bench.states().values()


def test_a_preview_that_waits_for_its_turn_leaves_a_slice_alone_that_is_accepted_by_then(
    done: ControllerBench,
) -> None:
    done.controller.prompting.preview(3)
    before = len(done.client.calls)
    done.click(4, 4, 6)
    done.controller.prompting.preview(6)
    done.controller.accept(6)
    done.client.answer(3)
    assert len(done.client.calls) == before
    assert done.states()[6] == "accepted"


@pytest.mark.parametrize("isQueued", [False, True])
def test_a_propagation_that_does_not_wait_for_a_preview_goes_through_its_slice(
    done: ControllerBench, isQueued: bool
) -> None:
    done.paint(1)
    notice(done)
    if isQueued:
        done.controller.prompting.preview(3)
    done.click(4, 4, 5)
    done.controller.prompting.preview(5)
    done.controller.propagate()
    (first, last), *others = done.client.spans[1:]
    assert first <= 5 < last
    assert not others


@pytest.mark.parametrize("isAnswered", [False, True])
def test_a_click_whose_preview_is_undone_counts_in_the_next_propagation(
    done: ControllerBench, isAnswered: bool
) -> None:
    done.controller.workplace.target.history.saveState()
    done.paint(1)
    notice(done)
    finish(done.propagate(0))
    done.click(4, 4, 5)
    done.controller.prompting.preview(5)
    if isAnswered:
        done.client.answer(5)
    done.controller.undo()
    done.paint(0)
    notice(done)
    del done.client.spans[:]
    done.controller.propagate()
    while done.controller.busy:
        finish(done.client.calls[-1])
    assert any(first <= 5 < last for first, last in done.client.spans)
