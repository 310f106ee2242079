"""Sets on the wire: the same after the way there and back; anything else is a WorkerError."""

from __future__ import annotations

import numpy as np
import pytest

from medsam2_core.errors import PromptError, WorkerError
from medsam2_core.worker.image_sets import (
    SetAnswered,
    SetImage,
    SetStep,
    images_from_wire,
    images_to_wire,
    set_step_from_wire,
    set_step_to_wire,
    shape_in,
)
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer
from medsam2_core.worker.wire import Buffer, Decoder, Frame, Header, encode

SHAPES = [(4, 6), (5, 3)]
IMAGE = {"shape": [2, 3], "spacing_yx": [1.0, 2.0]}


def sent(header: Header, payloads: list[Buffer]) -> Frame:
    (frame,) = Decoder().feed(b"".join(bytes(buffer) for buffer in encode(header, payloads)))
    return frame


def test_images_arrive_as_they_were_also_views_of_others() -> None:
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (5, 3, 3), dtype=np.uint8)
    images = [SetImage(rng.integers(0, 256, (6, 4), dtype=np.uint8).T[::-1], (0.5, 2.0)), SetImage(color)]
    payloads: list[Buffer] = []
    found = images_from_wire(sent({"images": images_to_wire(images, payloads)}, payloads))
    assert [image.spacing for image in found] == [(0.5, 2.0), (1.0, 1.0)]
    for image, other in zip(images, found, strict=True):
        assert np.array_equal(image.pixels, other.pixels)


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({"shape": [2, 3]}, 5),
        ({"shape": [2, 3, 4]}, 24),
        ({"shape": [6]}, 6),
        ({"shape": [0, 3]}, 0),
        ({"shape": [2.5, 3]}, 6),
        ({"shape": [True, 6]}, 6),
        ({"shape": [-2, -3]}, 6),
        ({"spacing_yx": [1.0]}, 6),
        ({"spacing_yx": ["1", 2]}, 6),
    ],
)
def test_what_is_no_image(changed: Header, size: int) -> None:
    with pytest.raises(WorkerError):
        images_from_wire(Frame({"images": [{**IMAGE, **changed}]}, (bytes(size),)))


def test_an_image_without_pixels() -> None:
    with pytest.raises(WorkerError, match="payload 1"):
        images_from_wire(Frame({"images": [IMAGE, IMAGE]}, (bytes(6),)))


def step(index: int | None) -> SetStep:
    mask = np.zeros(SHAPES[1], bool)
    mask[1:3, 2] = True
    answers = (ObjectAnswer(3, PackedMask.of(mask), 0.75, 1.5), ObjectAnswer(4, PackedMask.of(mask & False), 0.5, -1.0))
    return SetStep(index, 3, 8, answers if index is not None else ())


@pytest.mark.parametrize("index", [1, None])
def test_a_step_arrives_as_it_was(index: int | None) -> None:
    payloads: list[Buffer] = []
    found = set_step_from_wire(sent(set_step_to_wire(step(index), payloads), payloads), SHAPES)
    assert (found.image_index, found.done, found.planned) == (index, 3, 8)
    assert found.doubt == (0.5 if index is not None else 0.0)
    assert [answer.object_id for answer in found.answers] == ([3, 4] if index is not None else [])
    for answer, other in zip(found.answers, step(index).answers, strict=True):
        assert np.array_equal(answer.mask.full(SHAPES[1]), other.mask.full(SHAPES[1]))


@pytest.mark.parametrize("index", [-1, 2, 0])  # the mask of image 1 does not fit into image 0
def test_a_step_about_what_is_not_there(index: int) -> None:
    payloads: list[Buffer] = []
    header = {**set_step_to_wire(step(1), payloads), "image_index": index}
    if index == 0:
        header["masks"][0]["box"] = [1, 2, 5, 3]
    with pytest.raises(WorkerError):
        set_step_from_wire(sent(header, payloads), SHAPES)


def test_how_it_ended() -> None:
    assert SetAnswered.from_wire(SetAnswered(cancelled=True, seconds=1.5).to_wire()) == SetAnswered(True, 1.5)
    with pytest.raises(WorkerError):
        SetAnswered.from_wire({"cancelled": 1, "seconds": 2.0})


def test_the_shape_of_an_image_that_does_not_exist() -> None:
    images = [SetImage(np.zeros((2, 3), np.uint8))]
    assert shape_in(images, 0) == (2, 3)
    with pytest.raises(PromptError, match="go from 0 to 0"):
        shape_in(images, 1)
