"""For the benchmarks' tests: rows without a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from medsam2_core.training.evaluation import Row, SliceScore

SLICES = (SliceScore(0, 0.9, 0.8), SliceScore(1, 0.6, 0.5), SliceScore(2, 0.2, 0.0))


@pytest.fixture(scope="session")
def row() -> Callable[..., Row]:
    """Make a row of a structure with this Dice: by the starter, or by the baseline named `method`."""

    def make(structure: str, dice: float, policy: str = "box", memory: str = "recency", **changes: str) -> Row:
        method = changes.get("method", "")
        return Row(
            "case", structure, 12.0, method or "starter", policy, "" if method else memory,
            "" if method else changes.get("view", "zoom"), dice, 0.5, 0.9, 1.0, 3, 7.5, None, None, 2.0, 30.0,
            () if method else SLICES,
        )  # fmt: skip

    return make
