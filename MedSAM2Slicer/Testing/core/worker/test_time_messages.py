"""Objects through time on the wire: the same after the way there and back; anything else is a WorkerError."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medsam2_core.errors import WorkerError
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.time_steps import MomentAnswer, TimeStep, time_step_from_wire, time_step_to_wire
from medsam2_core.worker.wire import Buffer, Decoder, Frame, Header, encode

GRID = (3, 5, 7)


def sent(header: Header, payloads: list[Buffer]) -> Frame:
    (frame,) = Decoder().feed(b"".join(bytes(buffer) for buffer in encode(header, payloads)))
    return frame


def packed() -> PackedMask:
    mask = np.zeros(GRID[1:], bool)
    mask[1:4, 2:7] = True
    return PackedMask.of(mask)


def message() -> tuple[Header, list[Buffer]]:
    payloads: list[Buffer] = []
    answers = (MomentAnswer(3, {0: packed(), 2: packed()}, 0.5), MomentAnswer(4, {}, 0.0))
    return time_step_to_wire(TimeStep(1, 2, 4, answers), payloads), payloads


def test_a_step_arrives_as_it_was() -> None:
    found = time_step_from_wire(sent(*message()), 4, GRID)
    assert (found.moment, found.done, found.planned) == (1, 2, 4)
    assert [(answer.object_id, answer.confidence, list(answer.masks)) for answer in found.answers] == [
        (3, 0.5, [0, 2]),
        (4, 0.0, []),
    ]
    assert np.array_equal(found.answers[0].masks[2].full(GRID[1:]), packed().full(GRID[1:]))


@pytest.mark.parametrize(
    ("moments", "grid"),
    [(1, GRID), (4, (2, 5, 7)), (4, (3, 5, 6))],
)
def test_a_step_about_what_is_not_there(moments: int, grid: Any) -> None:
    with pytest.raises(WorkerError):
        time_step_from_wire(sent(*message()), moments, grid)


@pytest.mark.parametrize("changed", [{"moment": "1"}, {"objects": [1]}, {"done": None}, {"objects": [{"object": 1}]}])
def test_what_is_no_step(changed: Header) -> None:
    header, payloads = message()
    with pytest.raises(WorkerError):
        time_step_from_wire(sent({**header, **changed}, payloads), 4, GRID)
