"""Images made from label volumes: in range, seeded, one look over all parts of a volume."""

from dataclasses import replace

import numpy as np
import pytest

from medsam2_core.training.canvas import Tissue
from medsam2_core.training.rendering import draw_style, render
from medsam2_core.training.synthesis import Synthetic, synthesize_labels


@pytest.fixture(scope="module")
def volume() -> Synthetic:
    return synthesize_labels(np.random.default_rng(1), (12, 96, 96))


def _blocks() -> np.ndarray:
    """One block of 16 columns per tissue, (8, 32, 16 * tissues)."""
    return np.broadcast_to(np.repeat(np.arange(len(Tissue)), 16), (8, 32, 16 * len(Tissue))).astype(np.uint8)


@pytest.mark.parametrize("seed", range(40))
def test_images_are_finite_and_in_range(volume: Synthetic, seed: int) -> None:
    image = render(np.random.default_rng(seed), volume.labels, volume.tissue)
    assert image.shape == volume.labels.shape
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


def test_equal_seeds_give_equal_images_and_others_do_not(volume: Synthetic) -> None:
    first, again, other = (render(np.random.default_rng(s), volume.labels, volume.tissue) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_labels_are_left_alone(volume: Synthetic) -> None:
    before = volume.labels.copy()
    render(np.random.default_rng(0), volume.labels, volume.tissue)
    np.testing.assert_array_equal(volume.labels, before)


@pytest.mark.parametrize("shape", [(1, 20, 20), (2, 1, 9), (8, 33, 47)])
def test_any_part_can_be_rendered(volume: Synthetic, shape: tuple[int, int, int]) -> None:
    part = volume.labels[: shape[0], : shape[1], : shape[2]]
    for seed in range(6):
        assert render(np.random.default_rng(seed), part, volume.tissue).shape == shape


def test_one_style_gives_parts_one_look(volume: Synthetic) -> None:
    rng = np.random.default_rng(0)
    style = draw_style(rng, volume.tissue)
    parts = [render(rng, volume.labels[part], volume.tissue, style) for part in (slice(0, 8), slice(4, 12))]
    assert np.abs(parts[0][4:].mean() - parts[1][:4].mean()) < 0.05


def test_most_looks_order_tissues_as_ct_does() -> None:
    tissue = np.arange(len(Tissue), dtype=np.uint8)
    levels = [draw_style(np.random.default_rng(seed), tissue).level for seed in range(200)]
    order = (Tissue.AIR, Tissue.LUNG, Tissue.FAT, Tissue.FLUID, Tissue.BONE)
    like_ct = np.mean([bool((np.diff(level[list(order)]) > 0).all()) for level in levels])
    assert 0.45 < like_ct < 0.7


def test_blocks_remain_visible_under_the_noise() -> None:
    """Light noise: the deviation within bone stays far under the CT contrast of bone and air."""
    labels, tissue = _blocks(), np.arange(len(Tissue), dtype=np.uint8)
    inside = slice(16 * Tissue.ORGAN + 4, 16 * Tissue.ORGAN + 12)
    spread = [render(np.random.default_rng(s), labels, tissue)[:, 4:-4, inside].std() for s in range(40)]
    assert np.median(spread) < 0.05
    assert np.max(spread) < 0.25


@pytest.mark.parametrize("smear", [0.0, 0.5, 1.0])
def test_noise_has_the_deviation_its_style_says(smear: float) -> None:
    tissue = np.array([Tissue.OUTSIDE, Tissue.ORGAN], dtype=np.uint8)
    flat = np.zeros(2, dtype=np.float32)
    style = draw_style(np.random.default_rng(0), tissue)
    style = replace(style, level=flat + 0.5, grain=flat, mottle=flat, rim=flat, noise=0.03, smear=smear)
    style = replace(style, bias=0.0, gamma=1.0, streak=0.0, drift=0.0)
    image = render(np.random.default_rng(1), np.ones((4, 96, 96), dtype=np.uint8), tissue, style)
    assert image.std() == pytest.approx(0.03, rel=0.04)
