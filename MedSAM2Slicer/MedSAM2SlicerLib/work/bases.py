"""What prompts correct."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from medsam2_core.run.prompts import MaskPrompt, Prompt
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.slicereview import EDITED, SliceReview


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


class Bases:
    """What the slices of a segment showed before their prompts, and the masks of prompts they were `drawnFrom`."""

    def __init__(self) -> None:
        self.drawnFrom: dict[int, Bools] = {}
        self._bases: dict[int, Base] = {}

    def begin(self, index: int, mask: Bools, review: SliceReview | None) -> None:
        """Prompts are to correct what a slice shows, of which this is known, unless they do so already."""
        isEdited = review is not None and review.origin == EDITED
        covers, drawn = (self.drawnFrom.get(index), None) if isEdited else (None, review)
        self._bases.setdefault(index, Base(mask, covers, drawn))

    def take(self, index: int) -> Base | None:
        """Return, and forget, what a slice showed."""
        return self._bases.pop(index, None)

    def forget(self, indexes: Collection[int]) -> None:
        """Slices show something else now."""
        self._bases = {index: base for index, base in self._bases.items() if index not in indexes}

    def masks(self, indexes: Collection[int]) -> dict[int, Bools]:
        """Return what those of these slices showed that prompts correct."""
        return {index: base.mask for index, base in self._bases.items() if index in indexes}

    def hide(self, prompt: Prompt) -> bool:
        """Whether a prompt says what another tool's edit has taken the place of."""
        base = self._bases.get(prompt.slice_index)
        return base is not None and base.hides(prompt)
