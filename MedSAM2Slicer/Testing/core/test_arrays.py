"""The part of an array that is not 0."""

from __future__ import annotations

import numpy as np
import pytest

from medsam2_core.arrays import block_of


@pytest.mark.parametrize("shape", [(5,), (4, 6), (3, 1, 7), (0, 4)])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("kind", [bool, np.uint8, np.int32])
def test_the_block_holds_all_that_is_not_0_and_is_no_larger(shape: tuple[int, ...], share: float, kind: type) -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        values = (rng.random(shape) < share).astype(kind) * kind(2)
        places = np.nonzero(values)
        wanted = tuple(slice(place.min(), place.max() + 1) if place.size else slice(0, 0) for place in places)
        assert block_of(values) == wanted
