"""The short measurement of `medsam2 benchmark`: what a user waits for, with one model on one volume."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import medsam2_core as m2
from medsam2_core.image.window import AS_GIVEN
from medsam2_core.model import SAM2
from medsam2_core.speed.ceilings import measure_ceilings
from medsam2_core.speed.peak import peak_bytes
from medsam2_core.speed.sample import ellipsoid, ellipsoid_box
from medsam2_core.speed.steps import total, work

_OBJECT = 1
_CLICKS = 5  # on a slice that was seen
_NO_RULES = m2.StopRules(absent_slices=None)


@dataclass(frozen=True)
class Speed:
    """Slices and seconds of a first propagation and of one after a correction; clicks in seconds; peak in bytes.

    `floor_share` is the shortest time that the device could take for a slice of the first propagation, by its measured
    ceilings, divided by the time it took.
    """

    first: float  # slices per second
    correction: float  # slices per second
    new_click: float
    seen_click: float
    peak: int | None
    floor_share: float


def measure(model: SAM2, slices: int, side: int) -> Speed:
    """Segment an ellipsoid of `slices` slices of side x side pixels from a box, correct it, and click on it."""
    session = m2.VolumeSession(model, ellipsoid(slices, side), window=AS_GIVEN)
    middle = side / 2
    new_click, *seen_clicks = (_click(session, 0, (middle + number, middle)) for number in range(_CLICKS + 1))
    session.remove_object(_OBJECT)
    start = slices // 2
    session.add_box(_OBJECT, start, ellipsoid_box(side))
    first = _rate(session.propagate(stop=_NO_RULES))
    session.add_points(_OBJECT, (start + slices) // 2, [(middle, middle)], [1])
    correction = _rate(session.propagate(first=start, stop=_NO_RULES))
    parts = work(model.config, model.precision).values()
    floor = measure_ceilings(model.device, model.precision).floor_seconds(total(parts))
    return Speed(first, correction, new_click, median(seen_clicks), peak_bytes(model.device), floor * first)


def _click(session: m2.VolumeSession, index: int, point: tuple[float, float]) -> float:
    """Seconds until a click is answered, added to those on the slice before."""
    started = time.perf_counter()
    session.add_points(_OBJECT, index, [point], [1])
    session.predict_slice(index)
    return time.perf_counter() - started


def _rate(steps: Iterable[m2.PropagationStep]) -> float:
    """Slices per second of a propagation."""
    started = time.perf_counter()
    reached = {step.slice_index for step in steps}
    return len(reached) / (time.perf_counter() - started)
