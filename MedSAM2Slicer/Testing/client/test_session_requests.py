"""Some objects of a session, a region to stay in, and masks drawn again: through the client and a worker process."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import Propagated, Step
from MedSAM2SlicerLib.worker.client import WorkerClient

posix = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@pytest.fixture
def two(block: RunObject) -> list[RunObject]:
    """The block as object 1, and as object 2 a column further right."""
    return [block, replace(block, segment=replace(block.segment, label=2))]


@pytest.fixture
def client(make_client) -> WorkerClient:
    return make_client()


def end_worker(client: WorkerClient) -> None:
    os.kill(client._queue._connection._transport._process.pid, signal.SIGKILL)
    while client.state.value != "stopped":
        client.pump(0.05)


# Some objects


def test_only_some_objects_run_and_are_reported(client: WorkerClient, two: list[RunObject]) -> None:
    steps = []
    result = client.propagate("s", two, 3, 8, onStep=steps.append, only={2}).wait()
    assert {answer.object_id for step in steps for answer in step.answers} == {2}
    assert [record.object_id for record in result.objects] == [2]
    (first, second) = client.predict("s", 5, two).wait()
    assert (first.object_id, second.object_id) == (1, 2)
    assert [answer.object_id for answer in client.predict("s", 7, two).wait()] == [2]  # 1 was not carried there


def test_the_others_keep_what_they_have_drawn(client: WorkerClient, two: list[RunObject]) -> None:
    client.propagate("s", two, 0, 12, only=[1]).wait()
    client.propagate("s", two, 4, 7, only=[2]).wait()
    assert [answer.object_id for answer in client.predict("s", 9, two).wait()] == [1]
    everything = client.propagate("s", two, 5, 7).wait()
    assert [len(record.slices) for record in everything.objects] == [12, 3]


def test_an_object_the_session_does_not_have(client: WorkerClient, two: list[RunObject]) -> None:
    with pytest.raises(PromptError, match="nothing to propagate"):
        client.propagate("s", two, 0, 12, only=[7]).wait()


def test_a_tentative_one_that_is_canceled_leaves_nothing(make_client, hold: Path, two: list[RunObject]) -> None:
    client = make_client(None, 0, hold)
    client.propagate("s", two[:1], 4, 7).wait()
    hold.touch()
    assert stopped(client, two[:1], keep=False).taken_back
    assert client.predict("s", 8, two[:1]).wait() == ()
    assert client.predict("s", 6, two[:1]).wait() != ()
    hold.unlink()
    client.propagate("s", two[:1], 0, 12, tentative=True).wait()
    assert client.predict("s", 8, two[:1]).wait() != ()


def test_a_tentative_one_that_is_canceled_leaves_what_it_has_if_it_is_told_to(
    make_client, hold: Path, two: list[RunObject]
) -> None:
    client = make_client(None, 0, hold)
    hold.touch()
    result = stopped(client, two[:1], keep=True)
    assert not result.taken_back
    assert result.rounds
    (record,) = result.objects
    assert len(record.slices) == 2
    assert all(client.predict("s", one.slice_index, two[:1]).wait() for one in record.slices)


def stopped(client: WorkerClient, objects: list[RunObject], keep: bool) -> Propagated:
    steps: list[Step] = []
    call = client.propagate("s", objects, 0, 12, onStep=steps.append, tentative=True)
    while len(steps) < 2:
        client.pump(0.05)
    call.cancel(keep)
    result = call.wait()
    assert result.cancelled
    return result


def test_a_slice_can_be_seen_ahead(client: WorkerClient, block: RunObject) -> None:
    client.look("s", 3).wait()
    assert client.status().wait()["encoder_runs"] == 1


def test_where_axes_disagree_is_told_on_stored_slices(client: WorkerClient, block: RunObject, volume: Any) -> None:
    client.propagate("s", [block], 4, 7).wait()
    found = client.disagreement("s", 1).wait()
    assert set(found.slices) == {4, 5, 6}
    for index, (box, percent) in found.slices.items():
        rows, columns = np.nonzero(volume.gray[index] > 100)
        assert box == (rows[-1], columns[-1] - 2, rows[-1] + 1, columns[-1] + 1)  # upright, these slices are turned
        assert percent.tolist() == [[33, 33, 33]]
    with pytest.raises(PromptError, match="three axes first"):
        client.disagreement("s", 2).wait()


@posix
def test_where_axes_disagree_is_gone_with_the_worker(client: WorkerClient, block: RunObject) -> None:
    client.propagate("s", [block], 4, 7).wait()
    end_worker(client)
    with pytest.raises(PromptError, match="Propagate again first"):
        client.disagreement("s", 1).wait()


# Stop rules


def test_a_region_of_another_volume_is_an_error(client: WorkerClient, block: RunObject) -> None:
    with pytest.raises(VolumeError, match=r"\(2, 2, 2\) but the volume \(12, 20, 30\)"):
        client.propagate("s", [block], 0, 12, stop=StopRules(inside=np.ones((2, 2, 2), bool))).wait()
    assert client.propagate("s", [block], 0, 12).wait().objects


# Drawn again


def test_masks_are_drawn_again_with_their_areas(client: WorkerClient, two: list[RunObject], volume) -> None:
    client.propagate("s", two, 3, 8).wait()
    steps = []
    result = client.redraw("s", two, 1, {"threshold": 0.7, "smoothing_mm": 2.0}, onStep=steps.append).wait()
    (record,) = result.objects
    assert (record.object_id, record.stopped) == (1, {"forward": "reached the end"})
    assert [step.slice_index for step in steps] == [one.slice_index for one in record.slices] == [3, 4, 5, 6, 7]
    for step, one in zip(steps, record.slices, strict=True):
        (answer,) = step.answers
        stored = volume.gray[step.slice_index] > 100
        assert answer.mask.crop.sum() == stored.sum() - 2 * stored.any(axis=0).sum()  # the threshold takes two rows
        assert one.area_mm2 == pytest.approx(answer.mask.crop.sum() * 0.5 * 2.0)
        assert (step.done, step.planned) == (0, 0)


def test_drawing_again_can_be_cancelled(make_client, hold: Path, block: RunObject) -> None:
    client = make_client(None, 0.05, hold)
    client.propagate("s", [block], 0, 12).wait()
    hold.touch()
    steps = []
    call = client.redraw("s", [block], 1, {"threshold": 0.7}, onStep=steps.append)
    while len(steps) < 2:
        client.pump(0.01)
    call.cancel()
    hold.unlink()
    result = call.wait()
    assert result.cancelled
    assert len(steps) < 6
    (record,) = result.objects
    assert len(record.slices) == 12


def test_what_was_not_propagated_cannot_be_drawn_again(client: WorkerClient, block: RunObject) -> None:
    client.predict("s", 5, [block]).wait()
    with pytest.raises(PromptError, match="Propagate again first"):
        client.redraw("s", [block], 1).wait()


@posix
def test_what_a_lost_worker_had_kept_has_to_be_propagated_again(client: WorkerClient, two: list[RunObject]) -> None:
    client.propagate("s", two, 0, 12).wait()
    end_worker(client)
    with pytest.raises(PromptError, match="Propagate again first: the model process was restarted"):
        client.redraw("s", two, 1).wait()
    client.propagate("s", two, 0, 12, only=[1]).wait()
    assert client.redraw("s", two, 1).wait().objects
    with pytest.raises(PromptError, match="Propagate again first"):
        client.redraw("s", two, 2).wait()
