"""What happens to a segment while a run writes into it, and what comes of that."""

from __future__ import annotations

import pytest
import slicer
from controllerbench import ControllerBench, finish, notice


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
