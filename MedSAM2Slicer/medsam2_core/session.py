"""Sessions: prompts in, masks out, and everything kept that later prompts, thresholds and reports need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.answers import Answer, SlicePrediction, SliceResult
from medsam2_core.conditioning import condition
from medsam2_core.embeddings import EmbeddingCache
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.region import Mask, view_called
from medsam2_core.image.stack import SliceStack, VolumeStack
from medsam2_core.image.window import Window
from medsam2_core.memory_bank import Course, MemoryRule, memory_rule
from medsam2_core.model import SAM2
from medsam2_core.prompts import SlicePrompt, mask_prompt
from medsam2_core.propagation import Propagator, Track, Tracked
from medsam2_core.redrawing import FinalSlices, draw_labels, threshold_logit
from medsam2_core.run.memory import DEFAULT_MEMORY
from medsam2_core.segmented import SegmentedObject
from medsam2_core.stopping import CancelToken, StopRules

_STEPS = {"forward": 1, "backward": -1}


@dataclass(frozen=True)
class PropagationStep:
    """The objects that reached a slice going one way; masks are (rows, columns). Direction as in `SliceResult`."""

    slice_index: int
    direction: str
    masks: dict[int, Mask]
    confidence: dict[int, float]
    object_score: dict[int, float]


class Session:
    """What volumes and image sets share: prompts of objects on slices, and the answers there."""

    def __init__(self, model: SAM2, stack: SliceStack, memory: str | MemoryRule, field_of_view: str) -> None:
        self.model = model
        self._stack = stack
        self._memory = memory_rule(memory)
        self._view = view_called(model.config.field_of_view if field_of_view == "auto" else field_of_view)
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
        """Keep at most `max_bytes` of image features; what is dropped is computed again when it is needed."""
        self._cache.limit(max_bytes)

    def add_points(self, object_id: int, slice_index: int, points_xy: npt.ArrayLike, labels: Sequence[int]) -> None:
        """Add points (n, 2) as (x, y) in pixels, with labels (n,): 1 include, 0 exclude. Raises `PromptError`.

        On a slice that a propagation has drawn, or that a mask was given for, the points correct what is there.
        """
        prompt = self._prompt_at(object_id, slice_index)
        self._set(object_id, slice_index, prompt.with_points(points_xy, labels, self._stack.shape(slice_index)))

    def add_box(self, object_id: int, slice_index: int, box_xyxy: Sequence[float]) -> None:
        """Set the box x0, y0, x1, y1 in pixels around the object on a slice, as `add_points`. Raises `PromptError`."""
        prompt = self._prompt_at(object_id, slice_index)
        self._set(object_id, slice_index, prompt.with_box(box_xyxy, self._stack.shape(slice_index)))

    def add_mask(self, object_id: int, slice_index: int, mask: npt.NDArray[Any]) -> None:
        """Take a mask (rows, columns) as the truth on a slice, in place of its prompts so far. Raises `PromptError`."""
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
        return {
            index: answer.result(self._stack.shape(index), self._stack.spacing(index))
            for index, answer in self._known(object_id).answers().items()
        }

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
        self._objects.setdefault(object_id, SegmentedObject()).set_prompt(index, prompt, self._stack.shape(index))

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
                    known.conditioning[index] = condition(self._propagator, index, prompt, known.seen(index))

    def _step(self, index: int, direction: str, object_ids: Sequence[int], mask: Mask | None = None) -> PropagationStep:
        """The answers on a slice. Their mask is taken from the device, unless it is here already."""
        shape = self._stack.shape(index)
        answers = {object_id: self._objects[object_id].answer(index) for object_id in object_ids}
        present = {object_id: answer for object_id, answer in answers.items() if answer is not None}
        return PropagationStep(
            index,
            direction,
            {
                object_id: (answer.logits(*shape) > 0).cpu().numpy() if mask is None else mask
                for object_id, answer in present.items()
            },
            {object_id: answer.confidence for object_id, answer in present.items()},
            {object_id: answer.object_score for object_id, answer in present.items()},
        )


class VolumeSession(Session):
    """Segment objects in a volume (k, j, i) slice by slice along an array axis.

    `spacing` is in mm along k, j, i. Without a `window` one is chosen by the intensities. `memory` is a name
    ("recency", "self-sorting") or a rule of `memory_bank`; `field_of_view` is "auto" (as the model was trained),
    "whole" or "zoom". In-slice points are (x, y): x counts along the last of the remaining axes, y along the first.
    The model sees slices as the array has them; `image.orientation` turns those of a file upright, and masks back.
    Raises `VolumeError` for arrays that are not volumes.
    """

    def __init__(
        self,
        model: SAM2,
        volume: npt.NDArray[Any],
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        axis: int = 0,
        window: Window | None = None,
        memory: str | MemoryRule = DEFAULT_MEMORY,
        field_of_view: str = "auto",
    ) -> None:
        self.window = window or Window.auto(volume)
        self.axis = axis
        super().__init__(model, VolumeStack(volume, spacing, axis, self.window), memory, field_of_view)
        self._shape_kji, self._slice_mm = volume.shape, float(spacing[axis])

    def propagate(
        self,
        first: int | None = None,
        last: int | None = None,
        direction: str = "both",
        stop: StopRules | None = None,
        cancel: CancelToken | None = None,
        progress: Callable[[int, int], None] | None = None,
        objects: Sequence[int] | None = None,
    ) -> Iterator[PropagationStep]:
        """Carry all objects, or only `objects`, through slices first <= index < last, from every prompted slice there.

        Between two prompted slices both directions run and are blended. Prompted slices outside the range keep their
        own masks. `progress` gets slices done and planned, summed over objects and directions. Closing the iterator or
        canceling keeps what is done. With `objects` the others stay as they are.
        Raises `PromptError` if there is nothing to propagate from.
        """
        span = self._span(first, last)
        steps = _steps(direction)
        rules = self._rules(stop or StopRules())
        chosen = self._check_prompted(span, objects)
        if objects is None:
            self._objects = {object_id: known for object_id, known in self._objects.items() if known.prompts}
        self._condition_all()
        tracks = [track for object_id in chosen for track in self._tracks(object_id, span, steps, rules)]
        return self._run(span, chosen, tracks, cancel or CancelToken(), progress)

    def redraw(self, object_id: int, threshold: float = 0.5, smoothing_mm: float = 0.0) -> Iterator[PropagationStep]:
        """Draw what a propagation left of an object again from the kept logits, in order, without running the model.

        Pixels at least as probable as `threshold` (0.001 to 0.999) are the object's; `smoothing_mm` is the standard
        deviation of a Gaussian across slices. Slices with a mask as prompt count but are not drawn again. Nothing kept
        changes, so each call starts from the model's own answers. Raises `PromptError` if nothing was propagated.
        """
        known = self._known(object_id)
        if not known.stops:
            raise PromptError(f"Propagate again first: nothing of object {object_id} is kept to redraw.")
        return self._redrawn(object_id, self._final(known, smoothing_mm).masks(threshold_logit(threshold)))

    def labelmap(
        self, threshold: float = 0.5, smoothing_mm: float = 0.0
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Label map (k, j, i) with the object ids of all masks; where two overlap the larger logit wins.

        `threshold` and `smoothing_mm` are as in `redraw`; other ones need no new run.
        """
        dtype = np.uint8 if max(self._objects, default=0) < 256 else np.uint16
        labels: npt.NDArray[Any] = np.zeros((len(self._stack), *self._stack.shape(0)), dtype=dtype)
        drawn = {object_id: self._final(known, smoothing_mm) for object_id, known in self._objects.items()}
        draw_labels(labels, drawn, threshold_logit(threshold))
        return np.moveaxis(labels, 0, self.axis)

    def mask(self, object_id: int, threshold: float = 0.5, smoothing_mm: float = 0.0) -> Mask:
        """Mask (k, j, i) of one object, whether or not others overlap it; as in `labelmap`."""
        mask = np.zeros((len(self._stack), *self._stack.shape(0)), dtype=bool)
        final = self._final(self._known(object_id), smoothing_mm)
        for index, drawn in final.masks(threshold_logit(threshold)):
            mask[index] = drawn
        return np.moveaxis(mask, 0, self.axis)

    def _redrawn(self, object_id: int, masks: Iterator[tuple[int, Mask]]) -> Iterator[PropagationStep]:
        known = self._objects[object_id]
        answers, given = known.answers(), known.given()
        for index, mask in masks:
            if index not in given:
                answer = answers[index]
                own = {object_id: mask}, {object_id: answer.confidence}, {object_id: answer.object_score}
                yield PropagationStep(index, answer.direction, *own)

    def _final(self, known: SegmentedObject, smoothing_mm: float) -> FinalSlices:
        return FinalSlices(known.answers(), known.given(), self._stack.shape(0), smoothing_mm / self._slice_mm)

    def _rules(self, stop: StopRules) -> StopRules:
        """The stop rules with their region as (slices, rows, columns). Raises VolumeError if it does not fit."""
        if stop.inside is not None and stop.inside.shape != self._shape_kji:
            raise VolumeError(
                f"The region to stay in has the shape {stop.inside.shape} but the volume {self._shape_kji}: "
                "give one on the volume's grid."
            )
        return stop.turned(lambda inside: np.moveaxis(inside.astype(bool, copy=False), self.axis, 0))

    def _span(self, first: int | None, last: int | None) -> range:
        count = len(self._stack)
        span = range(0 if first is None else first, count if last is None else last)
        if not span or span.start < 0 or span.stop > count:
            raise PromptError(
                f"The range {span.start}:{span.stop} holds no slice: give one within 0:{count}, its end not included."
            )
        return span

    def _check_prompted(self, span: range, objects: Sequence[int] | None) -> list[int]:
        """Return the objects that are to run, all prompted ones if None. Raises PromptError for one that cannot."""
        prompts = {object_id: known.prompts for object_id, known in self._objects.items() if known.prompts}
        chosen = list(prompts) if objects is None else sorted(set(objects))
        missing = [str(object_id) for object_id in chosen if object_id not in prompts]
        if missing or not chosen:
            which = f" from in object {', '.join(missing)}" if missing else ""
            raise PromptError(f"There is nothing to propagate{which}: add a point, a box or a mask first.")
        for object_id in chosen:
            if not any(index in span for index in prompts[object_id]):
                slices = ", ".join(str(index) for index in sorted(prompts[object_id]))
                raise PromptError(
                    f"Object {object_id} has no prompt within {span.start}:{span.stop}: widen the range to its "
                    f"prompted slice ({slices})."
                )
        return chosen

    def _tracks(self, object_id: int, span: range, steps: Sequence[str], stop: StopRules) -> list[Track]:
        """Tracks from each prompted slice to the next one or the end of the range, in the wanted directions.

        Between an edited slice and an older prompt only the edited one's track is new; what was tracked from the other
        side stays, and is blended with it: run again it would be the same, or with the edit in memory worse.
        """
        known = self._objects[object_id]
        prompted = sorted(index for index in known.prompts if index in span)
        tracks = []
        for direction in steps:
            step = _STEPS[direction]
            edge = span.stop if step > 0 else span.start - 1
            course = prompted[::step]
            for index, ahead in zip(course, [*course[1:], None], strict=True):
                if ahead is None:
                    tracks.append(self._track(object_id, direction, index, edge, stop))
                    if index in known.edited:
                        known.stops.pop(direction, None)
                elif not known.stands(index, ahead):
                    tracks.append(self._track(object_id, direction, index, ahead, None))
        known.edited -= set(prompted)
        return tracks

    def _track(self, object_id: int, direction: str, start: int, end: int, stop: StopRules | None) -> Track:
        """A track from a prompted slice to the one before `end`."""
        known, step = self._objects[object_id], _STEPS[direction]
        indexes = range(start + step, end, step)
        remembered = sorted(known.conditioning) if self.model.config.remember_all_prompts else [start]
        memories = [known.conditioning[index].memory for index in remembered]
        bank = self._memory.bank(self.model.config, Course(step, len(self._stack)), memories)
        last = known.conditioning[start].drawn
        track = Track(object_id, direction, indexes, indexes, bank, last, known.seen, stop, self._slice_mm)
        track.beside = stop is None and known.stands(end, start)
        return track

    def _run(
        self,
        span: range,
        object_ids: list[int],
        tracks: list[Track],
        cancel: CancelToken,
        progress: Callable[[int, int], None] | None,
    ) -> Iterator[PropagationStep]:
        fresh: set[tuple[int, int]] = set()
        try:
            yield from self._prompt_steps(span, object_ids)
            for tracked in self._propagator.run(tracks, cancel):
                self._keep(tracked, fresh)
                if progress is not None:
                    progress(sum(t.position for t in tracks), sum(t.planned for t in tracks))
                yield self._tracked_step(tracked)
        finally:  # also if the iterator is closed early
            self._finish(tracks, fresh)

    def _tracked_step(self, tracked: Tracked) -> PropagationStep:
        index, object_id = tracked.index, tracked.track.object_id
        answer = self._objects[object_id].answer(index)
        alone = answer is not None and all(one is tracked.drawn for one in answer.drawn)
        return self._step(index, tracked.track.direction, [object_id], tracked.mask if alone else None)

    def _prompt_steps(self, span: range, object_ids: list[int]) -> Iterator[PropagationStep]:
        prompts = {object_id: self._objects[object_id].prompts for object_id in object_ids}
        for index in sorted({index for places in prompts.values() for index in places if index in span}):
            yield self._step(index, "prompt", [object_id for object_id in object_ids if index in prompts[object_id]])

    def _keep(self, new: Tracked, fresh: set[tuple[int, int]]) -> None:
        """Store an answer: in place of an earlier propagation's, beside the other direction's."""
        track, index = new.track, new.index
        tracked = self._objects[track.object_id].tracked
        earlier = tracked.get(index, Answer(()))
        if (track.object_id, index) not in fresh:
            earlier = earlier.without(track.direction) if track.beside else Answer(())
            fresh.add((track.object_id, index))
        tracked[index] = earlier.with_other(new.drawn)

    def _finish(self, tracks: list[Track], fresh: set[tuple[int, int]]) -> None:
        """Note why tracks ended; slices one of them gave up on lose what an earlier propagation drew."""
        for track in tracks:
            known = self._objects[track.object_id]
            if track.stopped is not None:
                for index in track.indexes:
                    if (track.object_id, index) not in fresh:
                        known.tracked.pop(index, None)
            if track.stop is not None and (track.indexes or track.direction not in known.stops):
                known.stops[track.direction] = track.stopped or ("cancelled" if track.running else "reached the end")


def _steps(direction: str) -> tuple[str, ...]:
    if direction == "both":
        return tuple(_STEPS)
    if direction not in _STEPS:
        raise PromptError(f"Direction '{direction}' is unknown: choose both, forward or backward.")
    return (direction,)
