"""Another segment's masks as prompts, and what becomes of slices whose prompts are removed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import vtk
from controllerbench import ControllerBench, finish, notice

from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask


def other(bench: ControllerBench, *indexes: int) -> str:
    """Another segment, which marks a corner of these slices; the first one stays the one at work."""
    segmentation = bench.controller.segmentationNode
    segmentId = str(segmentation.GetSegmentation().AddEmptySegment("", "other"))
    writer = SegmentWriter(segmentation, segmentId, bench.volume)
    writer.writeSlices({index: np.tri(8, 9, dtype=bool) for index in indexes}, 0)
    writer.end()
    return segmentId


def test_the_masks_of_another_segment_are_drawn_at_once_and_bound_the_next_propagation(done: ControllerBench) -> None:
    before = done.mask()
    done.controller.prompting.addSegmentPrompt(other(done, 5))
    np.testing.assert_array_equal(done.mask()[5], np.tri(8, 9, dtype=bool))
    assert done.states() == {0: "propagated", 1: "propagated", 2: "propagated", 3: "prompted", 4: "stale",
                             5: "prompted", 6: "stale"}  # fmt: skip
    assert done.controller.review.intervals() == [(3, 7)]
    notice(done)
    assert done.states()[5] == "prompted"
    (item,) = [one for one in done.controller.review.prompts() if one.kind == "segment"]
    done.controller.prompting.removePrompt(item)
    assert done.drawn() == [1, 2, 3, 4]
    done.controller.undo()
    done.controller.undo()
    np.testing.assert_array_equal(done.mask(), before)


def test_another_segment_counts_beside_an_edit(done: ControllerBench) -> None:
    done.paint(1)
    done.controller.prompting.addSegmentPrompt(other(done, 5))
    assert done.states()[1] == "edited"
    assert done.controller.review.intervals() == []
    done.controller.lock(2)
    done.controller.lock(4)
    assert done.controller.review.intervals() == [(0, 3), (4, 7)]


def test_a_segment_that_was_taken_goes_without_another_one(done: ControllerBench) -> None:
    first, second = other(done, 4), other(done, 6)
    done.controller.prompting.addSegmentPrompt(first)
    done.controller.prompting.addSegmentPrompt(second)
    (item,) = [one for one in done.controller.review.prompts() if one.sourceId == first]
    done.controller.prompting.removePrompt(item)
    assert [one.sliceIndex for one in done.controller.review.prompts() if one.kind == "segment"] == [6]
    assert done.states()[6] == "prompted"


def test_a_segment_taken_on_several_slices_goes_from_all_of_them(done: ControllerBench) -> None:
    done.controller.prompting.addSegmentPrompt(other(done, 4, 5, 6))
    assert [done.states()[index] for index in (4, 5, 6)] == ["prompted"] * 3
    done.controller.prompting.removePrompt(done.controller.review.prompts()[-1])
    assert done.drawn() == [1, 2, 3]
    assert [one.sliceIndex for one in done.controller.review.prompts()] == [3]
    assert not {4, 5, 6} & done.states().keys()


@pytest.fixture
def overwriting(done: ControllerBench, nodes: Any) -> ControllerBench:
    """`done` with Slicer's own default: what is drawn overwrites all other segments."""
    editor = nodes.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    assert editor.GetOverwriteMode() == editor.OverwriteAllSegments
    done.controller.workplace.target._editorNode = editor
    return done


def of(bench: ControllerBench, segmentId: str) -> Any:
    """The slices of another segment."""
    return segmentMask(bench.controller.segmentationNode, segmentId, bench.volume)


def test_a_prompt_takes_nothing_from_the_segment_it_comes_from(overwriting: ControllerBench) -> None:
    segmentId = other(overwriting, 4, 5)
    before = of(overwriting, segmentId)
    overwriting.controller.prompting.addSegmentPrompt(segmentId, 5)
    assert overwriting.mask()[5].sum() == before[5].sum()
    np.testing.assert_array_equal(of(overwriting, segmentId), before)
    overwriting.controller.prompting.addPoint(ijkToWorld(overwriting.volume, [[1, 1, 5]])[0], include=False)
    overwriting.client.answer(5)
    finish(overwriting.propagate(0))
    assert (overwriting.mask()[4] & before[4]).any()
    np.testing.assert_array_equal(of(overwriting, segmentId), before)
    assert overwriting.said["noticed"] == []


def test_the_source_of_a_prompt_stays_whole_in_another_session_too(overwriting: ControllerBench) -> None:
    segmentation, first = overwriting.controller.segmentationNode, overwriting.controller.segmentId
    segmentId = other(overwriting, 4)
    overwriting.controller.prompting.addSegmentPrompt(segmentId)
    later = Controller(overwriting.client)
    later.workplace.target._editorNode = overwriting.controller.workplace.target._editorNode
    later.setVolume(overwriting.volume)
    later.setSegment(segmentation, first)
    assert later.workplace.work().sources == {segmentId}
    later.prompting.addPoint(ijkToWorld(overwriting.volume, [[4, 4, 4]])[0])
    overwriting.client.answer(4)
    assert of(overwriting, segmentId)[4].sum() == np.tri(8, 9).sum()
    later.close()


def test_a_segment_that_somebody_only_painted_is_carried_too_in_another_session(done: ControllerBench) -> None:
    segmentation, first = done.controller.segmentationNode, done.controller.segmentId
    done.controller.setSegment(segmentation, other(done, 5))
    done.controller.accept(5)
    later = Controller(done.client)
    later.setVolume(done.volume)
    later.setSegment(segmentation, first)
    assert later.review.outlookOfAll().segments == 2
    later.close()


def test_a_segment_whose_prompts_were_removed_is_the_source_no_more(overwriting: ControllerBench) -> None:
    segmentId = other(overwriting, 6)
    overwriting.controller.prompting.addSegmentPrompt(segmentId)
    (item,) = [one for one in overwriting.controller.review.prompts() if one.kind == "segment"]
    overwriting.controller.prompting.removePrompt(item)
    assert overwriting.controller.workplace.work().sources == set()
    overwriting.controller.prompting.addSegmentPrompt(segmentId)
    overwriting.controller.prompting.removeAllPrompts()
    assert overwriting.controller.workplace.work().sources == set()


SAID = "What was drawn has overwritten all of 'other': to keep both, undo, and set Modify other segments"


def test_a_preview_that_empties_another_segment_says_so(overwriting: ControllerBench) -> None:
    segmentId = other(overwriting, 6)
    overwriting.client.mask = lambda index: np.ones((8, 9), dtype=bool)
    overwriting.click(4, 4, 6)
    overwriting.preview(6)
    assert not of(overwriting, segmentId).any()
    (said,) = overwriting.said["noticed"]
    assert said[0].startswith(SAID)
    overwriting.controller.undo()
    assert of(overwriting, segmentId).any()


def test_a_mask_that_empties_a_third_segment_says_so(overwriting: ControllerBench) -> None:
    source, third = other(overwriting, 6), other(overwriting, 6)
    overwriting.controller.segmentationNode.GetSegmentation().GetSegment(source).SetName("source")
    overwriting.controller.prompting.addSegmentPrompt(source)
    assert of(overwriting, source).any()
    assert not of(overwriting, third).any()
    assert overwriting.said["noticed"][0][0].startswith(SAID)


def test_a_propagation_that_empties_another_segment_says_so(overwriting: ControllerBench) -> None:
    segmentId, spared = other(overwriting, 6), other(overwriting, 0, 6)
    overwriting.client.mask = lambda index: np.full((8, 9), index > 0)
    overwriting.propagate().finish()
    assert not of(overwriting, segmentId).any()
    assert of(overwriting, spared).any()
    assert SAID in overwriting.said["finished"][-1][0]
    assert overwriting.said["finished"][-1][0].count("'other'") == 1


def test_another_segment_does_not_change_locked_slices(done: ControllerBench) -> None:
    done.controller.lock(5)
    before = done.mask()
    done.controller.prompting.addSegmentPrompt(other(done, 4, 5))
    np.testing.assert_array_equal(done.mask()[5], before[5])
    assert (done.states()[4], done.states()[5]) == ("prompted", "locked")
    done.controller.prompting.addSegmentPrompt(other(done, 5))
    assert "Slice 5 is locked: unlock it (l)" in done.said["failed"][0][0]


def test_a_segment_cannot_be_taken_during_a_propagation(done: ControllerBench) -> None:
    done.propagate(2)
    done.controller.prompting.addSegmentPrompt(other(done, 6))
    assert "Stop it first (Esc)" in done.said["failed"][0][0]
    assert [one.sliceIndex for one in done.controller.review.prompts()] == [3]


def test_slices_whose_prompts_were_all_removed_are_no_anchors_any_more(done: ControllerBench) -> None:
    done.controller.accept(1)
    done.controller.accept(3)
    done.click(4, 4, 4)
    done.preview(4)
    before = done.mask()
    done.controller.prompting.removeAllPrompts()
    np.testing.assert_array_equal(done.mask(), before)
    assert [done.states()[index] for index in (1, 3, 4)] == ["accepted", "accepted", "stale"]
    done.controller.accept(1)
    done.controller.accept(3)
    done.click(4, 4, 5)
    done.preview(5)
    assert done.states()[3] == "stale"
    assert done.controller.review.intervals() == []


def test_what_showed_before_the_prompts_is_forgotten_with_all_of_them(done: ControllerBench) -> None:
    done.paint(5)
    notice(done)
    done.click(4, 4, 5, "exclude")
    done.preview(5)
    done.controller.prompting.removeAllPrompts()
    done.click(4, 4, 5)
    done.preview(5)
    assert not [one for one in done.client.objects[-1][0].prompts if isinstance(one, MaskPrompt)]


def test_a_preview_on_its_way_does_not_draw_over_a_segment_that_is_taken(done: ControllerBench) -> None:
    done.controller.prompting.addPoint((4, 4, 5))
    onItsWay = done.client.calls[-1]
    done.controller.prompting.addSegmentPrompt(other(done, 5), 5)
    onItsWay.onDone(done.client.answers(5))
    np.testing.assert_array_equal(done.mask()[5], np.tri(8, 9, dtype=bool))


def onSlice(bench: ControllerBench, index: int) -> list[Any]:
    """The prompts on a slice, as the worker got them last, in order."""
    return [one for one in bench.client.objects[-1][0].prompts if one.slice_index == index]


def test_clicks_and_lines_on_a_slice_of_a_segment_correct_its_mask(done: ControllerBench, nodes: Any) -> None:
    done.controller.prompting.addSegmentPrompt(other(done, 5, 6))
    done.controller.prompting.addPoint(ijkToWorld(done.volume, [[1, 1, 5]])[0], include=False)
    mask, point = onSlice(done, 5)
    np.testing.assert_array_equal(mask.mask, np.tri(8, 9, dtype=bool))
    assert point.include == (False,)
    done.client.answer(5)
    np.testing.assert_array_equal(done.mask()[5], done.client.mask(5))
    done.controller.prompting.addLinePrompt(nodes.line(ijkToWorld(done.volume, [[2, 2, 6], [6, 6, 6]])))
    assert [type(one) for one in onSlice(done, 6)] == [MaskPrompt, BoxPrompt]
    done.client.answer(6)
    done.propagate(0)
    assert [type(one) for one in onSlice(done, 5)] == [MaskPrompt, PointsPrompt]
    assert done.said["failed"] == []


def test_a_click_without_which_the_mask_is_again_that_of_the_segment(done: ControllerBench) -> None:
    done.controller.prompting.addSegmentPrompt(other(done, 5))
    done.controller.prompting.addPoint(ijkToWorld(done.volume, [[1, 1, 5]])[0], include=False)
    done.client.answer(5)
    (click,) = [one for one in done.controller.review.prompts() if one.kind == "exclude"]
    done.controller.prompting.removePrompt(click)
    assert [type(one) for one in onSlice(done, 5)] == [MaskPrompt]


def test_clicks_correct_an_outline_on_their_slice(done: ControllerBench, nodes: Any) -> None:
    curve = done.controller.prompting.promptNode("curve")
    for world in ijkToWorld(done.volume, [[1, 1, 5], [6, 1, 5], [6, 6, 5], [1, 6, 5]]):
        curve.AddControlPointWorld(vtk.vtkVector3d(*world))
    done.click(2, 2, 5, "exclude")
    done.preview(5)
    assert done.said["failed"] == []
    mask, point = onSlice(done, 5)
    assert mask.mask[3, 3]
    assert point.include == (False,)


def test_a_segment_taken_where_clicks_are_is_corrected_by_them_at_once(done: ControllerBench) -> None:
    done.controller.prompting.addSegmentPrompt(other(done, 3, 5))
    assert [type(one) for one in onSlice(done, 3)] == [MaskPrompt, PointsPrompt]
    done.client.answer(3)
    np.testing.assert_array_equal(done.mask()[3], done.client.mask(3))


def test_clicks_on_a_painted_slice_of_a_segment_begin_with_what_was_painted(done: ControllerBench) -> None:
    segmentId = other(done, 5)
    done.controller.prompting.addSegmentPrompt(segmentId)
    done.paint(5)
    notice(done)
    done.controller.prompting.addPoint(ijkToWorld(done.volume, [[1, 1, 5]])[0], include=False)
    mask, point = onSlice(done, 5)
    assert mask.mask.all()
    assert point.include == (False,)
    done.client.answer(5)
    done.paint(5)
    notice(done)
    done.controller.prompting.addSegmentPrompt(segmentId)
    masks = [one.mask for one in onSlice(done, 5) if isinstance(one, MaskPrompt)]
    np.testing.assert_array_equal(masks[-1], np.tri(8, 9, dtype=bool))


def test_an_outline_on_a_slice_of_a_segment_takes_its_place(done: ControllerBench) -> None:
    done.controller.prompting.addSegmentPrompt(other(done, 5))
    curve = done.controller.prompting.promptNode("curve")
    for world in ijkToWorld(done.volume, [[1, 1, 5], [6, 1, 5], [6, 6, 5], [1, 6, 5]]):
        curve.AddControlPointWorld(vtk.vtkVector3d(*world))
    done.preview(5)
    *_, last = onSlice(done, 5)
    assert last.mask[3, 5]
    assert not last.mask[7, 0]


def test_a_line_taken_for_another_segment_prompts_the_first_no_more(done: ControllerBench, nodes: Any) -> None:
    segmentation, first = done.controller.segmentationNode, done.controller.segmentId
    line = nodes.line(ijkToWorld(done.volume, [[2, 2, 5], [6, 6, 5]]))
    done.controller.prompting.addLinePrompt(line)
    done.client.answer(5)
    assert done.states()[5] == "prompted"
    done.controller.setSegment(segmentation, other(done))
    done.controller.prompting.addLinePrompt(line)
    done.client.answer(5)
    done.controller.setSegment(segmentation, first)
    assert done.states()[5] == "stale"
