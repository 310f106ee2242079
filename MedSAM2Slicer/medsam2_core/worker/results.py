"""Answers of the worker, to the wire and back. Masks are in stored slices, as the client sent them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medsam2_core.counting import counted
from medsam2_core.errors import WorkerError
from medsam2_core.worker import fields
from medsam2_core.worker.masks import PackedMask, mask_from_wire, mask_to_wire
from medsam2_core.worker.wire import Buffer, Frame, Header

Grid = tuple[int, int, int]
"""Number of slices, and rows and columns of each."""


@dataclass(frozen=True)
class ObjectAnswer:
    """One object on one slice: its mask, predicted IoU, and the logit of being there (NaN if undefined)."""

    object_id: int
    mask: PackedMask
    confidence: float
    object_score: float


@dataclass(frozen=True)
class Step:
    """The objects that reached a slice. `done` of `planned` slices, over objects and directions.

    At prompts, and of slices drawn again, both are 0.
    """

    slice_index: int
    direction: str
    done: int
    planned: int
    answers: tuple[ObjectAnswer, ...]


@dataclass(frozen=True)
class SliceRecord:
    """What is known of one object on one slice without its pixels; direction and disagreement as of `SliceResult`."""

    slice_index: int
    confidence: float
    object_score: float
    direction: str
    area_mm2: float
    disagreement: float | None = None


@dataclass(frozen=True)
class ObjectRecord:
    """Every slice one object is on, and why each direction ended (a sentence, by direction)."""

    object_id: int
    stopped: dict[str, str]
    slices: tuple[SliceRecord, ...]


@dataclass(frozen=True)
class Propagated:
    """How a propagation or redrawing ended, after `rounds` (None: at its own end), for the objects that took part.

    Slices that an object's record does not list are empty. `encoder` counts views that were encoded ("runs") and those
    whose features were still kept ("hits"); nothing of a redrawing. Of one that was `taken_back` nothing is kept.
    """

    cancelled: bool
    seconds: float
    objects: tuple[ObjectRecord, ...]
    rounds: int | None = None
    encoder: Mapping[str, int] = field(default_factory=dict)
    taken_back: bool = False

    def to_wire(self) -> Header:
        """The fields of a header."""
        return {
            "cancelled": self.cancelled,
            "seconds": self.seconds,
            "objects": [_record_to_wire(item) for item in self.objects],
            "rounds": self.rounds,
            "encoder": dict(self.encoder),
            "taken_back": self.taken_back,
        }

    @staticmethod
    def from_wire(header: Header, slices: int) -> Propagated:
        """Read a result on a volume of `slices` slices. Raises WorkerError."""
        objects = tuple(_record(item, slices) for item in fields.objects(header, "objects"))
        counts = fields.mapping(header, "encoder")
        return Propagated(
            fields.flag(header, "cancelled"),
            fields.number(header, "seconds"),
            objects,
            fields.optional_whole(header, "rounds"),
            {name: fields.whole(counts, name) for name in counts},
            fields.flag(header, "taken_back"),
        )


def answers_to_wire(answers: Sequence[ObjectAnswer], payloads: list[Buffer]) -> list[Header]:
    """Answers for a header; masks are added to `payloads`."""
    return [
        {
            "object": answer.object_id,
            "confidence": _finite(answer.confidence),
            "object_score": _finite(answer.object_score),
            **mask_to_wire(answer.mask, payloads),
        }
        for answer in answers
    ]


def answers_from_wire(frame: Frame, grid: Grid) -> tuple[ObjectAnswer, ...]:
    """The answers in a frame's "masks". Raises WorkerError unless the masks fit slices of `grid`."""
    return tuple(
        ObjectAnswer(
            fields.whole(item, "object"),
            mask_from_wire(item, frame, grid[1:]),
            fields.result_number(item, "confidence"),
            fields.result_number(item, "object_score"),
        )
        for item in fields.objects(frame.header, "masks")
    )


def step_to_wire(step: Step, payloads: list[Buffer]) -> Header:
    """The fields of a header; masks are added to `payloads`."""
    return {
        "slice_index": step.slice_index,
        "direction": step.direction,
        "done": step.done,
        "planned": step.planned,
        "masks": answers_to_wire(step.answers, payloads),
    }


def step_from_wire(frame: Frame, grid: Grid) -> Step:
    """Read a step on a volume of `grid`. Raises WorkerError."""
    header = frame.header
    return Step(
        slice_index(header, grid[0]),
        fields.text(header, "direction"),
        fields.whole(header, "done"),
        fields.whole(header, "planned"),
        answers_from_wire(frame, grid),
    )


def _record_to_wire(record: ObjectRecord) -> Header:
    slices = [
        {
            "slice_index": item.slice_index,
            "confidence": _finite(item.confidence),
            "object_score": _finite(item.object_score),
            "direction": item.direction,
            "area_mm2": _finite(item.area_mm2),
            "disagreement": item.disagreement,
        }
        for item in record.slices
    ]
    return {"object": record.object_id, "stopped": record.stopped, "slices": slices}


def _record(header: Header, slices: int) -> ObjectRecord:
    stopped = fields.mapping(header, "stopped")
    return ObjectRecord(
        fields.whole(header, "object"),
        {direction: fields.text(stopped, direction) for direction in stopped},
        tuple(_slice_record(item, slices) for item in fields.objects(header, "slices")),
    )


def _slice_record(header: Header, slices: int) -> SliceRecord:
    return SliceRecord(
        slice_index(header, slices),
        fields.result_number(header, "confidence"),
        fields.result_number(header, "object_score"),
        fields.text(header, "direction"),
        fields.result_number(header, "area_mm2"),
        None if header.get("disagreement") is None else fields.number(header, "disagreement"),
    )


def slice_index(header: Header, slices: int) -> int:
    """The slice that a part of a header is about. Raises WorkerError unless a volume of `slices` slices has it."""
    index = fields.whole(header, "slice_index")
    if not 0 <= index < slices:
        raise WorkerError(f"A message came about slice {index} of a volume of {counted(slices, 'slice')}.")
    return index


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
