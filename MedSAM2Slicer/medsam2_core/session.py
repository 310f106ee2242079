"""Sessions: prompts in, masks out, and everything kept that later prompts, thresholds and reports need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.answers import Answer, Mask, SlicePrediction, SliceResult
from medsam2_core.conditioning import Conditioning, condition
from medsam2_core.embeddings import EmbeddingCache
from medsam2_core.errors import PromptError
from medsam2_core.image.region import FieldOfView, WholeView, ZoomView
from medsam2_core.image.stack import SliceStack, VolumeStack
from medsam2_core.image.window import Window
from medsam2_core.memory_bank import Course, MemoryRule, memory_rule
from medsam2_core.model import SAM2
from medsam2_core.prompts import SlicePrompt, mask_prompt
from medsam2_core.propagation import DrawnSlice, Propagator, Track
from medsam2_core.stopping import CancelToken, StopRules

_STEPS = {"forward": 1, "backward": -1}
_VIEWS: dict[str, FieldOfView] = {"whole": WholeView(), "zoom": ZoomView()}


@dataclass(frozen=True)
class PropagationStep:
    """The objects that reached a slice going one way; masks are (rows, columns). Direction as in `SliceResult`."""

    slice_index: int
    direction: str
    masks: dict[int, Mask]
    confidence: dict[int, float]
    object_score: dict[int, float]


@dataclass
class SegmentedObject:
    """Prompts of one object and what came of them, by slice."""

    prompts: dict[int, SlicePrompt] = field(default_factory=dict)
    conditioning: dict[int, Conditioning] = field(default_factory=dict)
    tracked: dict[int, Answer] = field(default_factory=dict)
    stops: dict[str, str] = field(default_factory=dict)

    def answer(self, index: int) -> Answer | None:
        """What is drawn on a slice: a prompted one counts more than a tracked one."""
        if index in self.conditioning:
            return Answer((self.conditioning[index].drawn,))
        return self.tracked.get(index)


class Session:
    """What volumes and image sets share: prompts of objects on slices, and the answers there."""

    def __init__(self, model: SAM2, stack: SliceStack, memory: str | MemoryRule, field_of_view: str) -> None:
        self.model = model
        self._stack = stack
        self._memory = memory_rule(memory)
        self._view = _field_of_view(field_of_view, model)
        self._cache = EmbeddingCache(model, stack)
        self._propagator = Propagator(model, stack, self._cache, self._view)
        self._objects: dict[int, SegmentedObject] = {}

    @property
    def field_of_view(self) -> str:
        """What the model sees of a slice: whole or zoom."""
        return self._view.name

    @property
    def encoder_runs(self) -> int:
        """Views that went through the image encoder so far."""
        return self._cache.encoded

    @property
    def cache_bytes(self) -> int:
        """Bytes of image features kept on the model's device."""
        return self._cache.bytes

    def limit_cache(self, max_bytes: int) -> None:
        """Keep at most so many bytes of image features; what is dropped is computed again when it is needed."""
        self._cache.limit(max_bytes)

    def add_points(self, object_id: int, slice_index: int, points_xy: npt.ArrayLike, labels: Sequence[int]) -> None:
        """Add points (n, 2) as (x, y) in pixels, with labels (n,): 1 include, 0 exclude. Raises `PromptError`.

        On a slice that a propagation has drawn, the points correct what is there.
        """
        prompt = self._prompt_at(object_id, slice_index)
        self._set(object_id, slice_index, prompt.with_points(points_xy, labels, self._stack.shape(slice_index)))

    def add_box(self, object_id: int, slice_index: int, box_xyxy: Sequence[float]) -> None:
        """Set the box x0, y0, x1, y1 in pixels around the object on a slice. Raises `PromptError`."""
        prompt = self._prompt_at(object_id, slice_index)
        self._set(object_id, slice_index, prompt.with_box(box_xyxy, self._stack.shape(slice_index)))

    def add_mask(self, object_id: int, slice_index: int, mask: npt.NDArray[Any]) -> None:
        """Take a mask (rows, columns) as the truth on a slice, in place of its other prompts. Raises `PromptError`."""
        self._check_place(object_id, slice_index)
        self._set(object_id, slice_index, mask_prompt(mask, self._stack.shape(slice_index)))

    def remove_prompts(self, object_id: int, slice_index: int) -> None:
        """Forget an object's prompts on a slice; what a propagation drew stays until the next one.

        An object without any prompt left is gone then.
        """
        known = self._known(object_id)
        known.prompts.pop(slice_index, None)
        known.conditioning.pop(slice_index, None)

    def remove_object(self, object_id: int) -> None:
        """Forget an object, its prompts and what was drawn of it; unknown ones are forgotten already."""
        self._objects.pop(object_id, None)

    def predict_slice(self, slice_index: int) -> dict[int, SlicePrediction]:
        """Masks on a slice by object id: of prompted objects at once, of others as last propagated."""
        self._check_index(slice_index)
        self._condition_all()
        shape = self._stack.shape(slice_index)
        answers = {object_id: known.answer(slice_index) for object_id, known in self._objects.items()}
        return {object_id: answer.predict(*shape) for object_id, answer in answers.items() if answer is not None}

    def results(self, object_id: int) -> dict[int, SliceResult]:
        """Confidence, object score, direction and area of every slice where an object was prompted or tracked."""
        known = self._known(object_id)
        results = {}
        for index in sorted({*known.conditioning, *known.tracked}):
            answer = known.answer(index)
            if answer is not None:
                results[index] = answer.result(self._stack.shape(index), self._stack.spacing(index))
        return results

    def stops(self, object_id: int) -> dict[str, str]:
        """Why each direction of an object's last propagation ended, as a sentence, by direction."""
        return dict(self._known(object_id).stops)

    def _known(self, object_id: int) -> SegmentedObject:
        if object_id not in self._objects:
            known = ", ".join(str(number) for number in self._objects) or "none yet"
            raise PromptError(f"Object {object_id} has no prompt: objects with prompts are {known}.")
        return self._objects[object_id]

    def _prompt_at(self, object_id: int, index: int) -> SlicePrompt:
        """Return the prompts a new one is added to; on a tracked slice they start from what is drawn there."""
        self._check_place(object_id, index)
        known = self._objects.get(object_id, SegmentedObject())
        if index in known.prompts:
            return known.prompts[index]
        answer = known.answer(index)
        if answer is None:
            return SlicePrompt()
        logits = answer.logits(*self._stack.shape(index))
        return SlicePrompt(before=logits if bool((logits > 0).any()) else None)

    def _set(self, object_id: int, index: int, prompt: SlicePrompt) -> None:
        known = self._objects.setdefault(object_id, SegmentedObject())
        known.prompts[index] = prompt
        known.conditioning.pop(index, None)

    def _check_place(self, object_id: int, index: int) -> None:
        if not 1 <= object_id <= 65535:
            raise PromptError(f"Object id {object_id} cannot be a label: choose one from 1 to 65535.")
        self._check_index(index)

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self._stack):
            raise PromptError(f"Slice {index} does not exist: slices go from 0 to {len(self._stack) - 1}.")

    def _condition_all(self) -> None:
        for known in self._objects.values():
            for index, prompt in known.prompts.items():
                if index not in known.conditioning:
                    known.conditioning[index] = condition(self._propagator, index, prompt)

    def _step(self, index: int, direction: str, object_ids: Sequence[int]) -> PropagationStep:
        shape = self._stack.shape(index)
        answers = {object_id: self._objects[object_id].answer(index) for object_id in object_ids}
        present = {object_id: answer for object_id, answer in answers.items() if answer is not None}
        return PropagationStep(
            index,
            direction,
            {object_id: (answer.logits(*shape) > 0).cpu().numpy() for object_id, answer in present.items()},
            {object_id: answer.confidence for object_id, answer in present.items()},
            {object_id: answer.object_score for object_id, answer in present.items()},
        )


class VolumeSession(Session):
    """Segment objects in a volume (k, j, i) slice by slice along an array axis.

    `spacing` is in mm along k, j, i. Without a `window` one is chosen by the intensities. `memory` is a name
    ("self-sorting", "recency") or a rule of `memory_bank`; `field_of_view` is "auto" (as the model was trained),
    "whole" or "zoom". In-slice points are (x, y): x counts along the last of the remaining axes, y along the first.
    The model sees slices as the array has them; `image.orientation` turns those of a file upright, and masks back.
    Raises `VolumeError` for arrays that are no volume.
    """

    def __init__(
        self,
        model: SAM2,
        volume: npt.NDArray[Any],
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        axis: int = 0,
        window: Window | None = None,
        memory: str | MemoryRule = "self-sorting",
        field_of_view: str = "auto",
    ) -> None:
        self.window = window or Window.auto(volume)
        self.axis = axis
        super().__init__(model, VolumeStack(volume, spacing, axis, self.window), memory, field_of_view)

    def propagate(
        self,
        first: int | None = None,
        last: int | None = None,
        direction: str = "both",
        stop: StopRules | None = None,
        cancel: CancelToken | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[PropagationStep]:
        """Carry all objects through slices first <= index < last, from every prompted slice there.

        Between two prompted slices both directions run and are blended. Prompted slices outside the range are
        remembered, and keep their own masks. `progress` gets slices done and planned, summed over objects and
        directions. Closing the iterator or cancelling keeps what is done. Raises `PromptError` if there is nothing to
        propagate from.
        """
        span = self._span(first, last)
        steps = _steps(direction)
        self._check_prompted(span)
        self._objects = {object_id: known for object_id, known in self._objects.items() if known.prompts}
        self._condition_all()
        tracks = [track for object_id in self._objects for track in self._tracks(object_id, span, steps, stop)]
        return self._run(span, tracks, cancel or CancelToken(), progress)

    def labelmap(self, threshold: float = 0.0) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Label map (k, j, i) with the object ids of all masks; where two overlap the larger logit wins.

        `threshold` cuts the mask logits; another one than 0 needs no new run.
        """
        rows, columns = self._stack.shape(0)
        dtype = np.uint8 if max(self._objects, default=0) < 256 else np.uint16
        labels: npt.NDArray[Any] = np.zeros((len(self._stack), rows, columns), dtype=dtype)
        for index in range(len(self._stack)):
            best = np.full((rows, columns), threshold, dtype=np.float32)
            for object_id, known in self._objects.items():
                answer = known.answer(index)
                if answer is not None:
                    logits = answer.logits(rows, columns).cpu().numpy()
                    labels[index][logits > best] = object_id
                    np.maximum(best, logits, out=best)
        return np.moveaxis(labels, 0, self.axis)

    def mask(self, object_id: int, threshold: float = 0.0) -> Mask:
        """Mask (k, j, i) of one object, whether or not others overlap it."""
        known = self._known(object_id)
        rows, columns = self._stack.shape(0)
        mask = np.zeros((len(self._stack), rows, columns), dtype=bool)
        for index in {*known.conditioning, *known.tracked}:
            answer = known.answer(index)
            if answer is not None:
                mask[index] = (answer.logits(rows, columns) > threshold).cpu().numpy()
        return np.moveaxis(mask, 0, self.axis)

    def _span(self, first: int | None, last: int | None) -> range:
        count = len(self._stack)
        span = range(0 if first is None else first, count if last is None else last)
        if not span or span.start < 0 or span.stop > count:
            raise PromptError(
                f"The range {span.start}:{span.stop} holds no slice: give one within 0:{count}, its end not included."
            )
        return span

    def _check_prompted(self, span: range) -> None:
        if not any(known.prompts for known in self._objects.values()):
            raise PromptError("There is nothing to propagate: add a point, a box or a mask first.")
        for object_id, known in self._objects.items():
            if known.prompts and not any(index in span for index in known.prompts):
                slices = ", ".join(str(index) for index in sorted(known.prompts))
                raise PromptError(
                    f"Object {object_id} has no prompt within {span.start}:{span.stop}: widen the range to its "
                    f"prompted slice ({slices})."
                )

    def _tracks(self, object_id: int, span: range, steps: Sequence[str], stop: StopRules | None) -> list[Track]:
        """Tracks from each prompted slice to the next one or the end of the range, in the wanted directions."""
        known = self._objects[object_id]
        known.stops.clear()
        prompted = sorted(index for index in known.prompts if index in span)
        memories = [known.conditioning[index].memory for index in sorted(known.conditioning)]
        tracks = []
        for direction in steps:
            step = _STEPS[direction]
            edge = span.stop if step > 0 else span.start - 1
            for index in prompted:
                ahead = [other for other in prompted if (other - index) * step > 0]
                rules = None if ahead else stop or StopRules()
                indexes = range(index + step, min(ahead, key=lambda other: abs(other - index)) if ahead else edge, step)
                bank = self._memory.bank(self.model.config, Course(step, len(self._stack)), memories)
                last = known.conditioning[index].drawn
                tracks.append(Track(object_id, direction, indexes, indexes, bank, last, rules))
        return tracks

    def _run(
        self, span: range, tracks: list[Track], cancel: CancelToken, progress: Callable[[int, int], None] | None
    ) -> Iterator[PropagationStep]:
        fresh: set[tuple[int, int]] = set()
        try:
            yield from self._prompt_steps(span)
            for track, index, drawn in self._propagator.run(tracks, cancel):
                self._keep(track.object_id, index, drawn, fresh)
                if progress is not None:
                    progress(sum(t.position for t in tracks), sum(t.planned for t in tracks))
                yield self._step(index, track.direction, [track.object_id])
        finally:  # also if the iterator is closed early
            self._finish(tracks, fresh)

    def _prompt_steps(self, span: range) -> Iterator[PropagationStep]:
        for index in sorted({index for known in self._objects.values() for index in known.prompts if index in span}):
            yield self._step(index, "prompt", [o for o, known in self._objects.items() if index in known.prompts])

    def _keep(self, object_id: int, index: int, drawn: DrawnSlice, fresh: set[tuple[int, int]]) -> None:
        """Store an answer: in place of an earlier propagation's, beside this one's other direction."""
        tracked = self._objects[object_id].tracked
        if (object_id, index) in fresh:
            tracked[index] = tracked[index].with_other(drawn)
        else:
            tracked[index] = Answer((drawn,))
            fresh.add((object_id, index))

    def _finish(self, tracks: list[Track], fresh: set[tuple[int, int]]) -> None:
        """Note why tracks ended; slices one of them gave up on lose what an earlier propagation drew."""
        for track in tracks:
            known = self._objects[track.object_id]
            if track.stopped is not None:
                for index in track.indexes:
                    if (track.object_id, index) not in fresh:
                        known.tracked.pop(index, None)
            if track.stop is not None:
                known.stops[track.direction] = track.stopped or ("cancelled" if track.running else "reached the end")


def _steps(direction: str) -> tuple[str, ...]:
    if direction == "both":
        return tuple(_STEPS)
    if direction not in _STEPS:
        raise PromptError(f"Direction '{direction}' is unknown: choose both, forward or backward.")
    return (direction,)


def _field_of_view(name: str, model: SAM2) -> FieldOfView:
    name = model.config.field_of_view if name == "auto" else name
    if name not in _VIEWS:
        raise PromptError(f"Field of view '{name}' is unknown: choose auto, whole or zoom.")
    return _VIEWS[name]
