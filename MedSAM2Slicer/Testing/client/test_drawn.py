"""A new worker goes on where the lost one ended: corrections start from the same mask, results list the same slices."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from medsam2_core.image.segments import Segment
from medsam2_core.run.prompts import MaskPrompt, PointsPrompt, RunObject
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer, ObjectRecord, Propagated, SliceRecord, Step
from MedSAM2SlicerLib.worker.drawn import Drawn, Reach

MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:5] = True
BOX_ON_2 = PointsPrompt(2, ((3.0, 2.0),), (True,))
CORRECTION_ON_4 = PointsPrompt(4, ((1.0, 1.0),), (False,))


def item(*prompts) -> RunObject:
    return RunObject(Segment("a", 1, (1, 0, 0)), prompts)


def step(index: int, mask: np.ndarray = MASK, direction: str = "forward") -> Step:
    return Step(index, direction, 1, 1, (ObjectAnswer(1, PackedMask.of(mask), 0.9, 1.0),))


def result(*indexes: int, cancelled: bool = False) -> Propagated:
    slices = tuple(SliceRecord(index, 0.5, 1.0, "forward", 9.0) for index in indexes)
    return Propagated(cancelled, 1.0, (ObjectRecord(1, {}, slices),))


@pytest.fixture
def drawn() -> Drawn:
    """Slices 2 to 5 of object 1, tracked from 2 by the first run of the worker."""
    drawn = Drawn((6, 8), 2.0)
    drawn.noteRequest([item(BOX_ON_2)])
    for index in (3, 4, 5):
        drawn.noteStep(step(index), run=1)
    drawn.completed(result(2, 3, 4, 5), Reach(0, 6, "both"), run=1)
    return drawn


def test_the_worker_that_drew_gets_the_correction_as_it_is(drawn: Drawn) -> None:
    objects = [item(BOX_ON_2, CORRECTION_ON_4)]
    drawn.noteRequest(objects)
    assert drawn.restored(objects, run=1) == objects


def test_a_new_worker_gets_the_mask_before_the_correction_every_time(drawn: Drawn) -> None:
    objects = [item(BOX_ON_2, CORRECTION_ON_4)]
    for run in (2, 2, 3):
        drawn.noteRequest(objects)
        (restored,) = drawn.restored(objects, run)
        mask, *prompts = restored.prompts
        assert isinstance(mask, MaskPrompt)
        assert mask.slice_index == 4
        assert np.array_equal(mask.mask, MASK)
        assert prompts == [BOX_ON_2, CORRECTION_ON_4]


def test_a_prompt_taken_back_needs_no_mask(drawn: Drawn) -> None:
    drawn.noteRequest([item(BOX_ON_2, CORRECTION_ON_4)])
    drawn.noteRequest([item(BOX_ON_2)])
    assert drawn.restored([item(BOX_ON_2)], run=2) == [item(BOX_ON_2)]


def test_a_slice_that_was_drawn_empty_needs_no_mask(drawn: Drawn) -> None:
    drawn.noteStep(step(4, MASK & False), run=1)
    drawn.noteRequest([item(BOX_ON_2, CORRECTION_ON_4)])
    assert len(drawn.restored([item(BOX_ON_2, CORRECTION_ON_4)], run=2)[0].prompts) == 2


def test_a_forgotten_object_takes_its_masks_along(drawn: Drawn) -> None:
    drawn.noteRequest([])
    objects = [item(BOX_ON_2, CORRECTION_ON_4)]
    drawn.noteRequest(objects)
    assert drawn.restored(objects, run=2) == objects


@pytest.mark.parametrize(
    ("reach", "cancelled", "kept"),
    [
        (Reach(0, 6, "both"), False, []),
        (Reach(0, 6, "both"), True, [4, 5]),
        (Reach(0, 4, "both"), False, [4, 5]),
        (Reach(0, 6, "backward"), False, [4, 5]),
        (Reach(0, 6, "forward"), False, []),
    ],
)
def test_slices_a_new_worker_did_not_go_through_stay(drawn: Drawn, reach: Reach, cancelled: bool, kept: list) -> None:
    drawn.noteStep(step(3), run=2)
    completed = drawn.completed(result(2, 3, cancelled=cancelled), reach, run=2)
    assert [one.slice_index for one in completed.objects[0].slices] == [2, 3, *kept]


def test_in_the_same_run_the_worker_knows_best(drawn: Drawn) -> None:
    completed = drawn.completed(result(2, 3, cancelled=True), Reach(0, 6, "both"), run=1)
    assert [one.slice_index for one in completed.objects[0].slices] == [2, 3]


def test_an_object_that_did_not_run_keeps_its_masks(drawn: Drawn) -> None:
    other = RunObject(Segment("b", 2, (1, 0, 0)), (BOX_ON_2,))
    drawn.noteRequest([item(BOX_ON_2), other])
    ran = Propagated(False, 1.0, (ObjectRecord(2, {}, result(2).objects[0].slices),))
    assert [one.object_id for one in drawn.completed(ran, Reach(0, 6, "both"), run=1).objects] == [2]
    objects = [item(BOX_ON_2, CORRECTION_ON_4), other]
    drawn.noteRequest(objects)
    assert isinstance(drawn.restored(objects, run=2)[0].prompts[0], MaskPrompt)


def test_what_a_lost_worker_had_kept_is_lost_until_all_of_it_is_propagated_again(drawn: Drawn) -> None:
    assert not drawn.isLost(1, run=1)
    assert drawn.isLost(1, run=2)
    assert not drawn.isLost(7, run=2)
    for index in (3, 4):
        drawn.noteStep(step(index), run=2)
    assert drawn.isLost(1, run=2)
    drawn.completed(result(2, 3, 4), Reach(0, 6, "both"), run=2)  # slice 5 is no longer drawn
    assert not drawn.isLost(1, run=2)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_with_a_real_worker_killed_between_a_propagation_and_its_correction(make_client, volume, block) -> None:
    client = make_client()
    client.propagate("s", [block], 0, 12).wait()
    os.kill(client._queue._connection._transport._process.pid, signal.SIGKILL)
    corrected = RunObject(block.segment, (*block.prompts, PointsPrompt(8, ((1.0, 1.0),), (False,))))
    while client.state.value != "stopped":
        client.pump(0.05)
    done = client.propagate("s", [corrected], 0, 7, direction="forward").wait()
    assert [one.slice_index for one in done.objects[0].slices] == list(range(12))


OTHER = np.roll(MASK, 2, axis=1)


def asked_again(drawn: Drawn) -> np.ndarray:
    """What a new worker is told slice 4 showed before a correction there."""
    objects = [item(BOX_ON_2, CORRECTION_ON_4)]
    drawn.noteRequest(objects)
    mask = drawn.restored(objects, run=2)[0].prompts[0]
    assert isinstance(mask, MaskPrompt)
    return mask.mask


def test_what_was_taken_back_was_never_drawn(drawn: Drawn) -> None:
    drawn.tryOut()
    drawn.noteStep(step(4, OTHER), run=1)
    canceled = replace(result(2, 3, 4, cancelled=True), taken_back=True)
    assert drawn.completed(canceled, Reach(0, 6, "both"), run=1) == canceled
    np.testing.assert_array_equal(asked_again(drawn), MASK)


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_was_tried_out_and_kept_counts(drawn: Drawn, cancelled: bool) -> None:
    drawn.tryOut()
    drawn.noteStep(step(4, OTHER), run=1)
    drawn.completed(result(2, 3, 4, 5, cancelled=cancelled), Reach(0, 6, "both"), run=1)
    np.testing.assert_array_equal(asked_again(drawn), OTHER)


def test_what_was_tried_out_with_a_worker_that_was_lost_was_never_drawn(drawn: Drawn) -> None:
    drawn.tryOut()
    drawn.noteStep(step(4, OTHER), run=1)
    np.testing.assert_array_equal(asked_again(drawn), MASK)
