"""Contents that a segment had, which undo and redo may bring back, and what was known of it then."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from MedSAM2SlicerLib.scene.slicereview import SliceReview
from MedSAM2SlicerLib.scene.slicestates import SliceStates

_REMEMBERED = 20  # of which Slicer can undo ten


@dataclass(frozen=True)
class Known:
    """What goes with a content of the segment: the states of its slices in JSON, the record of its run, and by slice
    the number of the worker's answer that it shows.
    """

    states: dict[str, Any]
    run: str | None
    shown: Mapping[int, int]


class Contents:
    """The latest contents of a segment, each told by the fingerprints of its slices."""

    def __init__(self) -> None:
        self._known: list[tuple[Mapping[int, str], Known]] = []  # the latest last

    def keep(self, prints: Mapping[int, str], known: Known) -> None:
        """Keep in mind what is known of a content."""
        others = [one for one in self._known if one[0] != prints]
        self._known = [*others, (dict(prints), known)][-_REMEMBERED:]

    def of(self, prints: Mapping[int, str]) -> Known | None:
        """Return what was known of a content; None for one that was never seen, or long ago."""
        return next((known for before, known in self._known if before == prints), None)

    def bySlice(self, indexes: Collection[int], prints: Mapping[int, str]) -> dict[int, SliceReview | None]:
        """Return what was known of those of these slices that have looked so before, when that was last.

        That is None for nothing. Undo may go back to a content that was never seen, as between two quick strokes.
        """
        found: dict[int, SliceReview | None] = {}
        for before, known in self._known:
            if same := [index for index in indexes if before.get(index) == prints.get(index)]:
                slices = SliceStates.fromJson(known.states).slices
                found |= {index: slices.get(index) for index in same}
        return found


def differing(before: Mapping[int, str], prints: Mapping[int, str]) -> set[int]:
    """Return the slices whose fingerprints differ between two contents."""
    return {index for index in prints.keys() | before.keys() if prints.get(index) != before.get(index)}


def filled(prints: Mapping[int, str | None]) -> dict[int, str]:
    """Return fingerprints without those of empty slices, which are None."""
    return {index: one for index, one in prints.items() if one is not None}
