"""One prompt for a set of unrelated images."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core.image.pixels import ImageFacts

WINDOW = m2.Window(0, 200, "test")

pytestmark = pytest.mark.usefixtures("single_thread")


def disc_image(shape: tuple[int, int], center: tuple[int, int], radius: int, value: int = 200) -> Any:
    y, x = np.indices(shape)
    truth = (x - center[0]) ** 2 + (y - center[1]) ** 2 < radius**2
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


@pytest.mark.parametrize(
    ("order", "memory"),
    [("free", "self-sorting"), ("free", "self-sorting:2"), ("arrival", "self-sorting"), ("arrival", "recency")],
)
@pytest.mark.parametrize("prompted", [0, 2])
def test_one_prompt_finds_the_object_in_every_image(
    fakes: ModuleType, discs: Any, memory: str, prompted: int, order: str
) -> None:
    images, truths = discs
    seed = 1 if (order, memory) == ("arrival", "self-sorting") else None
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW, memory=memory, order=order, seed=seed)
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


@pytest.mark.parametrize(("memory", "least"), [("self-sorting", 7), ("self-sorting:6", 6)])
def test_a_set_keeps_more_images_than_count_for_one(
    fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, memory: str, least: int
) -> None:
    """So that images that are kept themselves have as many that are like them: beside the prompted one six."""
    made = [disc_image((64, 64), (12 + 3 * place, 30), 10) for place in range(14)]
    model, counted = fakes.FakeModel(), list[int]()
    recall = model.recall

    def count(embedding: Any, recalls: Any, rows: Any) -> Any:
        counted.extend(len(one.memories) for one in recalls)
        return recall(embedding, recalls, rows)

    monkeypatch.setattr(model, "recall", count)
    session = m2.ImageSetSession(model, [image for image, _ in made], window=WINDOW, memory=memory)
    session.add_mask(1, 0, made[0][1])
    session.segment()
    assert min(counted[-13:]) == least


@pytest.fixture(scope="module")
def noise() -> list[np.ndarray]:
    """Seven images of two sizes, one of them in color and one there twice."""
    rng = np.random.default_rng(5)
    gray = [rng.normal(100, 40, (48, 64)).cumsum(axis=1) for _ in range(4)]
    color = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return [*gray, color, gray[1].copy(), rng.normal(0, 1, (30, 70))]


@pytest.mark.parametrize("view", ["zoom", "whole"])
def test_no_answer_depends_on_the_order_of_the_list(tiny: Any, noise: list[np.ndarray], view: str) -> None:
    model = tiny if view == "zoom" else _with_config(tiny, field_of_view="whole", dense_prompts=False)

    def segment(order: list[int]) -> list[bytes]:
        session = m2.ImageSetSession(model, [noise[place] for place in order])
        session.add_box(1, order.index(2), (10, 10, 40, 30))
        session.add_points(2, order.index(0), [(50, 20)], [1])
        session.add_mask(2, order.index(4), np.zeros((40, 40), bool))
        answers = session.segment()
        logits = [answers[order.index(place)] for place in range(len(noise))]
        return [one[number].logits.tobytes() + bytes(str(one[number]), "utf-8") for one in logits for number in (1, 2)]

    expected = segment(list(range(len(noise))))
    assert len(set(expected)) > 8  # the images are told apart
    assert expected[2:4] == expected[10:12]  # the image that is there twice
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert segment([int(place) for place in rng.permutation(len(noise))]) == expected


def _with_config(model: Any, **changes: Any) -> Any:
    other = m2.build_model("starter", image_size=64)
    other.load_state_dict(model.state_dict())
    other.config = replace(other.config, **changes)
    return other


def test_the_paper_s_order_is_that_of_the_list_and_its_draws_are_seeded(tiny: Any, noise: list[np.ndarray]) -> None:
    def segment(order: list[int], seed: int) -> list[bytes]:
        session = m2.ImageSetSession(tiny, [noise[place] for place in order], order="arrival", seed=seed)
        session.add_box(1, order.index(2), (10, 10, 40, 30))
        visited = [step.slice_index for step in session.steps()]
        assert visited == [order.index(2), *(place for place in range(7) if order[place] != 2)]
        return [session.predict_slice(order.index(place))[1].logits.tobytes() for place in range(7)]

    in_order, turned = list(range(7)), list(range(7))[::-1]
    assert segment(in_order, 1) == segment(in_order, 1)
    assert segment(in_order, 1) != segment(in_order, 2)
    assert segment(in_order, 1) != segment(turned, 1)


def test_an_equal_image_shares_the_answer_of_a_prompted_one_in_its_own_size(fakes: ModuleType, discs: Any) -> None:
    images, truths = discs
    facts = [ImageFacts.of(one, WINDOW, spacing) for one, spacing in ((images[0], None), (images[0], (2.0, 3.0)))]
    session = m2.ImageSetSession(fakes.FakeModel(), [images[0], images[0]], facts=facts)
    session.add_mask(1, 0, truths[0])
    first, second = (answers[1] for answers in session.segment())
    assert np.array_equal(first.mask, second.mask)
    areas = [session.results(1)[index].area_mm2 for index in (0, 1)]
    assert areas[1] == pytest.approx(6 * areas[0])


def test_an_object_that_is_said_to_be_absent_is(fakes: ModuleType, discs: Any) -> None:
    images, truths = discs
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW)
    session.add_mask(1, 0, truths[0])
    session.add_mask(1, 1, np.zeros_like(truths[1]))
    found = session.segment()
    assert not found[1][1].mask.any()
    assert fakes.dice(found[2][1].mask, truths[2]) > 0.85
    assert session.certainty(1) == {1: 1.0}


def test_the_most_doubtful_image_comes_first(fakes: ModuleType, discs: Any) -> None:
    images, _ = discs
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW)
    assert session.most_doubtful() == []
    session.add_box(1, 0, (10, 20, 30, 40))
    session.segment()
    sure = [session.certainty(index)[1] for index in range(5)]
    assert sure[1] == pytest.approx(0.9 / (1 + np.exp(-5)))
    assert sure[3] == pytest.approx(1 / (1 + np.exp(-5)))  # sure that it is not there
    assert session.most_doubtful()[-1] == 3
    session.add_mask(1, 1, np.ones(images[1].shape, bool))
    session.segment()
    assert session.most_doubtful()[-1] == 1


def test_of_masks_that_overlap_the_likelier_one_is_the_label(fakes: ModuleType, discs: Any) -> None:
    images, truths = discs
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW)
    session.add_mask(1, 0, truths[0])
    session.add_mask(300, 0, ~truths[0])
    session.segment()
    assert np.array_equal(session.labels(0), np.where(truths[0], 1, 300))
    assert session.labels(0).dtype == np.uint16


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


@pytest.mark.parametrize("memory", ["recency", "self-sorting"])
def test_images_in_no_order_do_not_count_as_neighbors(tiny: Any, noise: list[np.ndarray], memory: str) -> None:
    def logits(count: float) -> list[np.ndarray]:
        seed = 1 if memory == "self-sorting" else None
        session = m2.ImageSetSession(
            _with_config(tiny, tracked_count=count), noise, order="arrival", memory=memory, seed=seed
        )
        session.add_box(1, 0, (8, 8, 30, 30))
        answers = session.segment()
        return [answers[place][1].logits for place in range(len(noise))]

    for one, other in zip(logits(1.0), logits(10.0), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", ["free", "arrival"])
@pytest.mark.parametrize("after", [1, 3, 8])
def test_cancelling_keeps_the_images_done(fakes: ModuleType, discs: Any, order: str, after: int) -> None:
    images, truths = discs
    session = m2.ImageSetSession(fakes.FakeModel(), images, window=WINDOW, order=order)
    session.add_mask(1, 0, truths[0])
    token = m2.CancelToken()
    seen: list[tuple[int, int]] = []

    def progress(done: int, planned: int) -> None:
        seen.append((done, planned))
        if done == after:
            token.cancel()

    given = [step.slice_index for step in session.steps(token, progress)]
    kept = [bool(session.predict_slice(index)) for index in range(5)]
    assert sorted(set(given)) == [index for index in range(5) if kept[index]]
    assert sum(kept) == min(after, 5) if order == "free" else sum(kept) == min(after + 1, 5)
    assert {planned for _, planned in seen} == {10 if order == "free" else 4}


def test_images_as_lists_in_a_written_window(fakes: ModuleType, discs: Any) -> None:
    images, truths = discs
    written = f"{(WINDOW.upper + WINDOW.lower) / 2}/{WINDOW.upper - WINDOW.lower}"
    session = m2.ImageSetSession(fakes.FakeModel(), [one.tolist() for one in images], window=written)
    session.add_mask(1, 0, truths[0].tolist())
    assert fakes.dice(session.segment()[2][1].mask, truths[2]) > 0.85


@pytest.mark.parametrize("images", [None, 5, iter([np.ones((4, 4))]), {np.ones((4, 4)).tobytes()}])
def test_what_is_no_list_of_images_is_refused(fakes: ModuleType, images: Any) -> None:
    with pytest.raises(m2.VolumeError, match="not a list of images"):
        m2.ImageSetSession(fakes.FakeModel(), images)


@pytest.mark.parametrize("image", [None, "a", [[1], [1, 2]], np.zeros((4, 4), complex)])
def test_what_is_no_image_is_named(fakes: ModuleType, image: Any) -> None:
    with pytest.raises(m2.VolumeError, match="Image 1: This is not an array of real numbers"):
        m2.ImageSetSession(fakes.FakeModel(), [np.ones((4, 4)), image])


def test_refusals(fakes: ModuleType, discs: Any) -> None:
    session = m2.ImageSetSession(fakes.FakeModel(), discs[0], window=WINDOW)
    with pytest.raises(m2.PromptError, match="nothing to look for"):
        session.segment()
    with pytest.raises(m2.PromptError, match="x goes from 0 to 89, y to 39"):
        session.add_points(1, 1, [(20, 50)], [1])  # inside the first image, outside this one
    with pytest.raises(m2.PromptError, match="no order have no recent ones"):
        m2.ImageSetSession(fakes.FakeModel(), discs[0], memory="recency")
    with pytest.raises(m2.VolumeError, match="set is empty"):
        m2.ImageSetSession(fakes.FakeModel(), [])
    with pytest.raises(m2.PromptError, match="Order 'random' is unknown: choose free or arrival"):
        m2.ImageSetSession(fakes.FakeModel(), discs[0], order="random")
    with pytest.raises(m2.VolumeError, match=r"Image 1: It has shape \(4, 4, 3\)"):
        m2.ImageSetSession(fakes.FakeModel(), [np.zeros((4, 4)), np.zeros((4, 4, 3))])


@pytest.mark.parametrize("seed", [-1, True, 1.0, np.float32(2), 1 << 70, "1"])
def test_a_seed_that_cannot_be_is_refused(fakes: ModuleType, discs: Any, seed: Any) -> None:
    with pytest.raises(m2.PromptError, match=r"cannot be a seed: give a whole number from 0 to 2147483648"):
        m2.ImageSetSession(fakes.FakeModel(), discs[0], order="arrival", seed=seed)
    with pytest.raises(m2.PromptError, match="cannot be a seed"):
        m2.SelfSorting(seed=seed)


@pytest.mark.parametrize(
    "words",
    [
        {"seed": 0},
        {"seed": np.int64(3), "order": "arrival", "memory": "recency"},
        {"memory": m2.SelfSorting(seed=1)},
    ],
)
def test_a_seed_without_effect_is_refused(fakes: ModuleType, discs: Any, words: dict[str, Any]) -> None:
    with pytest.raises(m2.PromptError, match="seed has no effect without order 'arrival' and self-sorting memory"):
        m2.ImageSetSession(fakes.FakeModel(), discs[0], **words)


def test_numpy_s_whole_numbers_are_seeds(tiny: Any, noise: list[np.ndarray]) -> None:
    session = m2.ImageSetSession(tiny, noise[:3], order="arrival", seed=np.uint8(3))
    session.add_box(1, 0, (8, 8, 30, 30))
    assert len(session.segment()) == 3
