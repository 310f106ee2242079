"""Objects through time on the wire: their masks in each moment as they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medsam2_core.errors import WorkerError
from medsam2_core.worker import fields
from medsam2_core.worker.masks import PackedMask, mask_from_wire, mask_to_wire
from medsam2_core.worker.results import Grid, slice_index
from medsam2_core.worker.wire import Buffer, Frame, Header


@dataclass(frozen=True)
class MomentAnswer:
    """One object in one moment: its masks by stored slice, those that are not empty, and their mean confidence."""

    object_id: int
    masks: Mapping[int, PackedMask]
    confidence: float


@dataclass(frozen=True)
class TimeStep:
    """The objects in a moment, `done` of `planned` moments."""

    moment: int
    done: int
    planned: int
    answers: tuple[MomentAnswer, ...]


def time_step_to_wire(step: TimeStep, payloads: list[Buffer]) -> Header:
    """The fields of a header; masks are added to `payloads`."""
    objects = [
        {
            "object": answer.object_id,
            "confidence": answer.confidence,
            "masks": [{"slice_index": index, **mask_to_wire(mask, payloads)} for index, mask in answer.masks.items()],
        }
        for answer in step.answers
    ]
    return {"moment": step.moment, "done": step.done, "planned": step.planned, "objects": objects}


def time_step_from_wire(frame: Frame, moments: int, grid: Grid) -> TimeStep:
    """Read a step on so many volumes of `grid`. Raises WorkerError."""
    header = frame.header
    moment = fields.whole(header, "moment")
    if not 0 <= moment < moments:
        raise WorkerError(f"A message came about moment {moment} of {moments}.")
    answers = tuple(_answer(item, frame, grid) for item in fields.objects(header, "objects"))
    return TimeStep(moment, fields.whole(header, "done"), fields.whole(header, "planned"), answers)


def _answer(item: Header, frame: Frame, grid: Grid) -> MomentAnswer:
    found = fields.objects(item, "masks")
    masks = {slice_index(one, grid[0]): mask_from_wire(one, frame, grid[1:]) for one in found}
    return MomentAnswer(fields.whole(item, "object"), masks, fields.number(item, "confidence"))
