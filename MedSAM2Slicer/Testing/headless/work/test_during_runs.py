"""What other tools do to segments while a run goes on: it is theirs, and not the run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish, notice, segmentEditor

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib import live
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.segments import SegmentWriter

SPOT = np.eye(8, 9, dtype=bool)


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


def test_live_goes_on_from_what_was_painted_behind_a_run(
    done: ControllerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    done.controller.live.turn(True)
    call = done.propagate(3)
    done.paint(5, SPOT)
    finish(call)
    notice(done)
    assert done.client.spans[-1] == (3, 7)


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
