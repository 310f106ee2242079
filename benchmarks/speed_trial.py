"""One measurement of `make benchmark` in a process of its own, so that its memory is its own.

Takes a `Trial` as JSON and prints what was measured as JSON: seconds, and the peak in bytes.

    python benchmarks/speed_trial.py '{"contender": "ours", "slices": 4, "image_size": 256}'
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import open_data
from contenders import CLICKED, CONTENDERS, Box, Contender, Gray, build_ours, finish
from medsam2_core.image.window import Window
from medsam2_core.io import read_volume
from medsam2_core.model.precision import set_precision
from medsam2_core.processor import share_cores
from medsam2_core.speed.ceilings import measure_ceilings
from medsam2_core.speed.peak import peak_bytes
from medsam2_core.speed.sample import ellipsoid
from medsam2_core.speed.steps import seconds, steps

_CLICKS = 5  # after the first one
_REPEATS = 3  # of each step
_SIDE = 512

Found = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """What is measured: a contender's clicks, first propagation and, of one object, a correction; or steps' floor.

    `volume` is "ct", the demo's, or "synthetic"; `wait` is OpenMP's policy and `busy` how many other processes compute
    meanwhile, which both are the parent's to arrange.
    """

    contender: str
    slices: int = 12
    objects: int = 1
    image_size: int = 512
    config: str = "sam2.1_hiera_tiny"
    device: str = "cpu"
    volume: str = "synthetic"
    wait: str = "PASSIVE"
    busy: int = 0
    precision: str = "float32"  # of the floor


def main() -> None:
    """Measure and print."""
    share_cores()
    trial = Trial(**json.loads(sys.argv[1]))
    with torch.inference_mode():
        found = measure_floor(trial) if trial.contender == "floor" else measure(trial)
    print(json.dumps(found))


def measure(trial: Trial) -> Found:
    """Clicks on a slice, then boxes on the middle slice that are propagated, then one more click."""
    contender = CONTENDERS[trial.contender](trial.config, trial.image_size, trial.device)
    volume = stack(trial.volume, trial.slices)
    contender.open(volume)
    cold, *warm = _clicks(contender, trial.slices // 4)
    contender.open(volume)
    start = trial.slices // 2

    def first() -> None:
        for number, box in enumerate(boxes(trial.objects), start=CLICKED):
            contender.box(number, start, box)
        contender.propagate(start)

    found = {"click, new slice": cold, "click, seen slice": statistics.median(warm), "first": _timed(contender, first)}
    if trial.objects == 1:
        index = (start + trial.slices) // 2
        found["correction"] = _timed(contender, lambda: contender.correct(index, (256.0, 256.0), start))
    return {**found, "peak": peak_bytes(contender.device) or 0}


def measure_floor(trial: Trial) -> Found:
    """The device's ceilings, and what each step of a slice takes."""
    model = set_precision(build_ours(trial.config, trial.image_size).to(trial.device), trial.precision)
    ceilings = measure_ceilings(model.device, model.precision)
    timed = {name: seconds(step, model.device, _REPEATS) for name, step in steps(model).items()}
    return {"flops": ceilings.flops_per_s, "bytes": ceilings.bytes_per_s, **timed}


def stack(name: str, slices: int) -> Gray:
    """Slices (n, 512, 512) of the demo's CT, back and forth where it has fewer, or of a synthetic volume."""
    if name == "synthetic":
        return ellipsoid(slices, _SIDE)
    ct = Window.ct("abdomen").to_uint8(read_volume(open_data.chest_ct().ct).array)
    there_and_back = [*range(len(ct)), *range(len(ct) - 2, 0, -1)]
    start = max(len(ct) // 2 - slices // 2, 0)
    chosen = [there_and_back[(start + number) % len(there_and_back)] for number in range(slices)]
    return np.ascontiguousarray(ct[chosen])


def boxes(count: int) -> list[Box]:
    """Boxes in a row of eight, some pixels apart."""
    return [(40.0 + 50 * place, 160.0 + 10 * place, 120.0 + 50 * place, 300.0 + 10 * place) for place in range(count)]


def _clicks(contender: Contender, index: int) -> list[float]:
    """Seconds of clicks on a slice, each added to those before it."""
    points = [(200.0 + 10 * number, 240.0) for number in range(_CLICKS + 1)]
    return [
        _timed(contender, lambda count=count: contender.click(index, points[:count]))
        for count in range(1, len(points) + 1)
    ]


def _timed(contender: Contender, task: Callable[[], object]) -> float:
    finish(contender)
    started = time.perf_counter()
    task()
    finish(contender)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
