"""What happens after a propagation: edits by other tools, accepted and locked slices, intervals, several segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish, notice

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.geometry import ijkToWorld


def test_a_slice_that_was_painted_can_be_given_back(done: ControllerBench) -> None:
    done.paint(5)
    notice(done)
    assert done.controller.review.edited() == [5]
    done.said.clear()
    done.controller.disown(5)
    assert done.controller.review.edited() == []
    assert done.states()[5] == "stale"
    assert done.said["promptsChanged"]
    call = done.propagate(0)
    assert done.client.spans[-1] == (3, 7)
    assert not any(isinstance(prompt, MaskPrompt) for prompt in done.client.objects[-1][0].prompts)
    finish(call)
    assert done.states()[5] == "propagated"
    assert done.drawn() == [1, 2, 3, 4, 5]


def test_a_slice_of_which_nothing_is_known_cannot_be_given_back(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    for index in (5, 99):
        bench.controller.disown(index)
    assert bench.states() == {3: "prompted"}


def test_a_box_takes_the_place_of_another_on_its_slice(done: ControllerBench) -> None:
    first, second, elsewhere = ([[1, 1, 3], [5, 5, 3]], [[2, 2, 3], [6, 6, 3]], [[1, 1, 4], [5, 5, 4]])
    for corners in (first, elsewhere, second):
        corner, opposite = ijkToWorld(done.volume, corners).tolist()
        done.controller.prompting.addBox(corner, opposite)
        done.client.answer(corners[0][2])
    assert [(one.kind, one.sliceIndex) for one in done.controller.review.prompts()] == [
        ("include", 3),
        ("box", 3),
        ("box", 4),
    ]
    boxes = [one for item in done.client.objects[-1] for one in item.prompts if isinstance(one, BoxPrompt)]
    assert {one.slice_index: one.box[0] for one in boxes} == pytest.approx({3: 2, 4: 1}, abs=0.01)


def test_a_painted_slice_becomes_a_mask_prompt_and_only_its_interval_runs(done: ControllerBench) -> None:
    assert done.controller.review.intervals() == []
    done.paint(5)
    notice(done)
    assert done.states()[5] == "edited"
    assert [index for index, state in done.states().items() if state == "stale"] == [4, 6]
    assert done.controller.review.intervals() == [(3, 7)]
    before = done.mask()
    done.propagate(steps=4).finish()
    assert done.client.spans[-1] == (3, 7)
    (sent,) = done.client.objects[-1]
    (mask,) = [prompt for prompt in sent.prompts if isinstance(prompt, MaskPrompt)]
    assert mask.slice_index == 5
    assert mask.mask.all()
    np.testing.assert_array_equal(done.mask()[5], before[5])
    np.testing.assert_array_equal(done.mask()[:3], before[:3])
    assert done.controller.review.intervals() == []


def test_an_edit_just_before_propagating_counts_too(done: ControllerBench) -> None:
    done.paint(5)
    done.propagate(steps=4)
    assert done.client.spans[-1] == (3, 7)


def test_edits_are_noticed_when_the_segment_is_left_and_come_back_to(done: ControllerBench) -> None:
    first = done.controller.segmentId
    second = done.controller.segmentationNode.GetSegmentation().AddEmptySegment("", "second")
    done.controller.setSegment(done.controller.segmentationNode, second)
    assert done.states() == {}
    segmentation = done.controller.segmentationNode
    done.controller.setSegment(segmentation, first)
    assert done.states()[3] == "prompted"
    done.controller.setSegment(segmentation, second)
    done.controller.workplace.target.segmentId = first  # paint() writes into the first one meanwhile
    done.paint(1)
    done.controller.workplace.target.segmentId = second
    done.controller.setSegment(segmentation, first)
    assert done.states()[1] == "edited"


def test_what_the_controller_writes_is_no_edit(done: ControllerBench) -> None:
    done.click(4, 4, 5)
    done.preview(5)
    notice(done)
    done.propagate(steps=4).finish()
    notice(done)
    assert "edited" not in done.states().values()


@pytest.mark.parametrize("mark", ["accept", "lock"])
def test_marked_slices_are_anchors_and_stay_byte_identical(done: ControllerBench, mark: str) -> None:
    getattr(done.controller, mark)(4)
    assert done.states()[4] == {"accept": "accepted", "lock": "locked"}[mark]
    done.client.gone = {3, 4, 5}
    before = done.mask()
    done.propagate().finish()
    np.testing.assert_array_equal(done.mask()[4], before[4])
    assert done.drawn() == [1, 2, 4]
    assert done.states()[4] == {"accept": "accepted", "lock": "locked"}[mark]
    getattr(done.controller, mark)(4)
    assert done.states()[4] == "propagated"


def test_a_locked_slice_refuses_prompts_and_says_how_to_unlock_it(done: ControllerBench) -> None:
    done.controller.lock(5)
    calls = len(done.client.calls)
    done.click(4, 4, 5)
    done.controller.prompting.preview(5)
    assert "Slice 5 is locked: unlock it (l)" in done.said["failed"][0][0]
    assert len(done.client.calls) == calls
    done.controller.lock(5)
    done.preview(5)
    assert done.states()[5] == "prompted"


def test_a_click_on_an_accepted_slice_takes_the_acceptance_back(done: ControllerBench) -> None:
    done.controller.accept(5)
    done.click(4, 4, 5)
    done.preview(5)
    assert done.states()[5] == "prompted"
    assert not [one for one in done.client.objects[-1][0].prompts if isinstance(one, MaskPrompt)]


def test_a_click_on_an_edited_slice_corrects_the_edit(done: ControllerBench) -> None:
    done.paint(5)
    notice(done)
    done.click(4, 4, 5, "exclude")
    done.preview(5)
    base, click = [one for one in done.client.objects[-1][0].prompts if one.slice_index == 5]
    assert isinstance(base, MaskPrompt)
    assert base.mask.all()
    assert isinstance(click, PointsPrompt)
    (item,) = [one for one in done.controller.review.prompts() if one.sliceIndex == 5]
    done.controller.prompting.removePrompt(item)
    assert done.mask()[5].all()
    assert done.states()[5] == "edited"


@pytest.mark.parametrize(("isAccepted", "after"), [(False, "stale"), (True, "accepted")])
def test_a_slice_drawn_in_an_earlier_session_is_no_edit_once_its_prompt_is_removed(
    done: ControllerBench, nodes: Any, isAccepted: bool, after: str
) -> None:
    done.controller.setVolume(nodes.volume(shape=(7, 8, 9)))
    done.controller.setVolume(done.volume)
    before = done.mask()
    if isAccepted:
        done.controller.accept(5)
    done.click(2, 2, 5)
    done.preview(5)
    (item,) = [one for one in done.controller.review.prompts() if one.sliceIndex == 5]
    done.controller.prompting.removePrompt(item)
    assert (done.mask() == before).all()
    assert done.states()[5] == after
    assert done.controller.review.edited() == []


def test_an_erased_slice_is_kept_empty(done: ControllerBench) -> None:
    done.paint(5, np.zeros((8, 9), dtype=bool))
    notice(done)
    assert done.states()[5] == "edited"
    done.propagate(steps=4).finish()
    assert done.drawn() == [1, 2, 3, 4]


def test_undo_and_redo_bring_states_and_record_of_the_segment_back(done: ControllerBench) -> None:
    segmentation, name = done.controller.segmentationNode, f"MedSAM2.Run.{done.controller.segmentId}"
    after, record = done.states(), segmentation.GetAttribute(name)
    done.controller.undo()
    assert done.states() == {}
    assert segmentation.GetAttribute(name) is None
    done.controller.redo()
    assert done.states() == after
    assert segmentation.GetAttribute(name) == record


def test_an_undone_paint_stroke_is_no_edit(done: ControllerBench) -> None:
    before = done.states()
    done.controller.workplace.target.history.saveState()
    done.paint(5)
    notice(done)
    assert done.states() != before
    done.controller.workplace.target.history.undo()
    notice(done)
    assert done.states() == before


@pytest.mark.parametrize("look", [notice, lambda bench: bench.controller.lock(2)], ids=["in time", "at a mark"])
def test_erasing_what_a_run_drew_is_an_edit_though_it_looks_like_an_undo(
    done: ControllerBench, look: Callable[[ControllerBench], None]
) -> None:
    """Slice 5 was empty before the run drew it, all else was as it is now."""
    done.paint(5, np.zeros((8, 9), dtype=bool))
    notice(done)
    done.controller.disown(5)
    finish(done.propagate(0))
    assert done.states()[5] == "propagated"
    done.paint(5, np.zeros((8, 9), dtype=bool))
    look(done)
    assert done.states()[5] == "edited"


def test_states_are_known_again_though_a_prompt_was_removed(done: ControllerBench) -> None:
    done.click(4, 4, 5)
    done.preview(5)
    done.controller.lock(2)
    done.controller.prompting.removePrompt(
        next(item for item in done.controller.review.prompts() if item.sliceIndex == 5)
    )
    other = Controller(done.client)
    other.setVolume(done.volume)
    other.setSegment(done.controller.segmentationNode, done.controller.segmentId)
    assert {index: one.state for index, one in other.review.slices().items()} == done.states()
    other.close()


def test_states_survive_the_scene(done: ControllerBench, tmp_path: Any) -> None:
    done.controller.lock(4)
    done.paint(6)
    notice(done)
    states, segmentId = done.states(), done.controller.segmentId
    text = done.controller.segmentationNode.GetAttribute(f"MedSAM2.Slices.{segmentId}")
    other = Controller(done.client)
    other.setVolume(done.volume)
    other.setSegment(done.controller.segmentationNode, segmentId)
    assert {index: one.state for index, one in other.review.slices().items()} == states
    assert other.review.intervals() == [(4, 7)]
    other.close()
    done.controller.segmentationNode.SetAttribute(f"MedSAM2.Slices.{segmentId}", text[:-20])
    damaged = Controller(done.client)
    damaged.setVolume(done.volume)
    damaged.setSegment(done.controller.segmentationNode, segmentId)
    assert {one.state for one in damaged.review.slices().values()} <= {"edited"}
    damaged.close()


def test_a_segment_painted_on_a_few_slices_is_propagated_from_these(bench: ControllerBench) -> None:
    bench.controller.prompting.promptNode("include")
    bench.paint(3)
    bench.propagate().finish()
    assert [prompt.slice_index for prompt in bench.client.objects[-1][0].prompts] == [3]
    assert bench.drawn() == [1, 2, 3, 4, 5]
    assert bench.mask()[3].all()


def test_other_settings_make_the_propagation_stale(done: ControllerBench) -> None:
    done.controller.setOptions(RunOptions(memory="self-sorting"))
    assert set(done.states().values()) == {"prompted", "stale"}
    assert done.controller.review.intervals() == []


def test_what_is_known_of_slices_outlives_work_on_a_neighbor_along_another_axis(done: ControllerBench) -> None:
    controller, first = done.controller, done.controller.segmentId
    states = done.states()
    controller.setOptions(RunOptions(stack=SliceStack(1)))
    second = controller.segmentationNode.GetSegmentation().AddEmptySegment("second", "second")
    controller.setSegment(controller.segmentationNode, second)
    assert controller.review.outlookOfAll().segments == 1
    done.client.shape = (7, 9)
    done.click(4, 3, 3)
    done.propagate().finish()
    controller.setSegment(controller.segmentationNode, first)
    assert controller.review.ownStack() == SliceStack()
    controller.setOptions(RunOptions())
    assert done.states() == states


def test_gestures_make_markups_and_draw_at_once(bench: ControllerBench, nodes: Any) -> None:
    view = slicer.vtkMRMLSliceNode()
    view.SetOrientationToAxial()
    bench.controller.prompting.addBox((1, 1, 3), (5, 6, 3), view)
    bench.client.answer(3)
    assert [(item.kind, item.sliceIndex) for item in bench.controller.review.prompts()] == [("box", 3)]
    bench.controller.prompting.addPoint((4, 4, 4), include=True)
    bench.client.answer(4)
    assert [(item.kind, item.sliceIndex) for item in bench.controller.review.prompts()] == [("box", 3), ("include", 4)]
    bench.controller.prompting.addPoint((4, 4, 40), include=True)
    assert "outside" in bench.said["failed"][0][0]
    assert len(bench.controller.review.prompts()) == 2


@pytest.mark.parametrize("isOther", [True, False])
def test_a_click_after_coming_back_to_a_segmentation_corrects_no_other_segment(
    done: ControllerBench, isOther: bool
) -> None:
    controller, sessions = done.controller, set(done.client.sessions)
    segmentation = controller.segmentationNode
    second = segmentation.GetSegmentation().AddEmptySegment("", "second")
    controller.setSegment(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode") if isOther else None)
    controller.setSegment(segmentation, second)
    assert not sessions & done.client.sessions.keys()  # which knew the first segment by the number that this one has
    done.click(2, 2, 2)
    done.preview(2)
    assert [(one.segment.name, one.segment.label) for one in done.client.objects[-1]] == [("second", 1)]


@pytest.mark.parametrize("state", ["locked", "accepted", "edited"])
def test_what_the_user_says_of_a_slice_while_its_preview_is_on_its_way_holds(done: ControllerBench, state: str) -> None:
    done.click(2, 2, 5)
    done.controller.prompting.preview(5)
    if state == "edited":
        done.paint(5, np.eye(8, 9, dtype=bool))
    else:
        (done.controller.lock if state == "locked" else done.controller.accept)(5)
    before = done.mask()
    done.client.mask = lambda index: np.ones((8, 9), dtype=bool)
    done.client.answer(5)
    assert done.states()[5] == state
    np.testing.assert_array_equal(done.mask(), before)
    assert done.said["previewed"] == [(5,)]


def test_undo_leaves_the_marks_that_were_set_since_on_slices_that_it_does_not_touch(done: ControllerBench) -> None:
    done.controller.accept(4)
    done.click(2, 2, 1)
    done.client.mask = lambda index: np.ones((8, 9), dtype=bool)
    done.preview(1)
    done.controller.lock(5)
    done.controller.accept(6)  # which is empty
    done.controller.accept(4)  # not any more
    marks = {4: "propagated", 5: "locked", 6: "accepted"}
    done.controller.undo()
    assert done.states()[1] == "propagated"
    assert marks.items() <= done.states().items()
    done.controller.lock(5)
    done.controller.redo()
    assert done.states()[1] == "prompted"
    assert {5: "propagated", 6: "accepted"}.items() <= done.states().items()


@pytest.mark.parametrize("isPreviewed", [True, False])
def test_a_slice_whose_only_point_was_moved_to_another_one_is_propagated_over(
    done: ControllerBench, isPreviewed: bool
) -> None:
    node = done.controller.prompting.promptNode("include")
    node.SetNthControlPointPositionWorld(0, *ijkToWorld(done.volume, [[4, 4, 5]])[0])
    if isPreviewed:
        done.preview(5)
        assert done.states()[3] == "stale"
    done.propagate(0)
    assert done.client.spans[-1] == (0, 7)


def test_a_record_does_not_claim_to_tell_of_slices_that_were_redrawn_before_a_part_was_propagated(
    done: ControllerBench,
) -> None:
    done.controller.redraw(0.3)
    done.client.redrawn(lambda index: ~done.client.mask(index))
    done.paint(1)
    notice(done)
    done.controller.propagate()
    assert done.client.spans[-1] == (0, 4)
    finish(done.client.calls[-1])
    with pytest.raises(PromptError, match="propagate again first"):
        done.controller.review.script()
    done.propagate().finish()
    assert done.controller.review.script()
