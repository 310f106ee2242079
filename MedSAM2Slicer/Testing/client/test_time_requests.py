"""Objects through time: through the client and a worker process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsam2_core.errors import PromptError, VolumeError, WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.run.prompts import MaskPrompt, RunObject
from medsam2_core.run.settings import usual
from medsam2_core.stopping import StopRules
from medsam2_core.worker.time_steps import TimeStep
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.requests import TimeWish

KEYS = ("a", "b", "c")


@pytest.fixture
def frames(volume: Any) -> list[Any]:
    """Three moments of the volume, the block one row further down each time."""
    return [replace(volume, gray=np.roll(volume.gray, frame, axis=1)) for frame in range(3)]


def wish(axis: int = 0, start: int = 1) -> TimeWish:
    settings = {**usual("session"), **usual("run"), **usual("drawing")}
    return TimeWish(KEYS, start, axis, StopRules(), settings)


def known(frames: list[Any], axis: int = 0) -> RunObject:
    slices = np.moveaxis(frames[1].gray > 100, axis, 0)
    prompts = tuple(MaskPrompt(index, mask) for index, mask in enumerate(slices) if mask.any())
    return RunObject(Segment("x", 7, (1, 0, 0)), prompts)


@pytest.fixture
def client(make_client: Any, frames: list[Any], hold: Path) -> WorkerClient:
    made: WorkerClient = make_client(None, 0, hold)
    for key, frame in zip(KEYS, frames, strict=True):
        made.setVolume(key, frame)
    return made


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_masks_of_stored_slices_come_back(client: WorkerClient, frames: list[Any], axis: int) -> None:
    steps: list[TimeStep] = []
    assert client.throughTime(wish(axis), [known(frames, axis)], steps.append).wait() is False
    assert [(step.moment, step.done, step.planned) for step in steps] == [(0, 2, 3), (2, 3, 3)]
    for step in steps:
        (answer,) = step.answers
        assert (answer.object_id, answer.confidence) == (7, 0.75)
        stored = np.moveaxis(frames[step.moment].gray, axis, 0) > 100
        assert set(answer.masks) == set(np.flatnonzero(stored.any(axis=(1, 2))).tolist())
        for index, mask in answer.masks.items():
            assert np.array_equal(mask.full(stored.shape[1:]), stored[index])


def test_a_cancel_leaves_out_the_moment_at_hand(client: WorkerClient, frames: list[Any], hold: Path) -> None:
    hold.touch()
    steps: list[TimeStep] = []
    call = client.throughTime(wish(), [known(frames)], steps.append)
    while not steps:
        client.pump(0.01)
    call.cancel()
    assert call.wait() is True
    assert len(steps) == 1


def test_what_cannot_be_asked(client: WorkerClient, frames: list[Any]) -> None:
    with pytest.raises(PromptError, match="segment the object in this frame first"):
        client.throughTime(wish(), [replace(known(frames), prompts=())]).wait()
    smaller = Geometry((12, 10, 30), (0.5, 2.0, 3.0), (1, 2, 3), frames[0].geometry.direction_lps)
    client.setVolume("c", replace(frames[2], gray=np.zeros((12, 10, 30), np.uint8), geometry=smaller))
    with pytest.raises(VolumeError, match="different sizes"):
        client.throughTime(wish(), [known(frames)]).wait()


def test_a_volume_that_was_forgotten_ends_its_own_request_only(client: WorkerClient, frames: list[Any]) -> None:
    before, forgotten = client.prepare(), client.throughTime(wish(), [known(frames)])
    after = client.status()
    client.closeVolume("c", ())
    assert before.wait() is not None
    with pytest.raises(WorkerError, match="no volume 'c'"):
        forgotten.wait()
    assert after.wait()["volumes"] == ["a", "b"]
    client.closeVolume("b", ())
    with pytest.raises(WorkerError, match="no volume 'b'"):
        client.throughTime(wish(), [known(frames)])
