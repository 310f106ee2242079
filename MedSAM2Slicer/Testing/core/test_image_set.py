"""One prompt for a set of unrelated images."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2

WINDOW = m2.Window(0, 200, "test")

pytestmark = pytest.mark.usefixtures("single_thread")


def disc_image(shape: tuple[int, int], centre: tuple[int, int], radius: int, value: int = 200) -> Any:
    y, x = np.indices(shape)
    truth = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    image = np.full(shape, 100, np.int16)
    image[truth] = value
    return image, truth


@pytest.fixture
def discs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images of different size, the object somewhere else in each, and one without it."""
    made = [
        disc_image((64, 64), (20, 30), 10),
        disc_image((40, 90), (70, 20), 12),
        disc_image((100, 50), (25, 80), 11),
        disc_image((64, 64), (50, 10), 0),
        disc_image((33, 47), (15, 15), 8),
    ]
    images, truths = zip(*made, strict=True)
    return list(images), list(truths)


@pytest.mark.parametrize("memory", ["self-sorting", "recency"])
@pytest.mark.parametrize("prompted", [0, 2])
def test_one_prompt_finds_the_object_in_every_image(fakes: ModuleType, discs: Any, memory: str, prompted: int) -> None:
    images, truths = discs
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW, memory=memory)
    session.add_mask(3, prompted, truths[prompted])
    found = session.segment()
    assert [list(answers) for answers in found] == [[3]] * 5
    for answers, image, truth in zip(found, images, truths, strict=True):
        assert answers[3].logits.shape == image.shape
        assert fakes.dice(answers[3].mask, truth) > 0.85 if truth.any() else not answers[3].mask.any()
    assert session.results(3)[prompted].direction == "prompt"


def test_confidence_does_not_fade_where_images_have_no_distance(fakes: ModuleType, discs: Any) -> None:
    images, _ = discs
    session = m2.ImageSetSession(fakes.FakeModel(replace(fakes.CONFIG, trust_mm=1.0)), images, window=WINDOW)
    session.add_box(1, 0, (10, 20, 30, 40))
    session.segment()
    assert {round(result.confidence, 6) for result in session.results(1).values()} == {0.9}


def test_the_most_alike_come_first(fakes: ModuleType) -> None:
    base = np.random.default_rng(0).integers(0, 200, (64, 64)).astype(np.float32)
    other = np.random.default_rng(1).integers(0, 200, (64, 64)).astype(np.float32)
    shares = [0.5, 0.0, 0.9, 0.2, 0.7]  # of the other image mixed in
    images = [(1 - share) * base + share * other for share in shares]
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW)
    session.add_points(1, 1, [(30, 30)], [1])
    session.segment()
    visited = list(session._objects[1].tracked)
    assert visited == [3, 0, 4, 2]


def test_several_objects_and_prompts(fakes: ModuleType, discs: Any) -> None:
    images, truths = discs
    dark, dark_truth = disc_image((64, 64), (40, 40), 9, value=0)
    session = m2.ImageSetSession(fakes.FakeModel(), [*images, dark], window=WINDOW)
    session.add_mask(1, 0, truths[0])
    session.add_mask(1, 4, truths[4])
    session.add_points(2, 5, [(40, 40)], [1])
    found = session.segment()
    assert fakes.dice(found[2][1].mask, truths[2]) > 0.85
    assert not found[2][2].mask.any()
    assert not found[5][1].mask.any()
    assert fakes.dice(found[5][2].mask, dark_truth) > 0.85


def test_a_real_model_takes_images_of_any_size(discs: Any) -> None:
    import torch

    torch.manual_seed(0)
    model = m2.build_model("starter", image_size=64)
    session = m2.ImageSetSession(model, discs[0])
    session.add_box(1, 0, (8, 18, 32, 42))
    found = session.segment()
    assert [answers[1].logits.shape for answers in found] == [image.shape for image in discs[0]]
    assert all(np.isfinite(answers[1].logits).all() for answers in found)


def test_cancelling_keeps_the_images_done(fakes: ModuleType, discs: Any) -> None:
    images, truths = discs
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW)
    session.add_mask(1, 0, truths[0])
    token = m2.CancelToken()
    token.cancel()
    assert [list(answers) for answers in session.segment(cancel=token)] == [[1], [], [], [], []]


def test_refusals(fakes: ModuleType, discs: Any) -> None:
    session = m2.ImageSetSession(fakes.FakeModel(), discs[0], window=WINDOW)
    with pytest.raises(m2.PromptError, match="nothing to look for"):
        session.segment()
    with pytest.raises(m2.PromptError, match="x goes from 0 to 89, y to 39"):
        session.add_points(1, 1, [(20, 50)], [1])  # inside the first image, outside this one
    with pytest.raises(m2.VolumeError, match="set is empty"):
        m2.ImageSetSession(fakes.FakeModel(), [])
    with pytest.raises(m2.VolumeError, match=r"Image 1 has shape \(4, 4, 3\)"):
        m2.ImageSetSession(fakes.FakeModel(), [np.zeros((4, 4)), np.zeros((4, 4, 3))])
