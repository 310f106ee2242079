"""Scenes that are saved while a run draws: what is loaded then claims no more than is so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish, notice
from scenefolder import writeScene

from medsam2_core.errors import PromptError
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions

SPOT, FULL = np.eye(8, 9, dtype=bool), np.ones((8, 9), dtype=bool)
DRAWN = {0: "stale", 1: "stale", 2: "stale", 3: "prompted", 4: "stale", 5: "stale", 6: "stale"}
"""The states after a run from slice 3 was broken off, all of whose slices were drawn before."""


class Saving:
    """A bench whose scene can be saved, closed and loaded at any time, into a controller that knows nothing else."""

    def __init__(self, bench: ControllerBench, folder: Path) -> None:
        self.bench, self.scene, self.folder = bench, slicer.mrmlScene, folder
        bench.client.mask = lambda index: ~SPOT

    def reload(self, segmentId: str = "") -> None:
        segmentId = segmentId or self.bench.controller.segmentId
        writeScene(self.folder)
        self.scene.Clear(1)
        self.bench.controller.close()
        assert self.scene.Connect()
        self.bench.volume = self.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        self.bench.controller = Controller(self.bench.client)
        self.bench.controller.setVolume(self.bench.volume)
        segmentation = self.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        self.bench.controller.setSegment(segmentation, segmentId)


@pytest.fixture
def saving(done: ControllerBench, tmp_path: Path) -> Iterator[Saving]:
    yield Saving(done, tmp_path)
    done.controller.close()


@pytest.mark.parametrize("isNoticed", [True, False])
def test_what_a_run_had_drawn_is_stale_and_no_edit(saving: Saving, isNoticed: bool) -> None:
    bench = saving.bench
    bench.propagate(5)  # slices 3, 4, 5, 6, 2
    saving.reload()
    if isNoticed:
        notice(bench)
    assert bench.states() == DRAWN
    np.testing.assert_array_equal(bench.mask()[6], ~SPOT)
    with pytest.raises(PromptError, match="interrupted"):
        bench.controller.review.script()
    finish(bench.propagate(0))
    assert bench.client.spans[-1] == (0, 7)
    assert "stale" not in bench.states().values()


def test_a_run_that_had_only_begun_leaves_all_as_it_was(saving: Saving) -> None:
    bench, before = saving.bench, saving.bench.states()
    bench.propagate(0)
    saving.reload()
    assert bench.states() == before


def test_what_a_first_run_had_drawn_is_stale(bench: ControllerBench, tmp_path: Path) -> None:
    saving = Saving(bench, tmp_path)
    bench.click(4, 4, 3)
    bench.preview()
    bench.propagate(3)
    saving.reload()
    assert bench.states() == {3: "prompted", 4: "stale", 5: "stale"}


def test_what_somebody_painted_during_the_run_is_an_edit(saving: Saving) -> None:
    bench = saving.bench
    call = bench.propagate(3)
    bench.paint(1, SPOT)
    bench.paint(4, SPOT)
    call.step()
    saving.reload()
    assert bench.states() == DRAWN | {1: "edited", 4: "edited"}
    finish(bench.propagate(0))
    for index in (1, 4):
        np.testing.assert_array_equal(bench.mask()[index], SPOT)


def test_accepted_slices_are_still_accepted_and_edits_of_them_edits(saving: Saving) -> None:
    bench = saving.bench
    bench.controller.accept(5)
    bench.controller.accept(1)
    call = bench.propagate(4)
    bench.paint(1, SPOT)
    saving.reload()
    assert call.steps
    assert bench.states()[5] == bench.states()[1] == "accepted"
    assert bench.controller.review.edited() == [1]


def test_a_part_of_a_run_that_was_done_is_known_as_far_as_the_next_one_tells(saving: Saving) -> None:
    bench = saving.bench
    for index in (2, 4):
        bench.controller.lock(index)
    for index in (1, 5):
        bench.paint(index)
    notice(bench)
    finish(bench.propagate(0))
    assert bench.client.spans[-1] == (4, 7)
    bench.client.calls[-1].step()
    saving.reload()
    states = bench.states()
    assert states[0] == "propagated"
    assert states[6] == "stale"
    assert bench.controller.review.edited() == [1, 5]


def test_what_a_redraw_had_drawn_is_stale(saving: Saving) -> None:
    bench = saving.bench
    bench.controller.redraw(0.3)
    call = bench.client.calls[-1]
    with pytest.raises(InterruptedError):
        bench.client.redrawn(_untilSlice(5))
    assert not call.isFinished
    saving.reload()
    assert "edited" not in bench.states().values()
    assert bench.states()[4] == "stale"


def test_a_run_that_came_to_its_end_after_the_scene_was_stored_leaves_no_trace(saving: Saving) -> None:
    bench = saving.bench
    finish(bench.propagate(0))
    states = bench.states()
    saving.reload()
    assert bench.states() == states
    assert "stale" not in states.values()


@pytest.mark.parametrize("end", ["stopped", "broken off", "undone"])
def test_a_run_that_ended_otherwise_is_told_as_it_was_here(saving: Saving, end: str) -> None:
    bench = saving.bench
    bench.propagate(4)
    if end == "stopped":
        bench.controller.stop()
    elif end == "broken off":
        bench.controller.setOptions(RunOptions(memory="self-sorting"))
    else:
        bench.controller.undo()
    notice(bench)
    states = bench.states()
    saving.reload()
    assert bench.states() == states


def _untilSlice(last: int) -> Any:
    """Masks of a redraw that is never over."""

    def mask(index: int) -> Any:
        if index > last:
            raise InterruptedError
        return FULL

    return mask
