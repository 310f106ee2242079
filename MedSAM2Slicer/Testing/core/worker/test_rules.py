"""Stop rules on the wire: the same after the way there and back; a region that does not fit is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medsam2_core.errors import MedSAM2Error, VolumeError, WorkerError
from medsam2_core.stopping import StopRules
from medsam2_core.worker.rules import rules_from_wire, rules_to_wire
from medsam2_core.worker.wire import Decoder, Frame, encode

SHAPE = (3, 5, 7)


def sent(rules: StopRules) -> Frame:
    payloads: list[Any] = []
    buffers = encode({"stop": rules_to_wire(rules, payloads)}, payloads)
    (frame,) = Decoder().feed(b"".join(bytes(buffer) for buffer in buffers))
    return frame


def received(frame: Frame, shape: tuple[int, int, int] = SHAPE) -> StopRules:
    return rules_from_wire(frame.header["stop"], frame, shape)


def test_rules_arrive_as_they_were() -> None:
    for values in ((None, None, None, None, None), (2, 4.5, 0.25, 60.0, None)):
        found = received(sent(StopRules(*values)))
        assert (
            found.absent_slices, found.min_area_mm2, found.max_area_change, found.max_distance_mm, found.inside
        ) == values  # fmt: skip


@given(hnp.arrays(bool, SHAPE))
def test_a_region_arrives_as_it_was(inside: np.ndarray) -> None:
    found = received(sent(StopRules(inside=inside))).inside
    np.testing.assert_array_equal(found, inside)


def test_a_region_is_no_larger_than_what_it_marks() -> None:
    inside = np.zeros((200, 512, 512), bool)
    inside[50:60, 100:200, 200:360] = True
    assert sum(memoryview(payload).nbytes for payload in sent(StopRules(inside=inside)).payloads) == 10 * 100 * 160 // 8


def test_a_region_of_another_volume_is_refused() -> None:
    with pytest.raises(VolumeError, match=r"shape \(3, 5, 7\) but the volume \(3, 7, 5\)"):
        received(sent(StopRules(inside=np.ones(SHAPE, bool))), (3, 7, 5))


@pytest.mark.parametrize("k", [-1, 3])
def test_a_slice_that_is_none_is_refused(k: int) -> None:
    frame = sent(StopRules(inside=np.ones(SHAPE, bool)))
    frame.header["stop"]["inside"]["slices"][0]["k"] = k
    with pytest.raises(WorkerError, match="of a volume of 3 slices"):
        received(frame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["k", "box", "payload"]), inner),
    max_leaves=8,
)


@given(json_values, json_values)
def test_rules_of_any_shape_are_taken_or_refused(first: Any, second: Any) -> None:
    for stop in (
        {"absent_slices": first, "max_distance_mm": second},
        {"inside": first},
        {"inside": {"shape_kji": first, "slices": second}},
        {"inside": {"shape_kji": list(SHAPE), "slices": [first]}},
        {"inside": {"shape_kji": list(SHAPE), "slices": [{"k": 1, "box": first, "payload": second}]}},
    ):
        with suppress(MedSAM2Error):
            rules_from_wire(stop, Frame({}, (b"\xff",)), SHAPE)
