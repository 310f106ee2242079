"""What a segment's record has to survive: window and level, other voxels, interrupted propagations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import slicer.util
from controllerbench import ControllerBench

from medsam2_core.errors import PromptError, WorkerError
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.record.runrecord import loadRun


@pytest.fixture
def done(bench: ControllerBench) -> ControllerBench:
    """A bench whose segment was propagated through all slices, in the window of the display."""
    bench.volume.CreateDefaultDisplayNodes()
    bench.volume.GetDisplayNode().AutoWindowLevelOff()
    drag(bench, 400, 40)
    bench.click(4, 4, 3)
    bench.propagate().finish()
    return bench


def drag(bench: ControllerBench, width: float, level: float) -> None:
    """What the mouse does in a view: it sets window and level of the display."""
    bench.volume.GetDisplayNode().SetWindowLevel(width, level)


def report(bench: ControllerBench) -> Any:
    return loadRun(bench.controller.segmentationNode, bench.controller.segmentId).report


def window(bench: ControllerBench) -> tuple[float, float]:
    """The one the segment's record has."""
    stored = report(bench)["settings"]["window"]
    return stored["lower"], stored["upper"]


def ranges(bench: ControllerBench) -> list[list[int]]:
    """The slices of the record's runs, the last one last."""
    stored = report(bench)
    last = stored["settings"]["range"]
    return [*(one["settings"].get("range", last) for one in stored.get("earlier", [])), last]


def correct(bench: ControllerBench) -> None:
    bench.paint(5)
    bench.propagate(steps=4).finish()


def anew(bench: ControllerBench) -> None:
    """Work on the same with another controller, as after reloading the scene or coming back to the effect."""
    before, bench.controller = bench.controller, Controller(bench.client)
    before.close()
    bench.controller.failed.connect(lambda text: bench.said["failed"].append((text,)))
    bench.controller.setVolume(bench.volume)
    bench.controller.setSegment(before.segmentationNode, before.segmentId)


@pytest.mark.parametrize("reloaded", [False, True])
def test_a_correction_goes_on_in_the_window_of_the_first_run(done: ControllerBench, reloaded: bool) -> None:
    volumes, view = set(done.client.volumes), done.controller.review.modelView(2)
    drag(done, 1500, -600)
    if reloaded:
        anew(done)
    np.testing.assert_array_equal(done.controller.review.modelView(2), view)
    correct(done)
    assert done.client.volumes == volumes
    assert ranges(done) == [[0, 7], [3, 7]]
    assert window(done) == (-160, 240)


def test_a_neighbor_goes_on_in_that_window_too(done: ControllerBench) -> None:
    """Both are objects of one session, on one form of the volume."""
    sessions = dict(done.client.sessions)
    drag(done, 1500, -600)
    segmentation = done.controller.segmentationNode
    done.controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment("", "second"))
    done.click(4, 4, 3)
    done.propagate().finish()
    assert done.client.sessions == sessions
    assert window(done) == (-160, 240)


def test_an_undone_run_lets_the_window_follow_the_display_again(done: ControllerBench) -> None:
    done.controller.undo()
    drag(done, 1500, -600)
    done.propagate().finish()
    assert window(done) == (-1350, 150)


def test_choosing_a_window_and_auto_again_follows_the_display(done: ControllerBench) -> None:
    done.controller.setOptions(RunOptions(window="bone"))
    done.propagate().finish()
    assert window(done) == (-500, 1300)
    drag(done, 1500, -600)
    done.controller.setOptions(RunOptions())
    done.propagate().finish()
    assert window(done) == (-1350, 150)
    assert ranges(done) == [[0, 7]]


def test_a_window_is_that_of_its_volume(done: ControllerBench, nodes: Any) -> None:
    other = nodes.volume(shape=(7, 8, 9), name="MR")
    seen = Controller(done.client)
    seen.setVolume(other)
    alone = seen.review.modelView(2)
    seen.close()
    done.controller.setVolume(other)
    np.testing.assert_array_equal(done.controller.review.modelView(2), alone)


def test_other_voxels_make_the_propagation_stale(done: ControllerBench) -> None:
    """The worker gets them as a new volume, and knows nothing of what it drew on the one before."""
    array = slicer.util.arrayFromVolume(done.volume)
    array[...] = array[::-1].copy()
    slicer.util.arrayFromVolumeModified(done.volume)
    done.paint(5)
    done.controller.propagate()
    assert set(done.states().values()) == {"prompted", "edited", "stale"}
    assert done.client.spans[-1] == (0, 7)
    call = done.client.calls[-1]
    while call.steps:
        call.step()
    call.finish()
    assert ranges(done) == [[0, 7]]


def error(bench: ControllerBench) -> None:
    bench.client.calls[-1].fail(WorkerError("The model process ended (out of memory)."))


def switch(bench: ControllerBench) -> None:
    """Select another segment while it runs, and come back."""
    segmentation, segmentId = bench.controller.segmentationNode, bench.controller.segmentId
    bench.controller.setSegment(segmentation, segmentation.GetSegmentation().AddEmptySegment("", "second"))
    bench.controller.setSegment(segmentation, segmentId)


@pytest.mark.parametrize("breakOff", [anew, switch, error])
def test_a_correction_that_was_broken_off_is_recorded_when_it_is_done_again(
    done: ControllerBench, tmp_path: Path, breakOff: Callable[[ControllerBench], None]
) -> None:
    done.paint(5)
    done.propagate(steps=2)
    breakOff(done)
    assert done.states() == {0: "propagated", 1: "propagated", 2: "propagated", 3: "prompted", 4: "stale",
                             5: "edited", 6: "stale"}  # fmt: skip
    with pytest.raises(PromptError, match="interrupted: propagate again first"):
        done.controller.review.saveRun(tmp_path / "run.json")
    assert done.controller.review.intervals() == [(3, 7)]
    done.propagate(steps=4).finish()
    assert ranges(done) == [[0, 7], [3, 7]]
    done.controller.review.saveRun(tmp_path / "run.json")


@pytest.mark.parametrize("steps", [2, 7])
def test_what_a_first_run_left_is_gone_through_again(bench: ControllerBench, tmp_path: Path, steps: int) -> None:
    """Also beyond a slice that was accepted since."""
    bench.click(4, 4, 3)
    bench.preview()
    bench.propagate(steps)
    switch(bench)
    bench.controller.accept(2)
    assert bench.controller.review.intervals() == []
    bench.propagate().finish()
    assert ranges(bench) == [[0, 7]]
    bench.controller.review.saveRun(tmp_path / "run.json")


def test_a_propagation_that_drew_nothing_leaves_the_record(done: ControllerBench) -> None:
    before = done.controller.review.script()
    done.propagate(steps=0)
    error(done)
    assert done.controller.review.script() == before


def test_slices_outside_the_range_keep_the_record_open(done: ControllerBench, tmp_path: Path) -> None:
    done.paint(5)
    done.propagate(steps=4)
    switch(done)
    done.controller.setOptions(RunOptions(first=0, last=6))
    done.propagate(steps=3).finish()
    with pytest.raises(PromptError, match="propagate again first"):
        done.controller.review.saveRun(tmp_path / "run.json")
    done.controller.setOptions(RunOptions())
    assert done.controller.review.intervals() == [(5, 7)]
    done.propagate(steps=2).finish()
    assert ranges(done) == [[0, 7], [3, 6], [5, 7]]
    done.controller.review.saveRun(tmp_path / "run.json")


def test_undo_of_a_run_that_was_broken_off_brings_the_record_back(done: ControllerBench) -> None:
    before = done.controller.review.script()
    done.client.gone = {4}
    done.propagate(steps=4)
    done.controller.undo()
    assert done.controller.review.script() == before


@pytest.mark.parametrize("how", ["lost", "damaged", "another model"])
def test_a_correction_that_no_record_leads_to_has_all_gone_through_again(done: ControllerBench, how: str) -> None:
    name = f"MedSAM2.Run.{done.controller.segmentId}"
    if how == "another model":
        done.client.modelFacts = {**done.client.modelFacts, "sha256": "cd" * 32}
    elif how == "lost":
        done.controller.segmentationNode.RemoveAttribute(name)
    else:
        done.controller.segmentationNode.SetAttribute(name, "{")
    anew(done)
    correct(done)
    with pytest.raises(PromptError, match="propagate again first"):
        done.controller.review.script()
    assert {done.states()[index] for index in (0, 1, 2, 4, 6)} == {"stale"}
    assert done.controller.review.intervals() == []
    done.propagate().finish()
    assert ranges(done) == [[0, 7]]
    assert "stale" not in done.states().values()
    done.controller.review.script()


def test_another_segmentation_in_another_window_leaves_the_first_in_peace(done: ControllerBench) -> None:
    controller = done.controller
    segmentation, segmentId, states = controller.segmentationNode, controller.segmentId, done.states()
    controller.setSegment(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
    done.volume.CreateDefaultDisplayNodes()
    done.volume.GetDisplayNode().AutoWindowLevelOff()
    done.volume.GetDisplayNode().SetWindowLevel(55, 33)
    done.click(4, 4, 3)
    done.preview()
    controller.setSegment(segmentation, segmentId)
    done.click(4, 4, 5)
    done.preview(5)
    assert {states[index] for index in (1, 2)} == {done.states()[index] for index in (1, 2)} == {"propagated"}


@pytest.mark.parametrize("kind", ["vtkMRMLSequenceNode", "vtkMRMLSegmentationNode"])
def test_a_script_finds_the_volume_among_nodes_of_its_name(bench: ControllerBench, nodes: Any, kind: str) -> None:
    nodes.scene.RemoveNode(bench.volume)
    nodes.scene.AddNewNodeByClass(kind, "CT")  # as a sequence gives its name to the frame that is shown
    bench.volume = nodes.volume(shape=(7, 8, 9))
    bench.controller.setVolume(bench.volume)
    bench.click(4, 4, 3)
    bench.propagate().finish()
    (line,) = [one for one in bench.controller.review.script().splitlines() if one.startswith("volume = ")]
    found: dict[str, Any] = {}
    exec(line, {"slicer": slicer}, found)  # noqa: S102
    assert found["volume"] is bench.volume
