"""Views of clips: whole slices, or a square that follows its object."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from medsam2_core.training import views
from medsam2_core.training.views import Views, choose_views

STILL = torch.eye(2, 3)


@pytest.fixture(autouse=True)
def zoomed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_WHOLE_SLICE", 0.0)


def walking(step: int, length: int = 8) -> Tensor:
    """Masks (T, 80, 120) of a square of 20 pixels that moves by `step` pixels along x from slice to slice."""
    masks = torch.zeros(length, 80, 120, dtype=torch.bool)
    for t in range(length):
        masks[t, 30:50, 10 + step * t : 30 + step * t] = True
    return masks


def many(masks: Tensor) -> list[Views]:
    return [choose_views(np.random.default_rng(seed), masks) for seed in range(30)]


def placed(place: Tensor, points: Tensor) -> Tensor:
    return points @ place[:, :2].T + place[:, 2]


def center(mask: Tensor) -> Tensor:
    """Center of a mask in the slice's own coordinates, -1 to 1."""
    rows, columns = mask.nonzero(as_tuple=True)
    high, wide = mask.shape
    return torch.stack([2 * (columns.float().mean() + 0.5) / wide - 1, 2 * (rows.float().mean() + 0.5) / high - 1])


def test_a_move_leads_from_a_view_to_the_view_before() -> None:
    points = torch.tensor([[-1.0, -1.0], [1.0, 0.3], [0.0, 0.0]])
    for places, moves in many(walking(10)):
        torch.testing.assert_close(moves[0], STILL)
        for t in range(1, len(places)):
            torch.testing.assert_close(placed(places[t - 1], placed(moves[t], points)), placed(places[t], points))


def test_a_view_of_a_still_object_moves_at_most_once() -> None:
    """Once where the first view lay so far beside the object that it touched the margin."""
    for _, moves in many(walking(0)):
        assert sum(not torch.allclose(move, STILL) for move in moves) <= 1


def test_a_walking_object_stays_in_view() -> None:
    masks = walking(10)
    for places, moves in many(masks):
        assert not torch.allclose(moves, STILL.expand_as(moves))
        for t in range(1, len(masks)):
            seen = torch.linalg.solve(places[t][:, :2], center(masks[t - 1]) - places[t][:, 2])
            assert float(seen.abs().max()) < 0.9


def test_a_view_waits_where_the_object_was_seen_last() -> None:
    masks = walking(0)
    masks[2:] = False
    for _, moves in many(masks):
        torch.testing.assert_close(moves[2:], STILL.expand(6, -1, -1))


def test_whole_slices_do_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_WHOLE_SLICE", 1.0)
    for _, moves in many(walking(10)):
        torch.testing.assert_close(moves, STILL.expand_as(moves))
