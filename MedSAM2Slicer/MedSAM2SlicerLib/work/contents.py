"""What goes with the last contents of a segment, for when undo or redo brings one of them back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REMEMBERED = 20  # contents of the segment, of which Slicer can undo ten


@dataclass(frozen=True)
class Known:
    """What goes with a content of the segment: the states of its slices in JSON, the record of its run, and by slice
    the number of the worker's answer that it shows.
    """

    states: dict[str, Any]
    run: str | None
    shown: Mapping[int, int]


class Contents:
    """The contents of a segment that were seen last, by the fingerprints of its slices."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}  # the latest last

    def keep(self, prints: Mapping[int, str], known: Known) -> None:
        """Keep what goes with a content, in place of what was kept for it."""
        self._known.pop(_key(prints), None)
        self._known[_key(prints)] = known
        while len(self._known) > _REMEMBERED:
            self._known.pop(next(iter(self._known)))

    def get(self, prints: Mapping[int, str]) -> Known | None:
        """Return what goes with a content; None for one that was not seen, or too long ago."""
        return self._known.get(_key(prints))


def _key(prints: Mapping[int, str]) -> str:
    return json.dumps(prints, sort_keys=True)
