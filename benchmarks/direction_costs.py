"""What following an object along three axes costs beside one: the model's work, counted, and processor time.

Counts are the same on every machine, however busy. Processor times are taken in turns, one way, then the next way.

    python benchmarks/direction_costs.py    prints what docs/directions.md says of it
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from ablation import Volume, open_volumes
from measuring import MIN_ML, Job, run, single_thread, spread
from medsam2_core.directions import AXES, ONE, THREE
from medsam2_core.model import SAM2
from medsam2_core.training.evaluation import Settings
from medsam2_core.training.policies import Policy
from report_tables import table

STEPS = "encode", "recall", "decode", "memorize"
"""Methods of `SAM2`; each takes slices as the first axis of its first argument."""

MOST = 3.2
"""Times the cost of one axis that three may take."""

_STRUCTURES = 12  # of the volume, spread in size
_TURNS = 2  # of processor times, of which the smaller counts
_SECONDS = "processor time"


@dataclass(frozen=True)
class Cost:
    """What a structure took: slices that went through each of `STEPS`, and seconds of processor time."""

    slices: Mapping[str, int]
    seconds: float

    def beside(self, other: Cost) -> dict[str, float]:
        """How many times the other's this is, step by step and in time."""
        counted = {step: self.slices[step] / other.slices[step] for step in STEPS}
        return {**counted, _SECONDS: self.seconds / other.seconds}


Costs = Mapping[str, Cost]
"""Of one structure, by directions."""


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the slices that go through each step of any model."""
    slices, methods = Counter[str](), {step: getattr(SAM2, step) for step in STEPS}

    def counted(step: str) -> Any:
        def method(model: SAM2, batch: Any, *others: Any, **named: Any) -> Any:
            slices[step] += len(batch)
            return methods[step](model, batch, *others, **named)

        return method

    try:
        for step in STEPS:
            setattr(SAM2, step, counted(step))
        yield slices
    finally:
        for step in STEPS:
            setattr(SAM2, step, methods[step])


def measure_costs(volume: Volume, structures: int = _STRUCTURES, turns: int = _TURNS) -> list[Costs]:
    """What some structures of a volume cost each way, on one thread of this process."""
    single_thread()
    box, found = Settings(Policy.parse("box"), min_ml=MIN_ML), list[Costs]()
    for structure in spread(volume.structures, structures):
        jobs = {way: Job(volume.source, replace(box, directions=way), (structure,)) for way in AXES}
        if not found:
            run(jobs[ONE])  # the first time reads volume and model
        took = [{way: _cost(job) for way, job in jobs.items()} for _ in range(turns)]
        found.append({way: min((turn[way] for turn in took), key=lambda cost: cost.seconds) for way in AXES})
    return found


def _cost(job: Job) -> Cost:
    with counting() as slices:
        started = time.process_time()
        run(job)
        return Cost(dict(slices), time.process_time() - started)


def told(costs: Sequence[Costs]) -> str:
    """A part of the document: the table, and what it comes to."""
    ratios = [one[THREE].beside(one[ONE]) for one in costs]
    names = {**{step: f"slices through `{step}`" for step in STEPS}, _SECONDS: "processor time"}
    of = {name: sorted(one[name] for one in ratios) for name in names}
    lines = [(text, *(f"{value:.2f}" for value in (of[n][0], median(of[n]), of[n][-1]))) for n, text in names.items()]
    worst = max(values[-1] for values in of.values())
    verdict = (
        f"At most {worst:.2f} times" if worst <= MOST else f"Up to {worst:.2f} times, more than the {MOST:g} meant"
    )
    counts = table(("three axes beside one", "least", "median", "most"), lines)
    return f"{counts}\n{verdict}: {len(costs)} structures of the last volume, both ways in turns on one thread.\n"


def main() -> None:
    """Measure the demo's CT and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--structures", type=int, default=_STRUCTURES, help="so many, spread in size")
    options = parser.parse_args()
    print(told(measure_costs(open_volumes(options.model, options.structures)[-1], options.structures)))


if __name__ == "__main__":
    main()
