"""What a run says at its end, from its report: a line for each object, and one on the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def summary_lines(report: Mapping[str, Any]) -> list[str]:
    """The lines for a report as `build_report` makes it."""
    settings = report["settings"]
    lines = [_object_line(item, settings["window"]["name"]) for item in report["objects"]]
    speed = report["slices_per_second"]
    lines.append(
        f"{report['seconds']:.1f} s"
        + (f", {speed:.1f} slices/s" if speed else "")
        + f" ({settings['model']}, {settings['device']}, {settings['memory']} memory, {settings['field_of_view']} view)"
    )
    return lines


def shown_ml(volume: float) -> str:
    """A volume for eyes: to a tenth of a mL, or two digits of one that would be 0 then."""
    return f"{volume:.1f} mL" if volume >= 0.05 or volume == 0 else f"{volume:.2g} mL"


def _object_line(item: Mapping[str, Any], window: str) -> str:
    """Volume, slices, lowest confidence and why it stopped; or, for an empty mask, what to try."""
    present = [facts for facts in item["slices"] if facts["area_mm2"] > 0]
    if not present:
        prompted = [facts["slice_index"] for facts in item["slices"] if facts["direction"] == "prompt"]
        return f"{item['name']}: Nothing found on {_slices(prompted)}. Try a box, or another window (now: {window})."
    parts = [
        f"{item['name']}: {shown_ml(item['volume_ml'])} on {_slices([facts['slice_index'] for facts in present])}",
        *_lowest_confidence(present),
        *(f"{direction} {reason}" for direction, reason in item["stopped"].items()),
    ]
    return "; ".join(parts) + "."


def _lowest_confidence(present: Sequence[Mapping[str, Any]]) -> list[str]:
    known = [facts for facts in present if facts["confidence"] is not None]
    if not known:
        return []
    worst = min(known, key=lambda facts: float(facts["confidence"]))
    return [f"lowest confidence {worst['confidence']:.2f} on slice {worst['slice_index']}"]


def _slices(indexes: Sequence[int]) -> str:
    """Slices in ascending order, in words."""
    if len(indexes) == 1:
        return f"slice {indexes[0]}"
    gaps = "" if len(indexes) == indexes[-1] - indexes[0] + 1 else ", with gaps"
    return f"{len(indexes)} slices ({indexes[0]} to {indexes[-1]}{gaps})"
