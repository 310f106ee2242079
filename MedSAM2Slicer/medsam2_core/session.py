"""A session on a volume: prompts in, masks out, and everything kept that later prompts, thresholds and reports need."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.answers import Answer
from medsam2_core.arrays import Bytes, Mask
from medsam2_core.cleaning import Cleaning, CleanSlices
from medsam2_core.crossing import Crossing, Found
from medsam2_core.directions import AXES, ONE, STEPS, THREE
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.orientation import Hanging
from medsam2_core.image.pixels import VolumeStack, as_pixels, is_color
from medsam2_core.image.window import AS_GIVEN, Window
from medsam2_core.memory_bank import MemoryRule, Shelf, Timeline
from medsam2_core.memory_name import DEFAULT_MEMORY
from medsam2_core.model import SAM2
from medsam2_core.propagation import Track, Tracked
from medsam2_core.redrawing import FinalSlices, draw_labels, smoothing_deviation, threshold_logit
from medsam2_core.session_base import PropagationStep, Session, whole_number
from medsam2_core.session_object import SessionObject
from medsam2_core.stopping import CancelToken, StopRules
from medsam2_core.votes import Block, Votes

Progress = Callable[[int, int], None]


class VolumeSession(Session):
    """Segment objects in a volume (k, j, i), or (k, j, i, 3) of RGB as uint8, slice by slice along an array axis.

    `spacing` is in mm along k, j, i. The `window` may be written, such as "lung" or "40/400"; without, one is chosen by
    the intensities. `memory` is a name ("recency", "self-sorting") or a rule of `memory_bank`; `field_of_view` is
    "auto" (as the model was trained), "whole" or "zoom". In-slice points are (x, y): x counts along the last of the
    remaining axes, y along the first.
    The model sees slices as the array has them; `image.orientation` turns those of a file upright, and masks back, and
    says how slices `across` hang, along which objects are followed too if three directions are asked for.
    Raises `VolumeError` for arrays that are not volumes, and for a spacing that is not above 0.
    """

    def __init__(
        self,
        model: SAM2,
        volume: npt.ArrayLike,
        spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
        axis: int = 0,
        window: Window | str | None = None,
        memory: str | MemoryRule = DEFAULT_MEMORY,
        field_of_view: str = "auto",
        across: tuple[Hanging, Hanging] = (Hanging(), Hanging()),
    ) -> None:
        volume = as_pixels(volume)
        self.window = AS_GIVEN if window is None and is_color(volume, 4) else Window.of(window, volume)
        self.axis, self._across = axis, across
        self._volume = VolumeStack(volume, spacing, axis, self.window)
        super().__init__(model, self._volume, memory, field_of_view)
        self._shape_kji, self._slice_mm = volume.shape[:3], self._volume.slice_mm

    def propagate(
        self,
        first: int | None = None,
        last: int | None = None,
        direction: str = "both",
        stop: StopRules | None = None,
        cancel: CancelToken | None = None,
        progress: Callable[[int, int], None] | None = None,
        objects: Sequence[int] | None = None,
        directions: str = ONE,
    ) -> Iterator[PropagationStep]:
        """Carry all objects, or only `objects`, through slices first <= index < last, from every prompted slice there.

        Between two prompted slices both directions run and are blended. Prompted slices outside the range keep their
        own masks. `progress` gets slices done and planned, summed over objects and directions. Closing the iterator or
        canceling keeps what is done. With `objects` the others stay as they are.
        With `directions` "three" the objects are then followed along the other two axes too (see `crossing`). The steps
        of that have no masks and only tell that time goes on; at the end each slice comes again, of direction "three",
        with the mask that all axes agree on most. Stopped before, it leaves what one axis drew.
        Raises `PromptError` if there is nothing to propagate from.
        """
        span = self._span(first, last)
        steps, axes = _steps(direction), _axes(directions)
        rules = self._rules(stop or StopRules())
        chosen = self._check_prompted(span, objects)
        if objects is None:
            self._objects = {object_id: known for object_id, known in self._objects.items() if known.prompts}
        self._condition_all()
        shelves = {object_id: Shelf() if axes > 1 else None for object_id in chosen}
        tracks = [track for one in chosen for track in self._tracks(one, span, steps, rules, shelves[one])]
        fresh: set[tuple[int, int]] = set()
        token, tell = cancel or CancelToken(), progress or _say_nothing
        if axes == 1:
            return self._run(span, chosen, tracks, fresh, token, tell)
        run = self._run(span, chosen, tracks, fresh, token, lambda done, planned: tell(done, axes * planned))
        return self._run_across(span, run, tracks, shelves, fresh, token, tell)

    def redraw(
        self,
        object_id: int,
        threshold: float = 0.5,
        smoothing_mm: float = 0.0,
        largest: str = "off",
        fill_holes: str = "off",
        near: int | None = None,
    ) -> Iterator[PropagationStep]:
        """Draw what a propagation left of an object again from the kept logits, without running the model.

        Slices come in order, except the one that somebody looks at (`near`), which is the first.

        Pixels at least as probable as `threshold` (0.001 to 0.999) are the object's; `smoothing_mm` is the standard
        deviation of a Gaussian across slices (0 to 1000); `largest` and `fill_holes` are as in `Cleaning`. Slices with
        a mask as prompt count but are not drawn again. Nothing kept changes, so each call starts from the model's own
        answers. Raises `PromptError` if nothing was propagated, or for settings out of these limits.
        """
        known = self._known(object_id)
        if not known.stops:
            raise PromptError(f"Propagate again first: nothing of object {object_id} is kept to redraw.")
        drawn = self._final(known, threshold, smoothing_mm, Cleaning(largest, fill_holes))
        return self._redrawn(object_id, drawn.masks(near))

    def labelmap(
        self, threshold: float = 0.5, smoothing_mm: float = 0.0, largest: str = "off", fill_holes: str = "off"
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """Label map (k, j, i) with the object ids of all masks; where two overlap the larger logit wins.

        The settings are as in `redraw`; other ones need no new run.
        """
        dtype = np.uint8 if max(self._objects, default=0) < 256 else np.uint16
        labels: npt.NDArray[Any] = np.zeros((len(self._stack), *self._stack.shape(0)), dtype=dtype)
        cleaning = Cleaning(largest, fill_holes)
        drawn = {
            object_id: self._final(known, threshold, smoothing_mm, cleaning)
            for object_id, known in self._objects.items()
        }
        draw_labels(labels, drawn, threshold_logit(threshold))
        return np.moveaxis(labels, 0, self.axis)

    def mask(
        self,
        object_id: int,
        threshold: float = 0.5,
        smoothing_mm: float = 0.0,
        largest: str = "off",
        fill_holes: str = "off",
    ) -> Mask:
        """Mask (k, j, i) of one object, whether or not others overlap it; as in `labelmap`."""
        mask = np.zeros((len(self._stack), *self._stack.shape(0)), dtype=bool)
        for index, drawn in self.masks(object_id, threshold, smoothing_mm, largest, fill_holes):
            mask[index] = drawn
        return np.moveaxis(mask, 0, self.axis)

    def masks(
        self,
        object_id: int,
        threshold: float = 0.5,
        smoothing_mm: float = 0.0,
        largest: str = "off",
        fill_holes: str = "off",
    ) -> Iterator[tuple[int, Mask]]:
        """As `mask`, slice by slice: index and mask (rows, columns) of those that are known."""
        return self._final(self._known(object_id), threshold, smoothing_mm, Cleaning(largest, fill_holes)).masks()

    def disagreement(self, object_id: int) -> Iterator[tuple[int, Bytes]]:
        """Where three axes disagreed on an object: slice index, and percent of them for each pixel (rows, columns).

        That is percent of the axes that differ from all together, at a threshold of 0.5 and without smoothing,
        whatever masks are drawn with. Slices that one axis alone drew are left out. Raises `PromptError` if all are.
        """
        answers = self._known(object_id).answers()
        crossed = {index: answer for index, answer in answers.items() if answer.disagreement is not None}
        if not crossed:
            raise PromptError(f"Propagate object {object_id} along three axes first: only one was followed.")
        return ((index, answer.differing(*self._stack.shape(index))) for index, answer in crossed.items())

    def _redrawn(self, object_id: int, masks: Iterator[tuple[int, Mask]]) -> Iterator[PropagationStep]:
        known = self._objects[object_id]
        answers, given = known.answers(), known.given()
        for index, mask in masks:
            if index not in given:
                answer = answers[index]
                own = {object_id: mask}, {object_id: answer.confidence}, {object_id: answer.object_score}
                yield PropagationStep(index, answer.direction, *own)

    def _final(self, known: SessionObject, threshold: float, smoothing_mm: float, cleaning: Cleaning) -> CleanSlices:
        deviation, shape = smoothing_deviation(smoothing_mm, self._slice_mm), self._stack.shape(0)
        final = FinalSlices(known.answers(), known.given(), shape, deviation)
        return CleanSlices(final, threshold_logit(threshold), cleaning, known.prompts)

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
        start = 0 if first is None else whole_number(first, "The first slice")
        span = range(start, count if last is None else whole_number(last, "The end of the range"))
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

    def _tracks(
        self, object_id: int, span: range, steps: Sequence[str], stop: StopRules, shelf: Shelf | None
    ) -> list[Track]:
        """Tracks from each prompted slice to the next one or the end of the range, in the wanted directions.

        Between an edited slice and an older prompt only the edited one's track is new; what was tracked from the other
        side stays, and is blended with it: run again it would be the same, or with the edit in memory worse. With a
        shelf, which three axes share, all are new.
        """
        known = self._objects[object_id]
        prompted = sorted(index for index in known.prompts if index in span)
        tracks = []
        for direction in steps:
            step = STEPS[direction]
            edge = span.stop if step > 0 else span.start - 1
            course = prompted[::step]
            for index, ahead in zip(course, [*course[1:], None], strict=True):
                if ahead is None:
                    tracks.append(self._track(object_id, direction, index, edge, stop, shelf))
                    if index in known.edited:
                        known.stops.pop(direction, None)
                elif shelf is not None or not known.stands(index, ahead):
                    tracks.append(self._track(object_id, direction, index, ahead, None, shelf))
        known.edited -= set(prompted)
        return tracks

    def _track(
        self, object_id: int, direction: str, start: int, end: int, stop: StopRules | None, shelf: Shelf | None
    ) -> Track:
        """A track from a prompted slice to the one before `end`."""
        known, step = self._objects[object_id], STEPS[direction]
        indexes = range(start + step, end, step)
        remembered = sorted(known.conditioning) if self.model.config.remember_all_prompts else [start]
        memories = [known.conditioning[index].memory for index in remembered]
        bank = self._memory.bank(self.model.config, Timeline(step, len(self._stack)), memories, shelf)
        last = known.conditioning[start].drawn
        track = Track(object_id, direction, indexes, indexes, bank, last, known.seen, stop, self._slice_mm)
        track.beside = stop is None and shelf is None and known.stands(end, start)
        track.repeated = known.conditioning[start].points if self._memory.repeats_prompts else None
        return track

    def _run(
        self,
        span: range,
        object_ids: list[int],
        tracks: list[Track],
        fresh: set[tuple[int, int]],
        cancel: CancelToken,
        progress: Progress,
    ) -> Iterator[PropagationStep]:
        """Draw prompted slices, then go on with the tracks; the objects and slices that these draw go into `fresh`."""
        try:
            yield from self._prompt_steps(span, object_ids)
            for tracked in self._propagator.run(tracks, cancel):
                self._keep(tracked, fresh)
                progress(sum(t.position for t in tracks), sum(t.planned for t in tracks))
                yield self._tracked_step(tracked)
        finally:  # also if the iterator is closed early
            self._finish(tracks, fresh)

    def _run_across(
        self,
        span: range,
        run: Iterator[PropagationStep],
        tracks: list[Track],
        shelves: Mapping[int, Shelf | None],
        fresh: set[tuple[int, int]],
        cancel: CancelToken,
        progress: Progress,
    ) -> Iterator[PropagationStep]:
        """After a run along the session's axis follow its objects along the others, and draw what all say together."""
        yield from run
        before = sum(track.position for track in tracks)
        if cancel.cancelled or cancel.partial:
            return
        found = self._found(span, tracks, shelves, fresh)
        crossing = Crossing(self._propagator, self._volume, self._memory, self._across)
        for done, planned in crossing.run(found, cancel):
            progress(before + done, before + planned)
            yield PropagationStep(next(iter(found.values())).prompted[0].slice_index, THREE, {}, {}, {})
        if not found:
            progress(before, before)
        if crossing.complete:
            yield from self._aggregated(found, fresh)

    def _found(
        self, span: range, tracks: list[Track], shelves: Mapping[int, Shelf | None], fresh: set[tuple[int, int]]
    ) -> dict[int, Found]:
        """The objects that tracks through a span drew anywhere.

        Only what is drawn now counts, and prompts of the span: so a run comes out the same whatever was drawn before.
        """
        slices = Counter[int]()
        for track in tracks:
            slices[track.object_id] += track.position
        found, shape = {}, self._stack.shape(0)
        for object_id, count in slices.items():
            known = self._objects[object_id]
            prompted = [index for index in sorted(known.prompts) if index in span]
            drawn = {index for number, index in fresh if number == object_id}.union(prompted)
            answers = {index: answer for index, answer in known.answers().items() if index in drawn}
            block, shelf = Block.around(answers, shape), shelves[object_id]
            if count and block is not None and shelf is not None:
                votes = Votes(answers, block, math.prod(self._stack.spacing(0)))
                memories = [known.conditioning[index].memory for index in prompted]
                found[object_id] = Found(votes, count, memories, shelf)
        return found

    def _aggregated(self, found: Mapping[int, Found], fresh: set[tuple[int, int]]) -> Iterator[PropagationStep]:
        for object_id, index in sorted(fresh):
            if object_id in found and found[object_id].votes.holds(index):
                tracked = self._objects[object_id].tracked
                tracked[index] = found[object_id].votes.answer(index, tracked[index])
                yield self._step(index, THREE, [object_id])

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


def _axes(directions: str) -> int:
    if directions not in AXES:
        raise PromptError(f"Directions '{directions}' are unknown: choose {' or '.join(AXES)}.")
    return AXES[directions]


def _say_nothing(_done: int, _planned: int) -> None:
    pass


def _steps(direction: str) -> tuple[str, ...]:
    if direction == "both":
        return tuple(STEPS)
    if direction not in STEPS:
        raise PromptError(f"Direction '{direction}' is unknown: choose both, forward or backward.")
    return (direction,)
