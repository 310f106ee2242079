"""Masks, prompts and results on the wire: the same after the way there and back; anything else is a WorkerError."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medsam2_core.errors import MedSAM2Error, PromptError, WorkerError
from medsam2_core.image.segments import Segment
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, RunObject, ScribblePrompt, same_prompt
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.objects import objects_from_wire, objects_to_wire
from medsam2_core.worker.results import (
    ObjectAnswer,
    ObjectRecord,
    Propagated,
    SliceRecord,
    Step,
    step_from_wire,
    step_to_wire,
)
from medsam2_core.worker.wire import Decoder, Frame, encode

SHAPE = (7, 11)
masks = st.lists(st.booleans(), min_size=77, max_size=77).map(lambda bits: np.array(bits).reshape(SHAPE))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def sent(header, payloads) -> Frame:
    (frame,) = Decoder().feed(b"".join(bytes(buffer) for buffer in encode(header, payloads)))
    return frame


@given(masks)
def test_a_mask_is_packed_and_unpacked(mask: np.ndarray) -> None:
    packed = PackedMask.of(mask)
    packed.check(SHAPE)
    assert np.array_equal(packed.full(SHAPE), mask)
    assert (packed.box is None) == (not mask.any())
    assert packed.crop.sum() == mask.sum()


def test_a_mask_is_no_larger_than_its_object() -> None:
    mask = np.zeros((512, 512), bool)
    mask[100:116, 200:232] = True
    packed = PackedMask.of(mask)
    assert packed.box == (100, 200, 116, 232)
    assert len(packed.bits) == 16 * 32 // 8


@pytest.mark.parametrize(
    ("box", "size"), [((0, 0, 8, 1), 1), ((0, 0, 1, 12), 2), ((-1, 0, 1, 1), 1), ((2, 2, 2, 3), 0), ((0, 0, 2, 4), 2)]
)
def test_a_mask_that_does_not_fit_is_refused(box, size: int) -> None:
    with pytest.raises(WorkerError, match="mask came"):
        PackedMask(box, bytes(size)).check(SHAPE)


def test_objects_arrive_as_they_were() -> None:
    mask = np.arange(77).reshape(SHAPE) % 3 == 0
    prompts = (
        PointsPrompt(3, ((1.25, 2.0), (0.0, 6.5)), (True, False)),
        ScribblePrompt(3, ((2.5, 3.0), (4.0, 3.0)), False),
        BoxPrompt(3, (0.5, 1.0, 9.0, 6.0)),
        MaskPrompt(5, mask),
        MaskPrompt(6, mask & False),
    )
    payloads: list = []
    items = [RunObject(Segment("liver", 7, (1, 0, 0)), prompts), RunObject(Segment("x", 65535, (1, 0, 0)), ())]
    found = objects_from_wire(sent({"objects": objects_to_wire(items, payloads)}, payloads), lambda _: SHAPE)
    assert [item.segment.label for item in found] == [7, 65535]
    assert all(map(same_prompt, found[0].prompts, prompts))
    assert len(found[0].prompts) == 5


@pytest.mark.parametrize("label", [0, -1, 65536])
def test_ids_that_are_no_labels(label: int) -> None:
    with pytest.raises(PromptError, match="label"):
        objects_from_wire(Frame({"objects": [{"id": label, "prompts": []}]}), lambda _: SHAPE)


def test_an_object_that_comes_twice() -> None:
    with pytest.raises(PromptError, match="have the same id"):
        objects_from_wire(Frame({"objects": [{"id": 1, "prompts": []}] * 2}), lambda _: SHAPE)


@given(json_values, json_values, json_values, st.sampled_from(["points", "scribble", "box", "mask", "else"]))
def test_prompts_of_any_shape_are_taken_or_refused(first, second, third, kind: str) -> None:
    prompt = {"kind": kind, "slice_index": first, "points_xy": second, "include": third, "box": second, "mask": second}
    for objects in (first, [first], [{"id": 1, "prompts": first}], [{"id": 1, "prompts": [prompt]}]):
        with suppress(MedSAM2Error):
            objects_from_wire(Frame({"objects": objects}, (b"\xff",)), lambda _: SHAPE)


@given(json_values, json_values)
def test_steps_of_any_shape_are_taken_or_refused(first, second) -> None:
    header = {"slice_index": 1, "direction": "forward", "done": 1, "planned": 2, "masks": second}
    mask = {"object": 1, "confidence": first, "object_score": None, "box": second, "payload": 0}
    for changed in ({}, {"slice_index": first}, {"done": first}, {"masks": [first]}, {"masks": [mask]}):
        with suppress(WorkerError):
            step_from_wire(Frame({**header, **changed}, (b"\xff",)), (3, *SHAPE))


def test_a_step_arrives_as_it_was() -> None:
    mask = PackedMask.of(np.eye(7, 11, dtype=bool))
    step = Step(2, "backward", 3, 9, (ObjectAnswer(4, mask, 0.5, math.nan), ObjectAnswer(5, mask, 0.25, -3.0)))
    payloads: list = []
    found = step_from_wire(sent(step_to_wire(step, payloads), payloads), (3, *SHAPE))
    assert [(answer.object_id, answer.confidence) for answer in found.answers] == [(4, 0.5), (5, 0.25)]
    assert math.isnan(found.answers[0].object_score)
    assert np.array_equal(found.answers[1].mask.full(SHAPE), np.eye(7, 11, dtype=bool))
    assert (found.slice_index, found.direction, found.done, found.planned) == (2, "backward", 3, 9)


def test_a_result_arrives_as_it_was_and_nan_as_null() -> None:
    records = (SliceRecord(0, 0.5, -2.0, "prompt", 3.5), SliceRecord(2, 0.25, 1.0, "three", 0.0, 0.125))
    objects = (ObjectRecord(3, {"forward": "cancelled"}, records),)
    result = Propagated(True, 1.5, objects, 4, {"runs": 7, "hits": 2}, taken_back=True)
    assert Propagated.from_wire(json.loads(json.dumps(result.to_wire())), 3) == result
    with pytest.raises(WorkerError, match="slice 2"):
        Propagated.from_wire(result.to_wire(), 2)
    odd = Propagated(False, 1.0, (ObjectRecord(3, {}, (SliceRecord(0, math.inf, math.nan, "both", 1.0),)),))
    assert odd.to_wire()["objects"][0]["slices"][0]["confidence"] is None
