"""Memories of a set of images: which are kept, and what they hand to an image that has no place in a sequence.

The self-sorting bank of MedSAM-2 (Zhu et al., arXiv 2408.00874, section 3.2) without time: kept are the confident
memories that differ most from each other, in the order of their images' content, so that nothing depends on the list's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.arrays import Array
from medsam2_core.config import ModelConfig
from medsam2_core.model import Recall


@dataclass(frozen=True)
class Remembered:
    """What is kept of one object in one image: memory features of the view it was drawn in and of the whole image."""

    index: int
    own: Tensor  # (memory_dim, g, g)
    whole: Tensor  # (memory_dim, g, g)
    pointer: Tensor  # (hidden_dim,)
    certainty: float


class SetMemory:
    """The memories of one object: of all its prompted images, and of `size` others at most."""

    def __init__(self, prompted: Sequence[Remembered], size: int, least: float) -> None:
        self._prompted, self._size, self._least = list(prompted), size, least
        self._kept: list[Remembered] = []
        self._alike = np.zeros((0, 0), np.float32)

    def offer(self, new: Remembered) -> None:
        """Keep a memory if it is certain enough, in place of the one that is most like all the others."""
        if self._size == 0 or new.certainty < self._least:
            return
        row = np.array([_likeness(new, other) for other in self._kept], np.float32)
        self._alike = np.pad(self._alike, ((0, 1), (0, 1)))
        self._alike[-1, :-1] = self._alike[:-1, -1] = row
        self._kept.append(new)
        if len(self._kept) > self._size:
            place = int(self._alike.sum(axis=0).argmax())
            del self._kept[place]
            self._alike = np.delete(np.delete(self._alike, place, axis=0), place, axis=1)

    def recall(self, config: ModelConfig, index: int, likeness: Array, whole: bool) -> Recall:
        """What counts for an image: all prompted ones, and of the others the most alike by `likeness` to each image.

        The image's own memory is left out: it would confirm itself.
        """
        others = [one for one in self._kept if one.index != index]
        nearest = sorted(others, key=lambda one: -likeness[one.index])[: config.recent_memories]
        counted = [one for one in self._prompted if one.index != index] + nearest
        device = counted[0].pointer.device
        ages = [config.recent_memories] * (len(counted) - len(nearest)) + list(range(len(nearest)))
        return Recall(
            memories=torch.stack([one.whole if whole else one.own for one in counted]),
            ages=torch.tensor(ages, device=device),
            log_weights=None,
            pointers=torch.stack([one.pointer for one in counted]),
            # As far as a neighbor: images have no distance, and the nearest one is what pointers were learned on most.
            distances=torch.full((len(counted),), 1 / max(config.object_pointers - 1, 1), device=device),
        )


def _likeness(one: Remembered, other: Remembered) -> float:
    return float(F.cosine_similarity(one.own.float().flatten(), other.own.float().flatten(), dim=0))
