"""Objects through the volumes of several moments: a sphere that moves, grows, leaves and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core.moments import follow

SHAPE = (16, 64, 64)
SPACING = (2.0, 1.0, 1.0)
WINDOW = m2.Window(0, 200, "test")

pytestmark = pytest.mark.usefixtures("single_thread")


def sphere(k: float, j: float, i: float, radius: float) -> np.ndarray:
    """Voxels within `radius` mm of a center in voxels."""
    z, y, x = (np.indices(SHAPE) - np.array([k, j, i])[:, None, None, None]) * np.array(SPACING)[:, None, None, None]
    found: np.ndarray = z**2 + y**2 + x**2 < radius**2
    return found


@pytest.fixture(scope="module")
def beating() -> list[np.ndarray]:
    """Six moments: it beats, and moves up, down and sideways."""
    return [sphere(7 + 0.8 * t, 30 + 2 * t, 28 + 3 * np.sin(t), 12 + 2 * np.cos(2 * np.pi * t / 6)) for t in range(6)]


def images(truths: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [np.where(truth, 200, 100).astype(np.int16) for truth in truths]


def run(fakes: ModuleType, truths: Sequence[np.ndarray], start: int, **options: Any) -> dict[int, Any]:
    volumes = images(truths)
    model = fakes.FakeModel(replace(fakes.CONFIG, image_size=256, field_of_view="zoom"))

    def open_stack(parts: Sequence[tuple[int, int | None]]) -> m2.VolumeSession:
        array = volumes[parts[0][0]] if parts[0][1] is None else np.stack([volumes[t][place] for t, place in parts])
        return m2.VolumeSession(model, array, SPACING, window=WINDOW)

    session = open_stack([(start, None)])
    place = int(truths[start].sum(axis=(1, 2)).argmax())
    session.add_mask(3, place, truths[start][place])
    return {moment.index: moment for moment in follow(open_stack, session, [3], start, len(truths), **options)}


@pytest.mark.parametrize("start", [0, 3])
def test_volumes_of_a_moving_sphere_are_within_five_percent(
    fakes: ModuleType, beating: list[np.ndarray], start: int
) -> None:
    found = run(fakes, beating, start)
    assert list(found) == [*range(start, 6), *range(start - 1, -1, -1)]
    for index, truth in enumerate(beating):
        volume = found[index].masks[3].sum()
        assert abs(volume / truth.sum() - 1) < 0.05, (index, volume, truth.sum())
        assert fakes.dice(found[index].masks[3], truth) > 0.95
        assert found[index].confidence[3] == pytest.approx(0.9, abs=0.05)


def test_what_is_gone_for_a_moment_is_found_again(fakes: ModuleType, beating: list[np.ndarray]) -> None:
    found = run(fakes, [beating[0], np.zeros(SHAPE, bool), beating[1]], 0)
    assert not found[1].masks[3].any()
    assert found[1].confidence[3] == 0
    assert fakes.dice(found[2].masks[3], beating[1]) > 0.95


def test_stopping_leaves_out_the_moment_at_hand(fakes: ModuleType, beating: list[np.ndarray]) -> None:
    token = m2.CancelToken()
    token.cancel()
    found = run(fakes, beating, 2, cancel=token)
    assert list(found) == [2]
