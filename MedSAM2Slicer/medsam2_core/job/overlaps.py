"""Masks that overlap, though each voxel of a label map has one object: what an object lost to others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medsam2_core.arrays import Array, Mask
from medsam2_core.image.segments import Segment
from medsam2_core.notices import tell

_WORTH_A_NOTE = 0.5  # of a mask; neighbors share a little at their border


class Overlaps:
    """Compares the masks of objects with the label map that they were drawn into, part by part."""

    def __init__(self) -> None:
        self._own = Counter[int]()
        self._lost: dict[int, Counter[int]] = {}

    def add(self, label: int, mask: Mask, labels: Array) -> None:
        """Count an object's mask in a part of the label map."""
        self._own[label] += int(np.count_nonzero(mask))
        others, counts = np.unique(labels[mask & (labels != 0) & (labels != label)], return_counts=True)
        lost = self._lost.setdefault(label, Counter())
        lost.update(dict(zip(others.tolist(), counts.tolist(), strict=True)))

    @property
    def labels(self) -> list[int]:
        """The objects that were counted."""
        return list(self._own)

    def lost(self, label: int) -> int:
        """How many voxels of an object's mask others have."""
        return sum(self._lost.get(label, {}).values())

    def tell(self, segments: Sequence[Segment]) -> None:
        """Tell of objects that lost most of their mask: their volume is that of the rest."""
        names = {segment.label: segment.name for segment in segments}
        for label, own in self._own.items():
            if self.lost(label) > _WORTH_A_NOTE * own:
                others = ", ".join(names[other] for other, _ in self._lost[label].most_common())
                tell(
                    f"{names[label]}: {100 * self.lost(label) / own:.0f} % of its mask overlaps other objects "
                    f"({others}), which have that part now: check their prompts, or segment it in a run of its own."
                )
