"""Parts of masks on the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medsam2_core.image.components import parts_with
from medsam2_core.model.parts import parts_that_meet, without_islands

SIDE = 64


def blobs(seed: int, batch: int = 3) -> torch.Tensor:
    """Logits (batch, SIDE, SIDE) of as many blobs as come of noise."""
    noise = torch.randn(batch, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(F.avg_pool2d(noise, 7, 1, 3), 5, 1, 2)[:, 0]
    return smooth - smooth.flatten(1).quantile(0.4 + seed % 5 / 10, dim=1)[:, None, None]


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_are_those_of_the_cleaning(seed: int) -> None:
    mask, square = blobs(seed) > 0, torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    square[:, 20:36, 12:30] = True
    kept = parts_that_meet(mask, square)
    for one, marked, seeds in zip(kept.numpy(), mask.numpy(), square.numpy(), strict=True):
        np.testing.assert_array_equal(one, parts_with(marked[None], {0: seeds})[0])


def test_islands_go_and_all_else_stays() -> None:
    logits = torch.full((1, 16, 16), -3.0)
    logits[0, 2:6, 2:6] = 5.0
    logits[0, 10:12, 10:14] = 1.0
    before = torch.full((1, 16, 16), -3.0)
    before[0, 4:8, 4:8] = 2.0
    seen = without_islands(logits, before)
    assert (seen[0, 10:12, 10:14] < 0).all()
    seen[0, 10:12, 10:14] = 1.0
    assert torch.equal(seen, logits)


def test_a_mask_that_does_not_meet_the_one_before_stays() -> None:
    logits = blobs(0)
    for before in (torch.full_like(logits, -8.0), -logits):
        assert torch.equal(without_islands(logits, before), logits)


def test_no_mask_looks_at_another_of_the_batch() -> None:
    logits, before = blobs(1), blobs(2).flip(0)
    alone = [without_islands(one[None], other[None]) for one, other in zip(logits, before, strict=True)]
    assert torch.equal(without_islands(logits, before), torch.cat(alone))
