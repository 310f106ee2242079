"""The random walker on volumes where it is plain what it must give."""

from __future__ import annotations

import numpy as np
import pytest

import random_walker
from medsam2_core.training import metrics
from medsam2_core.training.cases import Case, Structure
from medsam2_core.training.policies import tight_box
from random_walker import RandomWalker, walk

SPACING = (2.5, 1.0, 1.25)
CENTER = 10


@pytest.fixture
def ball() -> np.ndarray:
    k, j, i = np.indices((20, 48, 44))
    return ((k - CENTER) * 2.5) ** 2 + (j - 24) ** 2 + ((i - 22) * 1.25) ** 2 < 15**2


@pytest.fixture
def image(ball: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(0).normal(60, 8, ball.shape) + 120 * ball).clip(0, 255).astype(np.uint8)


def test_a_bright_ball_is_found_on_all_its_slices(ball: np.ndarray, image: np.ndarray) -> None:
    before = image.copy()
    found = walk(image, CENTER, tight_box(ball[CENTER]), SPACING, RandomWalker())
    assert metrics.dice(found, ball) > 0.9
    assert metrics.slice_dice(found, ball)[[5, CENTER, 15]].min() > 0.8
    np.testing.assert_array_equal(image, before)


def test_a_coarser_grid_finds_the_same_place(ball: np.ndarray, image: np.ndarray) -> None:
    found = walk(image, CENTER, tight_box(ball[CENTER]), SPACING, RandomWalker(largest=16))
    assert metrics.dice(found, ball) > 0.85
    center = np.argwhere(found).mean(axis=0)
    np.testing.assert_allclose(center, (10, 24, 22), atol=0.3)


def test_nothing_beyond_the_reach_and_the_box(image: np.ndarray) -> None:
    found = walk(np.full_like(image, 90), CENTER, (10, 20, 29, 39), SPACING, RandomWalker(reach=0.3, level=0.0))
    k, j, i = np.nonzero(found)
    assert k.min() >= CENTER - 5  # 22.5 mm of mean side, 0.3 of it 6.75 mm, and a slice
    assert k.max() <= CENTER + 5
    assert (j.min() >= 17, j.max() <= 42, i.min() >= 7, i.max() <= 32) == (True,) * 4


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (41.2, 46, 43, 47), (0, 0, 43, 47)])
@pytest.mark.parametrize("index", [0, 19])
def test_boxes_at_the_edge(image: np.ndarray, box: tuple[float, ...], index: int) -> None:
    assert walk(image, index, box, SPACING, RandomWalker(largest=16)).shape == image.shape


def test_a_box_of_the_whole_of_one_slice(image: np.ndarray) -> None:
    assert walk(image[:1], 0, (0, 0, 43, 47), SPACING, RandomWalker(largest=16)).shape == (1, 48, 44)


def test_as_a_baseline_it_does_not_see_the_truth(ball: np.ndarray, image: np.ndarray) -> None:
    case = Case("test", image.astype(np.int16) * 8 - 1000, np.zeros_like(image), SPACING, {})
    found = random_walker.draw(case, Structure(1, "ball", 14.0), CENTER, tight_box(ball[CENTER]))
    assert metrics.dice(found, ball) > 0.9
