"""What a session has drawn, kept on this side, so that a new worker continues where a lost one ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from medsam2_core.run.prompts import MaskPrompt, Prompt, RunObject
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectRecord, Propagated, SliceRecord, Step

_Place = tuple[int, int]  # object id, slice


@dataclass(frozen=True)
class _Tracked:
    """A mask that a propagation drew, and in which run of the worker, counted from 1."""

    mask: PackedMask
    record: SliceRecord
    run: int


@dataclass(frozen=True)
class Reach:
    """The slices first <= index < last that a propagation goes through, and its direction."""

    first: int
    last: int
    direction: str

    def includes(self, index: int, prompted: Collection[int]) -> bool:
        """Whether it goes through a slice, from an object's prompted slices."""
        if not self.first <= index < self.last:
            return False
        starts = [start for start in prompted if self.first <= start < self.last]
        if self.direction == "forward":
            return any(start < index for start in starts)
        return self.direction == "both" or any(start > index for start in starts)


NOWHERE = Reach(0, 0, "both")
"""Of a request that draws slices again where they are."""


class Drawn:
    """Masks a session's propagations drew, by object and slice; `pixelMm2` is the area of a pixel.

    A worker starts a correction from what it has drawn itself. Of what an earlier run of it drew it knows nothing, so
    there the mask goes along, as a mask prompt before the correction.
    """

    def __init__(self, shape: tuple[int, int], pixelMm2: float) -> None:
        self._shape, self._pixelMm2 = shape, pixelMm2
        self._tracked: dict[_Place, _Tracked] = {}
        self._prompted: set[_Place] = set()
        self._bases: dict[_Place, _Tracked] = {}  # what was there when a slice got its first prompt
        self._before: dict[_Place, _Tracked] | None = None  # a propagation that is tried out

    def noteRequest(self, objects: Sequence[RunObject]) -> None:
        """Note the prompts of a request before it is sent."""
        self._takeBack()  # what was tried out with a worker that was lost
        prompted = {(item.segment.label, index) for item in objects for index in item.slices}
        labels = {item.segment.label for item in objects}
        self._tracked = {place: drawn for place, drawn in self._tracked.items() if place[0] in labels}
        self._bases = {place: base for place, base in self._bases.items() if place in prompted}
        for place in prompted - self._prompted:
            drawn = self._tracked.get(place)
            if drawn is not None and drawn.mask.box is not None:
                self._bases[place] = drawn
        self._prompted = prompted

    def tryOut(self) -> None:
        """Forget what the propagation that is asked for now draws, if the worker takes it back."""
        self._before = dict(self._tracked)

    def restored(self, objects: Sequence[RunObject], run: int) -> list[RunObject]:
        """The objects, with the masks that this run of the worker does not have before the prompts correcting them."""
        return [replace(item, prompts=self._restored(item, run)) for item in objects]

    def isLost(self, objectId: int, run: int) -> bool:
        """Whether an earlier run of the worker drew slices of an object that no later one has drawn again."""
        return any(label == objectId and drawn.run != run for (label, _), drawn in self._tracked.items())

    def noteStep(self, step: Step, run: int) -> None:
        """Note what a step drew."""
        if step.direction == "prompt":
            return
        for answer in step.answers:
            area = int(answer.mask.crop.sum()) * self._pixelMm2
            record = SliceRecord(step.slice_index, answer.confidence, answer.object_score, step.direction, area)
            self._tracked[answer.object_id, step.slice_index] = _Tracked(answer.mask, record, run)

    def completed(self, result: Propagated, reach: Reach, run: int) -> Propagated:
        """The result, with the slices that earlier runs of the worker drew and this propagation did not go through.

        Of one that was taken back it is as the worker gave it: it left nothing.
        """
        if result.taken_back:
            self._takeBack()
            return result
        self._before = None
        objects = tuple(self._completed(item, reach, run, result.cancelled) for item in result.objects)
        listed = {(item.object_id, one.slice_index): one for item in objects for one in item.slices}
        ran = {item.object_id for item in objects}
        self._tracked = {
            place: replace(drawn, record=listed.get(place, drawn.record))
            for place, drawn in self._tracked.items()
            if place in listed or place[0] not in ran
        }
        return replace(result, objects=objects)

    def _takeBack(self) -> None:
        if self._before is not None:
            self._tracked, self._before = self._before, None

    def _restored(self, item: RunObject, run: int) -> tuple[Prompt, ...]:
        label = item.segment.label
        missing = [
            MaskPrompt(index, base.mask.full(self._shape))
            for (object_id, index), base in sorted(self._bases.items(), key=lambda entry: entry[0])
            if object_id == label and base.run != run
        ]
        return (*missing, *item.prompts)

    def _completed(self, item: ObjectRecord, reach: Reach, run: int, cancelled: bool) -> ObjectRecord:
        listed = {one.slice_index: one for one in item.slices}
        prompted = {index for label, index in self._prompted if label == item.object_id}
        for (label, index), drawn in self._tracked.items():
            superseded = drawn.run == run or (not cancelled and reach.includes(index, prompted))
            if label == item.object_id and index not in prompted and not superseded:
                listed.setdefault(index, drawn.record)
        return replace(item, slices=tuple(listed[index] for index in sorted(listed)))
