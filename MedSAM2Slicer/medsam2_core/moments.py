"""Objects through time: carried through a volume in the prompted moment, then from moment to moment.

From one moment to the next an object is tracked through time on the slice where it is largest, with its memory from the
prompted moment and from the one before; from that slice it is carried through the volume as from a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from medsam2_core.arrays import Array, Mask
from medsam2_core.image.window import Window
from medsam2_core.model import SAM2
from medsam2_core.session import VolumeSession
from medsam2_core.stopping import CancelToken

OpenStack = Callable[[Sequence[tuple[int, int | None]]], VolumeSession]
"""Opens a session on slices that are stacked: each is a moment, and the index of a slice there.

A single moment with None stands for its whole volume, stacked along the axis that slices are counted on.
"""


@dataclass(frozen=True)
class Moment:
    """The objects in one moment: masks (slices, rows, columns), and their mean confidence where they are drawn."""

    index: int
    masks: Mapping[int, Mask]
    confidence: Mapping[int, float]


def stack_opener(
    model: SAM2, volumes: Sequence[Array], spacing: tuple[float, float, float], window: Window, **settings: Any
) -> OpenStack:
    """Open stacks of volumes (slices, rows, columns) on one grid; `settings` are arguments of `VolumeSession`."""

    def open_stack(parts: Sequence[tuple[int, int | None]]) -> VolumeSession:
        whole = [volumes[moment] for moment, place in parts if place is None]
        slices = whole[0] if whole else np.stack([volumes[moment][place] for moment, place in parts])
        return VolumeSession(model, slices, spacing, 0, window, **settings)

    return open_stack


def follow(
    open_stack: OpenStack,
    prompted: VolumeSession,
    objects: Sequence[int],
    start: int,
    count: int,
    cancel: CancelToken | None = None,
    course: Mapping[str, Any] = MappingProxyType({}),
    drawing: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Moment]:
    """Carry objects from the moment `start`, where a session has prompts of them, to all of `count` moments.

    `course` are arguments of `VolumeSession.propagate`, such as the range and stop rules, which hold in each moment;
    `drawing` those of `VolumeSession.mask`.
    Gives that moment first, then those after it, then those before it, backward. Canceling ends it after the moment at
    hand, which is left out unless it is the prompted one. Raises PromptError if nothing is prompted.
    """
    cancel = cancel or CancelToken()
    first = _carried(prompted, start, objects, cancel, course, drawing)
    yield first
    yield from onward(open_stack, first, count, cancel, course, drawing)


def onward(
    open_stack: OpenStack,
    first: Moment,
    count: int,
    cancel: CancelToken | None = None,
    course: Mapping[str, Any] = MappingProxyType({}),
    drawing: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Moment]:
    """As `follow`, from the masks of objects in a moment, which are taken as true; gives all moments but that one."""
    cancel = cancel or CancelToken()
    start, objects = first.index, list(first.masks)
    carry = partial(_carried, cancel=cancel, course=course, drawing=drawing)
    for indexes in (range(start + 1, count), range(start - 1, -1, -1)):
        seen = {number: _Seen(start, first.masks[number]) for number in objects}
        for index in indexes:
            session = open_stack([(index, None)])
            placed = [
                number
                for number in objects
                if _place(open_stack, session, number, (_Seen(start, first.masks[number]), seen[number]), index)
            ]
            found = carry(session, index, placed)
            if cancel.cancelled:
                return
            empty = {number: np.zeros_like(first.masks[number]) for number in objects if number not in placed}
            yield Moment(index, {**found.masks, **empty}, {**found.confidence, **dict.fromkeys(empty, 0.0)})
            # An object that is lost is looked for where it was seen last.
            seen |= {number: _Seen(index, mask) for number, mask in found.masks.items() if mask.any()}


@dataclass(frozen=True)
class _Seen:
    """Where an object was in a moment (slices, rows, columns)."""

    moment: int
    mask: Mask


def _carried(
    session: VolumeSession,
    index: int,
    objects: Sequence[int],
    cancel: CancelToken,
    course: Mapping[str, Any],
    drawing: Mapping[str, Any],
) -> Moment:
    """Carry objects through the volume of one moment."""
    if not objects:
        return Moment(index, {}, {})
    for _ in session.propagate(cancel=cancel, objects=objects, **course):
        pass
    masks = {number: session.mask(number, **drawing) for number in objects}
    return Moment(index, masks, {number: _mean_confidence(session, number) for number in objects})


def _mean_confidence(session: VolumeSession, number: int) -> float:
    known = [result.confidence for result in session.results(number).values() if result.area_mm2 > 0]
    return float(np.mean(known)) if known else 0.0


def _place(open_stack: OpenStack, session: VolumeSession, number: int, seen: tuple[_Seen, _Seen], index: int) -> bool:
    """Track an object through time on its largest slice and give it to a session as a prompt; False if it is gone.

    It was `seen` in the prompted moment, and last in another.
    """
    areas = seen[1].mask.sum(axis=(1, 2))
    place = int(areas.argmax())
    if not areas[place]:
        return False
    known = {one.moment: one.mask[place] for one in seen if one.mask[place].any()}
    track = open_stack([*((moment, place) for moment in known), (index, place)])
    for at, mask in enumerate(known.values()):
        track.add_mask(number, at, mask)
    for _ in track.propagate(direction="forward", objects=[number]):
        pass
    mask = track.mask(number)[len(known)]
    if mask.any():
        session.add_mask(number, place, mask)
    return bool(mask.any())
