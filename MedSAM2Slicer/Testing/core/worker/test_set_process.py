"""The real worker with the starter on a set of images: the masks are those of `ImageSetSession`, pixel for pixel."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import AS_GIVEN
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, RunObject
from medsam2_core.worker.image_sets import SetImage, SetStep
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.transports import SubprocessTransport

WORKER = [sys.executable, "-m", "medsam2_core.worker"]
BOX = BoxPrompt(0, (14.0, 19.0, 37.0, 42.0))
POINT = PointsPrompt(2, ((30.0, 30.0), (2.0, 2.0)), (True, False))

pytestmark = pytest.mark.usefixtures("single_thread")


def disc(shape: tuple[int, int], x: int, y: int, seed: int) -> np.ndarray:
    rows, columns = np.indices(shape)
    noise = np.random.default_rng(seed).normal(90, 8, shape)
    return (noise + 80 * ((columns - x) ** 2 + (rows - y) ** 2 < 120)).astype(np.uint8)


@pytest.fixture(scope="module")
def images() -> list[SetImage]:
    """Discs in noise: gray and in color, of two sizes, the last one without."""
    gray = [disc((64, 64), 25, 30, 0), disc((64, 64), 28, 33, 1), disc((80, 70), 30, 30, 2)]
    color = np.repeat(disc((64, 64), 24, 29, 3)[..., None], 3, axis=2)
    return [SetImage(one) for one in [*gray, color, disc((64, 64), 500, 500, 4)]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, images: list[SetImage]) -> Iterator[WorkerClient]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log: Path = tmp_path_factory.mktemp("log") / "worker.log"
    client = WorkerClient(SubprocessTransport, WORKER, log, environment)
    client.setModel("starter", "cpu")
    client.setImages("set", images)
    yield client
    client.stop()


@pytest.fixture(scope="module")
def session(images: list[SetImage]) -> m2.ImageSetSession:
    return m2.ImageSetSession(m2.load_model("starter", "cpu"), [image.pixels for image in images], window=AS_GIVEN)


def item(label: int, *prompts: object) -> RunObject:
    return RunObject(Segment(str(label), label, (1, 0, 0)), prompts)  # type: ignore[arg-type]


def by_worker(client: WorkerClient, images: list[SetImage], *objects: RunObject) -> list[np.ndarray]:
    labels = [np.zeros(image.shape, np.uint8) for image in images]

    def draw(step: SetStep) -> None:
        for answer in step.answers:
            assert step.image_index is not None
            labels[step.image_index][answer.mask.full(labels[step.image_index].shape)] = answer.object_id

    client.segmentImages("set", objects, draw).wait()
    return labels


def test_the_masks_are_those_of_the_session(client, images: list[SetImage], session: m2.ImageSetSession) -> None:
    absent = MaskPrompt(4, np.zeros(images[4].shape, bool))
    found = by_worker(client, images, item(1, BOX, absent), item(2, POINT))
    session.add_box(1, 0, BOX.box)
    session.add_mask(1, 4, absent.mask)
    session.add_points(2, 2, POINT.points_xy, [1, 0])
    session.segment()
    assert found[0].any()
    assert not (found[4] == 1).any()
    for index, labels in enumerate(found):
        assert np.array_equal(labels, session.labels(index))


def test_a_second_prompt_counts_and_taking_it_back_restores_the_first_answer(client, images: list[SetImage]) -> None:
    first = by_worker(client, images, item(1, BOX))
    encoded = client.status().wait()["encoder_runs"]
    other = by_worker(client, images, item(1, BOX, BoxPrompt(2, (2.0, 50.0, 20.0, 70.0))))
    assert not np.array_equal(other[2], first[2])
    again = by_worker(client, images, item(1, BOX))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert client.status().wait()["encoder_runs"] > encoded  # the other prompt's view


def test_a_cancel_comes_through_while_the_model_works(client, images: list[SetImage]) -> None:
    many = [SetImage(disc((96, 96), 30 + place, 40, 10 + place)) for place in range(60)]
    client.setImages("many", many)
    seen: list[SetStep] = []
    call = client.segmentImages("many", [item(1, BoxPrompt(0, (18.0, 28.0, 42.0, 52.0)))], seen.append)
    while not seen:
        client.pump(0.05)
    asked = time.monotonic()
    call.cancel()
    result = call.wait()
    per_image = result.seconds / seen[-1].done if seen[-1].done else result.seconds
    assert result.cancelled
    assert time.monotonic() - asked < 3 * per_image + 1
    done = {step.image_index for step in seen if step.image_index is not None}
    assert 0 < len(done) < 60
    client.closeImages("many")
