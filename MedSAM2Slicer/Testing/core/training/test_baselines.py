"""Copying and region growing on volumes where it is plain what they must give."""

from __future__ import annotations

import numpy as np
import pytest

from medsam2_core.image.region import Box
from medsam2_core.training import metrics
from medsam2_core.training.baselines import (
    RegionGrowing,
    copy_mask,
    evaluate_baselines,
    grow_region,
    mean_side_mm,
)
from medsam2_core.training.cases import Case, Structure
from medsam2_core.training.evaluation import Settings, first_prompts
from medsam2_core.training.policies import Policy, tight_box

SPACING = (2.5, 1.0, 1.0)
CENTER = 10


@pytest.fixture
def ball() -> np.ndarray:
    k, j, i = np.indices((20, 48, 48))
    return ((k - CENTER) * 2.5) ** 2 + (j - 24) ** 2 + (i - 22) ** 2 < 15**2


@pytest.fixture
def image(ball: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(0).normal(0, 10, ball.shape) + 100 * ball).astype(np.int16)


def test_the_mean_side_is_in_mm() -> None:
    assert mean_side_mm((10, 20, 19, 24), (3.0, 2.0, 1.0)) == 10  # 10 columns of 1 mm, 5 rows of 2 mm


def test_a_copy_is_as_deep_as_the_box_is_wide(ball: np.ndarray) -> None:
    box = tight_box(ball[CENTER])
    copied = copy_mask(ball, CENTER, box, SPACING)
    drawn = np.flatnonzero(copied.any(axis=(1, 2)))
    assert drawn.tolist() == list(range(5, 16))  # 29 mm, so 5 slices each way
    assert all((copied[index] == ball[CENTER]).all() for index in drawn)


def test_a_copy_ends_with_the_volume(ball: np.ndarray) -> None:
    assert copy_mask(ball, 18, (0, 0, 47, 47), SPACING).shape == ball.shape


def test_a_bright_ball_is_grown(ball: np.ndarray, image: np.ndarray) -> None:
    before = image.copy()
    grown = grow_region(image, CENTER, tight_box(ball[CENTER]), SPACING, RegionGrowing(0.5, 0.6, 4.0, 2, 1.0))
    assert metrics.dice(grown, ball) > 0.9
    np.testing.assert_array_equal(image, before)


def test_growing_stays_in_the_boxs_neighborhood(image: np.ndarray) -> None:
    flat = np.zeros_like(image)
    grown = grow_region(flat, CENTER, (10, 20, 29, 39), SPACING, RegionGrowing(reach=0.4))
    k, j, i = np.nonzero(grown)
    assert (k.min(), k.max()) == (7, 13)  # 8 mm each way
    assert (j.min(), j.max(), i.min(), i.max()) == (20, 39, 10, 29)


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (45.2, 46, 47, 47), (0, 0, 47, 47)])
@pytest.mark.parametrize("index", [0, 19])
def test_boxes_at_the_edge(image: np.ndarray, box: tuple[float, ...], index: int) -> None:
    assert grow_region(image, index, box, SPACING, RegionGrowing()).shape == image.shape


def test_rows_of_both_methods(ball: np.ndarray, image: np.ndarray) -> None:
    case = Case("test", image, ball.astype(np.uint8), SPACING, {1: "ball"})
    rows = list(evaluate_baselines(case, Settings(Policy.parse("box"), min_ml=1)))
    assert [(row.structure, row.method, row.policy) for row in rows] == [
        ("ball", "copy", "box"), ("ball", "region growing", "box"),
    ]  # fmt: skip
    assert rows[0].prompted_dice == 1
    assert all(row.dice > 0.6 and row.confidence_correlation is None for row in rows)


def test_other_baselines_get_the_same_box(ball: np.ndarray, image: np.ndarray) -> None:
    case = Case("test", image, ball.astype(np.uint8), SPACING, {1: "ball"})
    seen = []

    def nothing(case: Case, structure: Structure, index: int, box: Box) -> np.ndarray:
        seen.append((structure.name, index, box))
        return np.zeros(case.image.shape, dtype=bool)

    (row,) = evaluate_baselines(case, Settings(Policy.parse("box"), min_ml=1), baselines={"nothing": nothing})
    (prompt,) = first_prompts(case, case.structures(1)[0], Policy.parse("box"), seed=0)
    assert seen == [("ball", CENTER, prompt.box)]
    assert (row.method, row.dice) == ("nothing", 0)
