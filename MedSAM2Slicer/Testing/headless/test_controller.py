"""The controller on real MRML, with a worker that answers when the test says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, segmentEditor
from fakeclient import FakeClient

from medsam2_core.errors import WorkerError
from medsam2_core.image.slicing import Slicing
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.runrecord import loadRun
from MedSAM2SlicerLib.scene.geometry import ijkToWorld, volumeGeometry


def test_the_first_click_makes_a_segment_and_shows_its_mask(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    assert bench.said["segmentChanged"] == [()]
    bench.preview()
    assert bench.drawn() == [3]
    np.testing.assert_array_equal(bench.mask()[3], bench.client.mask(3))
    assert bench.said["previewed"] == [(3,)]
    assert [(item.kind, item.sliceIndex) for item in bench.controller.review.prompts()] == [("include", 3)]
    assert not bench.said["failed"]


def test_a_propagation_draws_slice_by_slice_and_sums_up(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    call = bench.propagate(steps=2)
    assert bench.controller.busy
    assert bench.drawn() == [3, 4]
    while call.steps:
        call.step()
    call.finish()
    assert bench.said["busyChanged"] == [(True,), (False,)]
    assert bench.drawn() == [1, 2, 3, 4, 5]
    assert set(bench.controller.review.slices()) == set(range(7))
    assert bench.controller.review.slices()[3].state == "prompted"
    assert bench.controller.review.doubtful() == [1, 5]  # of their pixels their neighbors have four times as many
    assert [bench.controller.review.nextDoubtful(after) for after in (None, 3, 1, 5)] == [1, 1, 5, 1]
    assert bench.controller.review.stops() == {"forward": "reached the end"}
    (summary,) = bench.said["finished"][0]
    assert summary.startswith("7 slices, ")
    assert "Reached the end." in summary
    assert bench.said["progressed"][-1][0].done == 7
    volume = float(bench.mask().sum()) * abs(np.prod(bench.volume.GetSpacing())) / 1000
    assert bench.controller.review.measures().volumeMl == pytest.approx(volume)


def test_a_finished_run_is_recorded_on_the_segmentation(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.controller.setOptions(RunOptions(first=1, last=6))
    bench.propagate(steps=5).finish()
    record = loadRun(bench.controller.segmentationNode, bench.controller.segmentId)
    assert record.isOf(bench.volume)
    assert record.run.settings.range == (1, 6)
    assert record.run.settings.memory == "recency"
    (run,) = record.runs(Slicing(volumeGeometry(bench.volume), 0))
    assert [prompt.slice_index for prompt in run.objects[0].prompts] == [3]
    assert [one["slice_index"] for one in record.report["objects"][0]["slices"]] == [1, 2, 3, 4, 5]


def test_one_undo_takes_a_whole_run_back(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    before = bench.mask()
    bench.propagate().finish()
    after = bench.mask()
    bench.controller.undo()
    np.testing.assert_array_equal(bench.mask(), before)
    bench.controller.redo()
    np.testing.assert_array_equal(bench.mask(), after)


def test_undo_while_running_ends_the_run_and_takes_it_back(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    before = bench.mask()
    call = bench.propagate(steps=3)
    bench.controller.undo()
    assert not bench.controller.busy
    np.testing.assert_array_equal(bench.mask(), before)
    assert call.isFinished


def test_stop_keeps_what_is_done(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=3)
    bench.controller.stop()
    assert not bench.controller.busy
    assert bench.drawn() == [3, 4, 5]
    assert "Canceled." in bench.said["finished"][0][0]


def test_slices_that_a_later_run_gives_up_are_emptied_but_not_those_drawn_by_hand(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate().finish()
    bench.client.gone = {1, 2}
    bench.paint(0)
    bench.propagate(steps=4).finish()
    assert bench.drawn() == [0, 3, 4, 5]


def test_slices_outside_the_range_stay_as_they_are(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate().finish()
    bench.controller.setOptions(RunOptions(first=0, last=5))
    bench.propagate(steps=5).finish()
    assert bench.drawn() == [1, 2, 3, 4, 5]


def test_the_worker_s_end_keeps_the_masks_and_says_why(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=2).fail(WorkerError("The model process ended (out of memory)."))
    assert bench.said["failed"] == [("The model process ended (out of memory).",)]
    assert bench.drawn() == [3, 4]
    assert not bench.controller.busy
    bench.propagate().finish()
    assert bench.drawn() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("what", ["volume", "segmentation", "segment", "scene"])
def test_what_is_removed_while_running_ends_the_run_quietly(bench: ControllerBench, what: str) -> None:
    bench.click(4, 4, 3)
    call = bench.propagate(steps=2)
    segmentation = bench.controller.segmentationNode
    if what == "volume":
        slicer.mrmlScene.RemoveNode(bench.volume)
    elif what == "segmentation":
        slicer.mrmlScene.RemoveNode(segmentation)
    elif what == "segment":
        segmentation.GetSegmentation().RemoveSegment(bench.controller.segmentId)
        call.step()
    else:
        slicer.mrmlScene.Clear(0)
    assert not bench.controller.busy
    assert bench.said["failed" if what == "segment" else "noticed"]
    if what != "segment":
        assert (bench.controller.volumeNode is None) == (what != "segmentation")


def test_clicks_that_come_faster_than_answers_are_joined(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.controller.prompting.preview(3)
    for index in (4, 5, 4):
        bench.click(4, 4, index)
        bench.controller.prompting.preview(index)
    assert len(bench.client.calls) == 1
    for index in (3, 4, 5):
        bench.client.answer(index)
    assert bench.said["previewed"] == [(3,), (4,), (5,)]
    assert len(bench.client.calls) == 3
    assert {prompt.slice_index for prompt in bench.client.objects[-1][0].prompts} == {3, 4, 5}


def test_removing_the_only_prompt_of_a_slice_empties_it(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    (item,) = bench.controller.review.prompts()
    bench.controller.prompting.removePrompt(item)
    assert bench.drawn() == []
    assert bench.controller.review.prompts() == []
    bench.controller.undo()
    assert bench.drawn() == [3]


def test_a_preview_on_its_way_does_not_redraw_a_slice_without_prompts(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.click(3, 3, 3)
    bench.preview()
    for item in bench.controller.review.prompts():
        bench.controller.prompting.removePrompt(item)  # the first one starts a preview of what is left
    bench.client.answer(3)
    assert bench.drawn() == []


def test_prompts_of_a_volume_under_a_warp_are_not_listed(bench: ControllerBench, nodes: Any) -> None:
    bench.click(4, 4, 3)
    bench.volume.SetAndObserveTransformNodeID(nodes.warp().GetID())
    assert bench.controller.review.prompts() == []
    bench.controller.propagate()
    assert "Harden the transform" in bench.said["failed"][0][0]


@pytest.mark.parametrize("ours", [True, False])
def test_masking_set_in_segment_editor_counts_for_its_segmentation(
    bench: ControllerBench, nodes: Any, ours: bool
) -> None:
    bench.click(4, 4, 3)
    segmentation = bench.controller.segmentationNode
    other = segmentation if ours else nodes.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    editor = segmentEditor(other)
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
    bench.propagate().finish()
    assert bench.drawn() == ([] if ours else [1, 2, 3, 4, 5])
    (summary,) = bench.said["finished"][0]
    assert ("outside the editable area" in summary) == ours


def test_a_click_during_a_run_is_drawn_when_it_is_over(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    call = bench.propagate(steps=2)
    bench.click(2, 2, 5)
    bench.controller.prompting.preview(5)
    assert len(bench.client.calls) == 1
    while call.steps:
        call.step()
    call.finish()
    bench.client.answer(5)
    assert bench.controller.review.slices()[5].state == "prompted"
    assert not bench.said["failed"]


def test_what_a_run_says_at_its_end_outlives_the_drawing_of_a_click_meanwhile(bench: ControllerBench) -> None:
    """The message line forgets with the signal that the prompts changed."""
    bench.click(4, 4, 3)
    call = bench.propagate(steps=2)
    bench.click(2, 2, 5)
    bench.controller.prompting.preview(5)
    told: list[str] = []
    bench.controller.finished.connect(lambda _summary: told.append("finished"))
    bench.controller.promptsChanged.connect(lambda: told.append("prompts"))
    while call.steps:
        call.step()
    call.finish()
    bench.client.answer(5)
    assert told == ["finished"]


def test_a_preview_that_masking_keeps_out_says_so(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    editor = segmentEditor(bench.controller.segmentationNode)
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
    bench.preview()
    assert bench.drawn() == []
    assert bench.said["noticed"] == [("The mask lies outside the editable area (inside all segments).",)]
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    bench.preview()
    assert bench.drawn() == [3]
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideAllSegments)
    bench.click(5, 4, 3)
    bench.preview()  # what is allowed is there already
    assert len(bench.said["noticed"]) == 1


def test_a_box_across_the_slices_says_where_to_draw_it(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    corner, opposite = ijkToWorld(bench.volume, [[2, 4, 1], [6, 4, 5]]).tolist()
    bench.controller.prompting.addBox(corner, opposite)
    ((sentence,),) = bench.said["failed"]
    assert sentence.startswith("The box stands across the slices that are propagated (4 by 0 pixels in axial slices): ")
    assert "draw it in a view of axial slices" in sentence


def test_exclude_points_alone_say_what_is_missing(bench: ControllerBench) -> None:
    bench.click(4, 4, 3, "exclude")
    bench.controller.prompting.preview(3)
    assert "only exclude points" in bench.said["failed"][0][0]
    assert not bench.client.calls


def test_no_volume_is_said_not_raised(nodes: Any) -> None:
    controller = Controller(FakeClient((8, 9)))
    said: list[str] = []
    controller.failed.connect(said.append)
    controller.propagate()
    controller.prompting.preview(0)
    assert len(said) == 2
    assert "No volume is selected" in said[0]
    assert controller.review.sliceCount() == 0
    assert controller.review.prompts() == []
    controller.close()


def test_another_segment_is_a_mask_prompt(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    first = bench.controller.segmentId
    second = bench.controller.segmentationNode.GetSegmentation().AddEmptySegment("", "second")
    bench.controller.setSegment(bench.controller.segmentationNode, second)
    assert bench.controller.review.prompts() == []
    bench.controller.prompting.addSegmentPrompt(first)
    assert [(item.kind, item.sliceIndex) for item in bench.controller.review.prompts()] == [("segment", 3)]
    bench.controller.prompting.addSegmentPrompt(
        bench.controller.segmentationNode.GetSegmentation().AddEmptySegment("", "third")
    )
    assert "is empty" in bench.said["failed"][0][0]
    bench.controller.setSegment(bench.controller.segmentationNode, first)
    assert [item.kind for item in bench.controller.review.prompts()] == ["include"]


def test_a_line_of_the_scene_is_a_prompt(bench: ControllerBench, nodes: Any) -> None:
    line = nodes.line(ijkToWorld(bench.volume, [[2, 4, 3], [6, 4, 3]]), "long axis")
    bench.controller.prompting.addLinePrompt(line)
    bench.client.answer(3)
    assert bench.drawn() == [3]
    (item,) = bench.controller.review.prompts()
    assert (item.kind, item.sliceIndex, item.nodeId) == ("line", 3, line.GetID())
    bench.controller.prompting.removePrompt(item)
    assert bench.drawn() == []
    assert nodes.scene.IsNodePresent(line)
    line.RemoveNthControlPoint(0)
    bench.controller.prompting.addLinePrompt(line)
    assert "has 1 of 2 points" in bench.said["failed"][0][0]
    assert bench.controller.review.prompts() == []
    assert line.GetAttributeNames() == ()


def test_an_empty_preview_says_what_to_try(bench: ControllerBench) -> None:
    bench.client.gone = {3}
    bench.click(4, 4, 3)
    bench.preview()
    assert "Nothing found here on slice 3" in bench.said["noticed"][0][0]


def test_boxes_and_curves_get_nodes_of_their_own(bench: ControllerBench) -> None:
    first = bench.controller.prompting.promptNode("box")
    assert bench.controller.prompting.promptNode("box") is first
    first.SetCenterWorld(*ijkToWorld(bench.volume, [[4, 4, 3]])[0])
    first.SetSize(4, 4, 0.1)
    assert bench.controller.prompting.promptNode("box") is not first
    assert bench.controller.prompting.promptNode("curve").IsA("vtkMRMLMarkupsClosedCurveNode")
    assert [(item.kind, item.sliceIndex) for item in bench.controller.review.prompts()] == [("box", 3)]
    bench.controller.prompting.removeAllPrompts()
    assert bench.controller.review.prompts() == []


def test_options_reach_the_worker(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.controller.setOptions(RunOptions(model="starter", device="cpu", memory="self-sorting", bankSize=4))
    bench.controller.propagate()
    (settings,) = bench.client.sessions.values()
    assert settings[1:] == (0, "self-sorting:4", "auto")
    assert bench.client.model == ("starter", "cpu")
    bench.controller.tick()
    assert bench.client.ticks == 1


def test_a_renamed_roi_is_the_same_region_and_a_deleted_one_is_missed(bench: ControllerBench, nodes: Any) -> None:
    roi = nodes.roi(ijkToWorld(bench.volume, [[4, 4, 3]])[0], (4, 4, 2.2))
    bench.controller.setOptions(RunOptions(inside=roi.GetID()))
    bench.click(4, 4, 3)
    roi.SetName("another name")
    bench.propagate().finish()
    record = loadRun(bench.controller.segmentationNode, bench.controller.segmentId)
    assert [one["slice_index"] for one in record.report["settings"]["stop"]["inside"]["slices"]] == [2, 3, 4]
    slicer.mrmlScene.RemoveNode(roi)
    bench.controller.propagate()
    assert not bench.controller.busy
    assert bench.said["failed"] == [("The segment or ROI to stay inside is gone: choose another one.",)]


def test_the_worker_holds_one_form_of_the_volume(bench: ControllerBench, nodes: Any) -> None:
    bench.click(4, 4, 3)
    held = []
    for window in ("40/400", "40/400", "-600/1500"):
        bench.controller.setOptions(RunOptions(window=window))
        bench.preview()
        held.append(set(bench.client.volumes))
    assert held[0] == held[1] != held[2]
    assert [len(volumes) for volumes in held] == [1, 1, 1]
    bench.controller.setVolume(nodes.volume(shape=(7, 8, 9)))
    assert not bench.client.volumes


def test_the_window_follows_the_display(bench: ControllerBench) -> None:
    bench.volume.CreateDefaultDisplayNodes()
    display = bench.volume.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(400, 40)
    first = bench.controller.review.modelView(2)
    display.SetWindowLevel(1500, -600)
    assert not np.array_equal(first, bench.controller.review.modelView(2))


def test_views_are_as_the_model_sees_them(bench: ControllerBench) -> None:
    assert bench.controller.review.sliceCount() == 7
    assert bench.controller.review.modelView(2).shape == (8, 9)
    center = bench.controller.review.sliceCenterRas(2)
    np.testing.assert_allclose(center, ijkToWorld(bench.volume, [[4, 3.5, 2]])[0])


def test_closing_leaves_no_observer(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=1)
    bench.controller.close()
    assert not bench.controller.busy
    slicer.mrmlScene.RemoveNode(bench.volume)
    assert not bench.said["noticed"]
    bench.client.noticed.emit("late")
    bench.client.restarted.emit("late")
    assert not bench.said["noticed"]
