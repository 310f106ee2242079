"""What is taken away from drawn masks and what is added: parts that belong to no object, holes. Without the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError
from medsam2_core.image.components import filled, largest_part, largest_parts, parts_with
from medsam2_core.image.region import Region
from medsam2_core.prompts import SlicePrompt
from medsam2_core.redrawing import FinalSlices

LARGEST = ("off", "slice", "3d", "prompt")
HOLES = ("off", "on")


@dataclass(frozen=True)
class Cleaning:
    """Which parts stay, and whether holes are filled.

    `largest` keeps of each slice its largest part ("slice"), the largest one of all slices ("3d") or those that hold a
    prompt ("prompt": an include point, a box's inside, a mask); "off" keeps all. Holes are filled slice by slice
    (`fill_holes` "on"), before that.
    """

    largest: str = "off"
    fill_holes: str = "off"

    def __post_init__(self) -> None:
        if self.largest not in LARGEST:
            raise PromptError(f"Parts cannot be kept by {self.largest!r}: choose {', '.join(LARGEST)}.")
        if self.fill_holes not in HOLES:
            raise PromptError(f"Holes cannot be filled by {self.fill_holes!r}: choose {', '.join(HOLES)}.")

    @property
    def is_plain(self) -> bool:
        """Whether masks stay as they are."""
        return self.largest == "off" and self.fill_holes == "off"

    def clean(self, mask: Mask, seeds: Mapping[int, Mask]) -> Mask:
        """Clean a mask (slices, rows, columns); `seeds` mark prompted places, by slice."""
        if self.fill_holes == "on":
            mask = filled(mask)
        if self.largest == "slice":
            return largest_parts(mask)
        if self.largest == "3d":
            return largest_part(mask)
        return parts_with(mask, seeds) if self.largest == "prompt" else mask


@dataclass(frozen=True)
class CleanSlices:
    """An object's slices cut at the logit `cut` and cleaned; `prompts` are those of the object, by slice.

    Given masks count, and come out as they are.
    """

    final: FinalSlices
    cut: float
    cleaning: Cleaning
    prompts: Mapping[int, SlicePrompt] = field(default_factory=dict)

    @property
    def part(self) -> Region:
        """See `FinalSlices`."""
        return self.final.part

    def masks(self, first: int | None = None) -> Iterator[tuple[int, Mask]]:
        """Slice index and mask (rows, columns), in order except the slice `first`."""
        if self.cleaning.is_plain:
            yield from self.final.masks(self.cut, first)
            return
        parts = self._parts()
        for index in sorted(parts, key=lambda index: (index != first, index)):
            mask = np.zeros(self.final.shape, dtype=bool)
            mask[self.part.window] = parts[index]
            yield index, self.final.given.get(index, mask)

    def logits(self) -> Iterator[tuple[int, Tensor]]:
        """As `FinalSlices.logits`: above the cut where the cleaned mask is, and nowhere else."""
        if self.cleaning.is_plain:
            yield from self.final.logits()
            return
        parts, above = self._parts(), float(np.nextafter(np.float32(self.cut), np.float32(np.inf)))
        for index, logits in self.final.logits():
            kept = torch.from_numpy(parts[index]).to(logits.device)
            yield index, logits.clamp(min=above).where(kept, logits.clamp(max=self.cut))

    def _parts(self) -> dict[int, Mask]:
        """The cleaned masks (rows and columns of `part`) by slice."""
        drawn = {index: (logits > self.cut).cpu().numpy() for index, logits in self.final.logits()}
        if not drawn:
            return {}
        first, last = min(drawn), max(drawn) + 1
        stacked = np.zeros((last - first, self.part.height, self.part.width), dtype=bool)
        for index, mask in drawn.items():
            stacked[index - first] = mask
        seeds = {
            index - first: _seed(prompt, self.final.shape)[self.part.window]
            for index, prompt in self.prompts.items()
            if index in drawn
        }
        cleaned = self.cleaning.clean(stacked, seeds)
        return {index: drawn[index] if index in self.final.given else cleaned[index - first] for index in drawn}


def _seed(prompt: SlicePrompt, shape: tuple[int, int]) -> Mask:
    """Where the prompts of a slice of rows x columns say that the object is."""
    seed = np.zeros(shape, dtype=bool) if prompt.mask is None else prompt.mask.copy()
    for x, y, label in prompt.points:
        if label:
            seed[min(round(y), shape[0] - 1), min(round(x), shape[1] - 1)] = True  # it may be on the slice's very edge
    if prompt.box is not None:
        x0, y0, x1, y1 = (round(value) for value in prompt.box)
        seed[y0 : y1 + 1, x0 : x1 + 1] = True
    return seed
