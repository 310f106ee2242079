"""What is known of each slice of a segment, and what the next propagation goes through.

A propagation starts and ends at anchors: slices that the user prompted, edited, accepted or locked. Between a slice
that was changed and the next anchors on both sides all is stale, and that is what the next propagation goes through.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.scene.cut import PLAIN, Cut, readCut
from MedSAM2SlicerLib.scene.slicereview import EDITED, LOCKED, PROMPTED, PROPAGATED, SliceReview, doubt, readReview


class SliceStates:
    """The slices of one segment in one stack."""

    def __init__(self, stack: SliceStack | None = None) -> None:
        self.stack = stack or SliceStack()
        self.sources: set[str] = set()  # IDs of segments that slices were taken from
        self.cut: Cut | None = None  # of what was propagated
        self.running: tuple[int, int] | None = None  # first <= index < last that a run was under way through, if stored
        self._slices: dict[int, SliceReview] = {}
        self._changed: set[int] = set()
        self._untold: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._slices)

    @property
    def slices(self) -> Mapping[int, SliceReview]:
        """All that is known, by slice."""
        return self._slices

    @property
    def hasUntold(self) -> bool:
        """Whether a propagation that no record tells of went through slices, and none since."""
        return bool(self._untold)

    @property
    def areChanged(self) -> bool:
        """Whether slices were changed, or drawn by what no record tells of, since a propagation went through them."""
        return bool(self._changed or self._untold)

    def kept(self) -> list[int]:
        """List the slices whose masks are the user's."""
        return sorted(index for index, one in self._slices.items() if one.isKept)

    def keeps(self, index: int) -> bool:
        """Whether a slice's mask is the user's."""
        return index in self._slices and self._slices[index].isKept

    def locks(self, index: int) -> bool:
        """Whether the user has locked a slice."""
        return index in self._slices and self._slices[index].mark == LOCKED

    @property
    def hasPropagated(self) -> bool:
        """Whether any slice shows what was propagated, marked or not."""
        return any(one.origin == PROPAGATED for one in self._slices.values())

    def hasPropagatedOutside(self, first: int, last: int) -> bool:
        """Whether slices outside first <= index < last show what was propagated, not what the user made or prompted."""
        return any(not (first <= index < last or one.isAnchor) for index, one in self._slices.items())

    def doubtful(self) -> list[int]:
        """List the slices in doubt, the worst first: propagated or stale ones that are not empty."""
        looked = [one for one in self._slices.values() if not one.isAnchor and one.areaMm2 != 0]
        if not looked:
            return []
        typical = statistics.median(one.confidence for one in looked)
        doubts = {one.sliceIndex: doubt(one, typical) for one in looked}
        return sorted((index for index in doubts if doubts[index] >= 1), key=lambda index: -doubts[index])

    def noteChanged(self, index: int) -> None:
        """A slice is to be gone through, and all between the anchors around it."""
        self._changed.add(index)
        before, behind = self._neighbors(index)
        for other, one in self._slices.items():
            between = (before is None or before < other) and (behind is None or other < behind)
            if between and other != index and not one.isAnchor:
                self._slices[other] = replace(one, stale=True)

    def notePrompted(self, indexes: Iterable[int]) -> None:
        """Slices have prompts, which have drawn nothing there if that was undone: they are to be gone through."""
        for index in indexes:
            if index not in self._slices or not self._slices[index].isAnchor:
                self.noteChanged(index)

    def notePreview(self, review: SliceReview) -> None:
        """A slice was drawn from its prompts; an acceptance of what was there before is void."""
        self._slices[review.sliceIndex] = review
        self.noteChanged(review.sliceIndex)

    def noteEdits(self, indexes: Iterable[int]) -> None:
        """The user changed slices with another tool."""
        for index in indexes:
            self._slices[index] = self._edited(index)
            self._untold.discard(index)
            self.noteChanged(index)

    def noteRemoved(self, index: int) -> None:
        """A slice lost its prompts, and with them its mask."""
        self.noteChanged(index)
        self._slices.pop(index, None)

    def noteBack(self, review: SliceReview) -> None:
        """A slice lost its prompts, and is again as it was drawn before: until the next propagation, unless marked."""
        self.noteChanged(review.sliceIndex)
        self._slices[review.sliceIndex] = replace(review, origin=PROPAGATED, stale=not review.mark)

    def noteBackAs(self, reviews: Mapping[int, SliceReview | None]) -> None:
        """Slices are again what was once known of them, which no record of the segment as it is now tells."""
        before = self._slices
        self._slices = {index: one for index, one in {**before, **reviews}.items() if one is not None}
        for index in reviews:
            if any(one.isAnchor for one in (before.get(index), reviews[index]) if one is not None):
                self.noteChanged(index)
        self.noteUntold(reviews)

    def notePromptsGone(self, indexes: Collection[int]) -> None:
        """Slices have no prompts any more, what they drew stays: until the next propagation, but for marked slices."""
        gone = {index: one for index, one in self._slices.items() if one.origin == PROMPTED and index in indexes}
        self._slices |= {index: replace(one, origin=PROPAGATED, stale=not one.mark) for index, one in gone.items()}
        for index, one in gone.items():
            if not one.mark:
                self.noteChanged(index)

    def noteRun(self, reviews: Mapping[int, SliceReview], first: int, last: int) -> None:
        """A propagation through slices first <= index < last gave `reviews`; kept slices stay as they are."""
        self.cut = PLAIN
        kept = {index: self._slices[index] for index in self.kept()}
        outside = {index: one for index, one in self._slices.items() if not first <= index < last}
        within = {index: one for index, one in reviews.items() if first <= index < last}
        self._slices = outside | within | kept
        self._changed = {index for index in self._changed if not first <= index < last}
        self._untold = {index for index in self._untold if not first <= index < last}

    def noteSteps(self, reviews: Mapping[int, SliceReview]) -> None:
        """Slices were drawn, by a propagation that did not come to its end for example; kept slices stay."""
        self.cut = PLAIN
        self._slices |= {index: one for index, one in reviews.items() if index not in self.kept()}
        self._untold -= reviews.keys()

    def seen(self, drawn: Mapping[int, SliceReview], edited: Iterable[int]) -> dict[int, SliceReview]:
        """Return what is to be seen during a run that has `drawn` slices, while others have `edited` some."""
        return {**self._slices, **drawn, **{index: self._edited(index) for index in edited}}

    def soFar(self, drawn: Mapping[int, SliceReview], first: int, last: int, edited: Iterable[int]) -> SliceStates:
        """Return what is to be known if a run ends that has `drawn` slices on its way through first <= index < last.

        Others have `edited` slices meanwhile.
        """
        states = SliceStates.fromJson(self.toJson())
        if drawn:
            states.noteSteps(drawn)
            states.noteUntold(range(first, last))
        states.noteEdits(edited)
        return states

    def noteInterrupted(self, changed: Iterable[int]) -> set[int]:
        """Slices were `changed` since this was stored, and the run that was under way has not come to its end.

        Returns those that it has drawn: they are stale, and what the model said of them is not known any more.
        """
        first, last = self.running or (0, 0)
        self.running = None
        drawn = {index for index in changed if first <= index < last and not self.keeps(index)}
        review = SliceReview(first, 0.0, PROPAGATED, None, "forward", stale=True)
        prompted = {index for index, one in self._slices.items() if one.isAnchor}
        self._slices |= {index: replace(review, sliceIndex=index) for index in drawn - prompted}
        if drawn:
            self.noteUntold(range(first, last))
        return drawn

    def noteUntold(self, indexes: Iterable[int]) -> None:
        """A propagation that no record tells of went through slices: the next one is to do so again."""
        untold = {index for index in indexes if index not in self._slices or not self._slices[index].isAnchor}
        self._slices |= {index: replace(self._slices[index], stale=True) for index in untold & self._slices.keys()}
        self._untold |= untold

    def noteCut(self, areas: Mapping[int, float | None], cut: Cut) -> None:
        """Slices were thresholded differently from the same answers."""
        self.cut = cut
        for index, area in areas.items():
            if index in self._slices and not self._slices[index].isKept:
                self._slices[index] = replace(self._slices[index], areaMm2=area)

    def noteAllStale(self) -> None:
        """Whatever was propagated would come out differently now, as with another model."""
        for index, one in self._slices.items():
            if not one.isAnchor:
                self._slices[index] = replace(one, stale=True)
        self._changed |= {index for index, one in self._slices.items() if one.isAnchor}

    def release(self, index: int) -> None:
        """Let prompts change a slice that was the user's."""
        self._slices[index] = replace(self._slices[index], mark="", origin=PROMPTED)

    def disown(self, index: int) -> None:
        """A slice that was edited is the user's no more: it waits for the next propagation."""
        self.noteChanged(index)
        self._slices[index] = replace(self._slices[index], mark="", origin=PROPAGATED, stale=True)

    def toggle(self, index: int, mark: str) -> None:
        """Accept or lock a slice, or undo that; one that nobody has drawn is accepted or locked as empty."""
        before = self._slices.get(index, SliceReview(index, 1.0, PROPAGATED, 0.0, "prompt"))
        self._slices[index] = replace(before, mark="" if before.mark == mark else mark)

    def takeMarks(self, other: SliceStates, but: Collection[int]) -> None:
        """Have slices, but for some, accepted and locked as they are in another account of the same segment."""
        marked = {index: one for index, one in other._slices.items() if one.mark}
        for index, one in {**marked, **self._slices}.items():
            if index not in but:
                self._slices[index] = replace(one, mark=marked[index].mark if index in marked else "")

    def intervals(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return what the next propagation within first <= index < last has to go through, half-open, in order.

        That is from the anchor before each slice that was changed, or is in no record, to the anchor behind it, and
        nothing that lies between two anchors neither of which was changed; everything, if there is no such slice or
        nothing was propagated yet.
        """
        changed = sorted(index for index in self._changed | self._untold if first <= index < last)
        if not changed or all(one.isAnchor for one in self._slices.values()):
            return [(first, last)]
        found: list[tuple[int, int]] = []
        for index in changed:
            before, behind = self._neighbors(index)
            start = first if before is None else max(first, before)
            stop = last if behind is None else min(last, behind + 1)
            if found and start <= found[-1][1]:
                start, _ = found.pop()
            found.append((start, stop))
        return found

    def toJson(self) -> dict[str, Any]:
        """Return all of it in JSON's own types."""
        slices = [asdict(self._slices[index]) for index in sorted(self._slices)]
        sets = {"changed": sorted(self._changed), "untold": sorted(self._untold), "sources": sorted(self.sources)}
        return {**self.stack.to_json(), "slices": slices, "cut": self.cut, "running": self.running, **sets}

    @staticmethod
    def fromJson(stored: Any) -> SliceStates:
        """Read what `toJson` gave. Raises ValueError for anything else, as in a scene somebody edited."""
        try:
            states = SliceStates(SliceStack.from_json(stored))
            states._slices = {one.sliceIndex: one for one in map(readReview, stored["slices"])}
            states._changed = {_checked(index, isinstance(index, int)) for index in stored["changed"]}
            states._untold = {_checked(index, isinstance(index, int)) for index in stored.get("untold", ())}
            states.sources = {_checked(one, isinstance(one, str)) for one in stored.get("sources", ())}
            states.cut = readCut(stored.get("cut"))
            states.running = _readSpan(stored.get("running"))
        except (TypeError, ValueError, KeyError, AttributeError, PromptError) as error:
            raise ValueError(f"not the states of slices: {error}") from error
        return states

    def _edited(self, index: int) -> SliceReview:
        """A slice as one that the user changed with another tool."""
        before = self._slices.get(index, SliceReview(index, 1.0, EDITED, None, "prompt"))
        own = replace(before, origin=EDITED, confidence=1.0, areaMm2=None, stale=False, change=0.0)
        return replace(own, disagreement=None)

    def _neighbors(self, index: int) -> tuple[int | None, int | None]:
        """The anchors next to a slice, on both sides."""
        anchors = [other for other, one in self._slices.items() if one.isAnchor and other != index]
        before = max((other for other in anchors if other < index), default=None)
        behind = min((other for other in anchors if other > index), default=None)
        return before, behind


def _readSpan(stored: Any) -> tuple[int, int] | None:
    if stored is None:
        return None
    first, last = _checked(stored, isinstance(stored, list | tuple) and len(stored) == 2)
    return int(first), int(last)


def _checked(value: Any, fine: bool) -> Any:
    if not fine:
        raise ValueError(repr(value))
    return value
