"""What a model that is shown the mask of the slice before makes of objects that look alike."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch import Tensor

import medsam2_core as m2
from medsam2_core.image.window import Window

pytestmark = pytest.mark.usefixtures("single_thread")


def two_cylinders() -> np.ndarray:
    """Two bright cylinders (6, 64, 64), which meet on the last two slices."""
    k, j, i = np.indices((6, 64, 64))
    bright = ((i - 20) ** 2 + (j - 20) ** 2 < 8**2) | ((i - 20) ** 2 + (j - 45) ** 2 < 8**2)
    bright |= (k >= 4) & (abs(i - 20) < 4) & (j > 20) & (j < 45)
    return np.where(bright, 200, 100).astype(np.int16)


def follow(fakes: ModuleType, carries: bool) -> np.ndarray:
    """Follow the upper cylinder from slice 0 with a model that finds whatever is bright."""

    class Model(fakes.FakeModel):  # type: ignore[name-defined,misc]
        def decode(self, fused: Tensor, features: Any, prompts: Any, ambiguous: bool) -> Any:
            return super().decode(fused, features, replace(prompts, mask=None), ambiguous)

    model = Model(replace(fakes.CONFIG, dense_prompts=carries))
    session = m2.VolumeSession(model, two_cylinders(), window=Window(0, 200, "test"))
    session.add_box(1, 0, (10, 10, 30, 30))
    list(session.propagate())
    return session.mask(1)


def test_it_does_not_jump_to_another_object(fakes: ModuleType) -> None:
    mask = follow(fakes, carries=True)
    assert mask[:4, :30].any(axis=(1, 2)).all()
    assert not mask[:4, 33:].any()
    assert mask[4:, 45].any(axis=1).all()  # one part, where they meet


def test_other_models_answer_as_published(fakes: ModuleType) -> None:
    assert follow(fakes, carries=False)[1:, 45].any(axis=1).all()
