"""Stop rules on the wire. Their region travels as packed masks of the slices along k that it is on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError, WorkerError
from medsam2_core.setting import plain_rows
from medsam2_core.stopping import StopRules
from medsam2_core.worker import fields
from medsam2_core.worker.masks import PackedMask, mask_from_wire, mask_to_wire
from medsam2_core.worker.wire import Buffer, Frame, Header

VolumeShape = tuple[int, int, int]


def rules_to_wire(rules: StopRules, payloads: list[Buffer]) -> Header:
    """Stop rules for a header; the masks of the region are added to `payloads`."""
    plain = {row.name: getattr(rules, row.name) for row in plain_rows(StopRules)}
    return {**plain, "inside": None if rules.inside is None else _region_to_wire(rules.inside, payloads)}


def rules_from_wire(header: Header, frame: Frame, shape_kji: VolumeShape) -> StopRules:
    """The rules that a part of a header describes, for a volume of that shape. Raises WorkerError or VolumeError."""
    plain = {row.name: fields.setting(header, row) for row in plain_rows(StopRules)}
    region = None if header.get("inside") is None else fields.mapping(header, "inside")
    return StopRules(**plain, inside=None if region is None else _region(region, frame, shape_kji))


def _region_to_wire(inside: npt.NDArray[np.bool_], payloads: list[Buffer]) -> Header:
    slices = [
        {"k": k, **mask_to_wire(PackedMask.of(mask), payloads)}
        for k, mask in enumerate(inside.astype(bool))
        if mask.any()
    ]
    return {"shape_kji": list(inside.shape), "slices": slices}


def _region(header: Header, frame: Frame, shape_kji: VolumeShape) -> npt.NDArray[np.bool_]:
    shape = fields.numbers(header, "shape_kji", 3)
    if shape != shape_kji:
        raise VolumeError(
            f"The region to stay in has the shape {tuple(map(int, shape))} but the volume {shape_kji}: give one on "
            "the volume's grid."
        )
    inside = np.zeros(shape_kji, dtype=bool)
    for item in fields.objects(header, "slices"):
        k = fields.whole(item, "k")
        if not 0 <= k < len(inside):
            raise WorkerError(f"The region to stay in has slice {k} of a volume of {counted(len(inside), 'slice')}.")
        inside[k] = mask_from_wire(item, frame, shape_kji[1:]).full(shape_kji[1:])
    return inside
