"""What prompts correct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medsam2_core.run.prompts import MaskPrompt, Prompt
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicestates import SliceReview


@dataclass(frozen=True)
class Base:
    """What a slice showed before its prompts, which correct it.

    It `covers` the mask of a prompt that the slice had been drawn from before another tool changed it to this.
    `drawn` is what was known of it if this program had drawn it, in an earlier session of the worker.
    """

    mask: Bools
    covers: Bools | None
    drawn: SliceReview | None

    def hides(self, prompt: Prompt) -> bool:
        """Whether a prompt on the slice says what the base has taken the place of."""
        covers = self.covers
        return covers is not None and isinstance(prompt, MaskPrompt) and np.array_equal(prompt.mask, covers)
