"""What the report says of a case: volumes, confidence, doubt, and agreement with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medsam2_core.arrays import Array, Mask
from medsam2_core.image.measure import volume_ml
from medsam2_core.training.metrics import dice, surface_dice

TOLERANCE_MM = 3.0
"""Within which two surfaces agree: about the thickness of a slice."""

_LOW = 10  # percentile of a run's confidences that its doubt goes by: one odd slice at an end needs no look

Facts = dict[str, Any]


def object_facts(item: Mapping[str, Any], first: int) -> Facts:
    """The facts of an object of a report. `strip`: percent of confidence for each slice from the first with any."""
    slices = item["slices"]
    present = [one for one in slices if one["area_mm2"] > 0]
    percent = {one["slice_index"]: _percent(one) for one in slices}
    start = min(percent, default=first)
    return {
        "name": item["name"],
        "color": item["color"],
        "volume_ml": item["volume_ml"],
        "slices": len(present),
        "doubt": doubt(present),
        "lowest": _lowest(present),
        "stops": dict(item["stopped"]),
        "start": start,
        "strip": [percent.get(index) for index in range(start, max(percent, default=start - 1) + 1)],
        "prompted": [one["slice_index"] for one in slices if one["direction"] == "prompt"],
    }


def doubt(present: Sequence[Mapping[str, Any]]) -> float:
    """0 to 1: how little the confidence is on the worst tenth of the slices with a mask; 1 where nothing was found."""
    known = [one["confidence"] for one in present if one["confidence"] is not None]
    return 1.0 if not known else round(1 - float(np.percentile(known, _LOW)), 4)


def agreement(found: Mask, wanted: Mask, spacing: tuple[float, float, float]) -> Facts:
    """How well a mask agrees with a reference of the same shape, both (k, j, i); volumes in mL."""
    return {
        "dice": dice(found, wanted),
        "surface_dice": surface_dice(found, wanted, spacing, TOLERANCE_MM),
        "reference_ml": volume_ml(wanted, spacing),
    }


def case_facts(report: Mapping[str, Any], labelmap: Array, references: Mapping[str, Mask]) -> Facts:
    """The facts of a case, of its report, its label map (k, j, i) and the references of objects by their names."""
    first, last = report["settings"]["range"]
    objects = [object_facts(item, first) for item in report["objects"]]
    spacing = tuple(report["volume"]["spacing_kji"])
    for item, told in zip(report["objects"], objects, strict=True):
        if item["name"] in references:
            told["agreement"] = agreement(labelmap == item["label"], references[item["name"]], spacing)
    return {
        "doubt": max((told["doubt"] for told in objects), default=1.0),
        "range": [first, last],
        "objects": objects,
        "slices_per_second": report["slices_per_second"],
    }


def compared_ml(item: Mapping[str, Any]) -> float:
    """The volume of an object that its agreement with a reference is about: the model's, if a person corrected it."""
    return float(item["agreement"].get("model_ml", item["volume_ml"]))


def _lowest(present: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """The lowest confidence and its slice."""
    known = [(one["confidence"], one["slice_index"]) for one in present if one["confidence"] is not None]
    return list(min(known)) if known else None


def _percent(one: Mapping[str, Any]) -> int | None:
    """Confidence in percent; None where there is no mask."""
    if one["area_mm2"] <= 0:
        return None
    return 0 if one["confidence"] is None else round(100 * one["confidence"])
