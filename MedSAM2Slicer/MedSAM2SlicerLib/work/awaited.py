"""Slices that were clicked on and are still to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from MedSAM2SlicerLib.work.segmentwork import SegmentWork

Look = tuple[str, str | None]
"""How a slice that is the user's is marked, and the fingerprint of its mask, None for empty."""

Looks = Mapping[int, Look | None]
"""Slices in order, each with its `ownLook` when somebody wanted it drawn."""


def ownLook(work: SegmentWork | None, index: int) -> Look | None:
    """Tell what a slice looks like if it is the user's; None for one that is not."""
    if work is None or not work.keeps(index):
        return None
    review = work.states.slices.get(index)
    return "" if review is None else review.mark, work.masks.print(index)


def mayDraw(work: SegmentWork, index: int, before: Look | None) -> bool:
    """Whether a slice that somebody wanted drawn has not become the user's since."""
    return ownLook(work, index) in (None, before)


def goThrough(work: SegmentWork, previews: Looks, prompted: Collection[int]) -> None:
    """Have a propagation go through the slices whose previews it does not wait for, as these would leave them."""
    for index, before in previews.items():
        if index in prompted and mayDraw(work, index, before) and not work.states.locks(index):
            work.open(index)
        work.states.noteChanged(index)


class Awaited:
    """Those of the segment at work: which the worker was asked for, and those that wait for their turn."""

    def __init__(self) -> None:
        self._asked: dict[int, Look | None] = {}
        self._later: dict[int, Look | None] = {}

    def left(self, drawn: Callable[[], Collection[int]] = tuple) -> Looks:
        """All that are still to be drawn, but for those that were asked for and are `drawn`."""
        done = drawn() if self._asked else ()
        return {index: look for index, look in self._asked.items() if index not in done} | self._later

    @property
    def later(self) -> Looks:
        """Those that wait for their turn."""
        return dict(self._later)

    def add(self, looks: Looks) -> None:
        """Let slices wait; one that waits already keeps its place."""
        self._later.update(looks)

    def first(self, looks: Looks) -> None:
        """Let slices wait before those that do."""
        self._later = {**looks, **self._later}

    def next(self) -> tuple[int, Look | None] | None:
        """Return the slice whose turn it is, which waits no more; None if there is none."""
        return (index := next(iter(self._later)), self._later.pop(index)) if self._later else None

    def ask(self, looks: Looks) -> None:
        """The worker is asked for slices: for one, or for a run that goes through them."""
        self._asked = dict(looks)

    def answered(self) -> None:
        """The worker has answered."""
        self._asked = {}

    def forget(self, indexes: Collection[int]) -> None:
        """Let these not wait any more."""
        for index in indexes:
            self._asked.pop(index, None)
            self._later.pop(index, None)

    def clear(self) -> None:
        """Forget all."""
        self._asked, self._later = {}, {}
