"""Sets of images through the client and a worker process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from medsam2_core.errors import PromptError, WorkerError
from medsam2_core.image.segments import Segment
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, Prompt, RunObject
from medsam2_core.worker.image_sets import SetImage, SetStep
from MedSAM2SlicerLib.worker.client import WorkerClient

SHAPES = ((20, 30), (16, 40), (25, 25), (9, 11), (20, 30))


def bright(place: int) -> np.ndarray:
    mask = np.zeros(SHAPES[place], bool)
    mask[2 : 5 + place, 3:9] = True
    return mask


@pytest.fixture
def images() -> list[SetImage]:
    """Five images of several sizes with a bright block each, the third one in color."""
    gray = [SetImage(np.where(bright(place), 200, 50).astype(np.uint8), (2.0, 0.5)) for place in range(5)]
    gray[2] = SetImage(np.repeat(gray[2].pixels[..., None], 3, axis=2))
    return gray


def item(label: int, *prompts: Prompt) -> RunObject:
    return RunObject(Segment(str(label), label, (1, 0, 0)), prompts)


BLOCK = item(1, BoxPrompt(0, (3, 2, 9, 5)))


@pytest.fixture
def client(make_client, images: list[SetImage]) -> WorkerClient:
    client = make_client()
    client.setImages("set", images)
    return client


def answered(steps: list[SetStep]) -> list[SetStep]:
    return [step for step in steps if step.image_index is not None]


def test_every_image_is_answered_in_its_own_size(client: WorkerClient, images: list[SetImage]) -> None:
    steps: list[SetStep] = []
    result = client.segmentImages("set", [BLOCK], steps.append).wait()
    assert not result.cancelled
    assert [step.image_index for step in answered(steps)] == [0, 1, 2, 3, 4]
    for step, image in zip(answered(steps), images, strict=True):
        (answer,) = step.answers
        assert np.array_equal(answer.mask.full(image.shape), bright(step.image_index or 0))
        assert step.doubt == pytest.approx(1 - 1 / (1 + (step.image_index or 0)))
    assert [(step.done, step.planned) for step in steps if step.image_index is None] == [(n, 5) for n in range(1, 6)]


def test_absent_here_and_several_objects(client: WorkerClient) -> None:
    steps: list[SetStep] = []
    absent = MaskPrompt(3, np.zeros(SHAPES[3], bool))
    client.segmentImages("set", [item(4, *BLOCK.prompts, absent), item(7, *BLOCK.prompts)], steps.append).wait()
    assert [answer.object_id for answer in answered(steps)[3].answers] == [4, 7]
    assert [answer.mask.box is None for answer in answered(steps)[3].answers] == [True, False]
    # Where masks overlap one has the pixel.
    assert [answer.mask.box is None for answer in answered(steps)[0].answers] == [True, False]
    client.segmentImages("set", [item(4, *BLOCK.prompts)], steps.append).wait()
    assert steps[-1].answers[0].mask.box is not None


def test_a_cancel_ends_it_within_an_image(make_client, hold: Path, images: list[SetImage]) -> None:
    client = make_client(None, 0, hold)
    hold.touch()
    client.setImages("set", images)
    steps: list[SetStep] = []
    call = client.segmentImages("set", [BLOCK], steps.append)
    while len(answered(steps)) < 2:
        client.pump(0.01)
    call.cancel()
    assert call.wait().cancelled
    assert len(answered(steps)) == 2


def test_a_set_is_sent_once(client: WorkerClient, images: list[SetImage]) -> None:
    client.segmentImages("set", [BLOCK]).wait()
    client.setImages("set", images)
    client.segmentImages("set", [BLOCK]).wait()
    assert [request for request in client.log.path.read_text().splitlines() if "Traceback" in request] == []
    assert client.status().wait()["sets"] == ["set"]
    client.closeImages("set")
    assert client.status().wait()["sets"] == []
    with pytest.raises(WorkerError, match="no set 'set'"):
        client.segmentImages("set", [BLOCK]).wait()


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ([], "nothing to look for"),
        ([item(1, MaskPrompt(9, np.zeros((2, 2), bool)))], "Image 9 does not exist"),
    ],
)
def test_what_cannot_be_asked(client: WorkerClient, objects: list[RunObject], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        client.segmentImages("set", objects).wait()
    assert not client.segmentImages("set", [BLOCK]).wait().cancelled


def test_settings_go_along(client: WorkerClient, images: list[SetImage]) -> None:
    client.setImages("set", images, order="sideways")
    with pytest.raises(PromptError, match="free or arrival"):
        client.segmentImages("set", [BLOCK]).wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_worker_that_dies_is_given_the_set_again(make_client, hold: Path, images: list[SetImage]) -> None:
    client = make_client(None, 0, hold)
    hold.touch()
    client.setImages("set", images)
    steps: list[SetStep] = []
    call = client.segmentImages("set", [BLOCK], steps.append)
    while not answered(steps):
        client.pump(0.01)
    os.kill(client._queue._connection._transport._process.pid, signal.SIGKILL)
    hold.unlink()
    assert not call.wait().cancelled
    assert {step.image_index for step in answered(steps)} == {0, 1, 2, 3, 4}
