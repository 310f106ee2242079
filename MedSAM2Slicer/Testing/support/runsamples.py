"""A run and its prompts, for tests of what is written down about one."""

from __future__ import annotations

import numpy as np

from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, ScribblePrompt
from medsam2_core.run.settings import RunSettings
from medsam2_core.stopping import StopRules

SETTINGS = RunSettings(
    model="starter",
    model_sha256="ab" * 32,
    image_size=192,
    stack=SliceStack(),
    window=Window(-160, 240, "abdomen"),
    first=1,
    last=6,
    direction="both",
    memory="recency",
    field_of_view="zoom",
    stop=StopRules(2, 5.0),
    device="cpu",
)

MASK = np.random.default_rng(1).random((8, 9)) > 0.5
"""On a slice of a volume of (6, 8, 9) voxels."""

PROMPTS = (
    PointsPrompt(2, ((1.125, 2.3), (5.001, 3.0)), (True, False)),
    BoxPrompt(2, (0.1, 1.7, 6.35, 5.0)),
    ScribblePrompt(2, ((4.0, 4.5), (3.5, 4.25), (3.0, 4.0)), True),
    MaskPrompt(4, MASK),
)
