"""Contents that a segment had, which undo and redo may bring back, and what was known of it then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
        self._known: dict[str, Known] = {}

    def keep(self, prints: Mapping[int, str], known: Known) -> None:
        """Keep in mind what is known of a content."""
        key = _key(prints)
        self._known.pop(key, None)
        self._known[key] = known
        while len(self._known) > _REMEMBERED:
            self._known.pop(next(iter(self._known)))

    def of(self, prints: Mapping[int, str]) -> Known | None:
        """Return what was known of a content; None for one that was never seen, or long ago."""
        return self._known.get(_key(prints))

    def nobodys(self, indexes: Iterable[int], prints: Mapping[int, str]) -> set[int]:
        """Return which of these slices were not the user's in a content; none for one that was never seen."""
        known = self.of(prints)
        states = None if known is None else SliceStates.fromJson(known.states)
        return set() if states is None else {index for index in indexes if not states.keeps(index)}


def differing(before: Mapping[int, str], prints: Mapping[int, str]) -> set[int]:
    """Return the slices whose fingerprints differ between two contents."""
    return {index for index in prints.keys() | before.keys() if prints.get(index) != before.get(index)}


def filled(prints: Mapping[int, str | None]) -> dict[int, str]:
    """Return fingerprints without those of empty slices, which are None."""
    return {index: one for index, one in prints.items() if one is not None}


def _key(prints: Mapping[int, str]) -> str:
    return json.dumps(prints, sort_keys=True)
