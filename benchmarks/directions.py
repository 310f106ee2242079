"""`make directions`: objects followed along one axis and along all three, and what their disagreement tells.

Writes docs/directions.md. By the abdomen CT, which may be trained and tuned on, a default may be chosen; the chest CT
of the demo, never trained or tuned on, shows whether the choice carries over.

    python benchmarks/directions.py                    every structure of 5 mL and more
    python benchmarks/directions.py --structures 12    a part of them, spread evenly in size
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

import numpy as np
import numpy.typing as npt

from ablation import DOCS, Volume, open_volumes
from direction_costs import Costs, measure_costs, told
from measuring import MIN_ML, Job, measure
from medsam2_core.directions import ONE, THREE
from medsam2_core.training.evaluation import Row, Settings
from medsam2_core.training.policies import Policy
from medsam2_core.weights.model_file import find_model
from MedSAM2SlicerLib.scene.slicereview import CONFIDENCE_DROP, LARGE_DISAGREEMENT
from report_tables import table

WAYS = ONE, THREE
"""Directions that are compared; the first is the default."""

_WRONG = 0.7 / (2 - 0.7)  # IoU of a slice whose Dice is 0.7
_EXTREMES = 10
_TOGETHER = 8  # structures measured one way, then the next way

_INTRODUCTION = """An object gets one box, on its largest slice, and is followed through the whole volume: along the
axis of its slices (*one*), or along all three (*three*), as MedSAM-2's paper has it: from the slices of the other two
axes that show most of what the first one drew, both ways, with the mean of the three probabilities as the answer.
`medsam2_core/crossing.py` says what the paper leaves open and what is done here. Both ways get the same structures and
boxes.

Three axes give each slice one more number, the **disagreement**: the share of axes that say otherwise than the mask,
mean over all pixels that any of them calls the object's. Does it find wrong slices (Dice under 0.7)? AUC is the
probability that of two slices, a wrong and a right one, the wrong one is the more doubtful: 0.5 is a guess, 1 is never
mistaken. *Both* is the larger of the two ranks, by confidence and by disagreement. The strip in Slicer marks slices
whose confidence is {drop:g} below the median of their object; then those whose disagreement is {large:g} or more.
"""
_HEADINGS = ("axes", "mean Dice", "worst ten", "difference", "better", "worse")
_CLEAR = 0.01  # of Dice: what is counted as better or worse


Ways = Mapping[str, Sequence[Row]]
"""Rows of the same structures, in their order, by directions."""


def main() -> None:
    """Measure, then write the document."""
    options = _options()
    volumes = open_volumes(options.model, options.structures)
    jobs = [job for volume in volumes for job in make_jobs(volume)]
    measured = measure(jobs, options.processes)
    model = find_model(options.model)
    origin = f"Written by `make directions`; model `{model.name}`, sha256 `{model.sha256()[:16]}`."
    path = options.output / "directions.md"
    rows = {volume.title: by_way(volume, jobs, measured) for volume in volumes}
    path.write_text(document(origin, volumes, rows, measure_costs(volumes[-1])), encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--structures", type=int, default=1000, help="at most so many of each volume")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for directions.md")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


def make_jobs(volume: Volume) -> list[Job]:
    """Both ways for some structures, then for the next ones."""
    box = Settings(Policy.parse("box"), min_ml=MIN_ML)
    count = math.ceil(len(volume.structures) / _TOGETHER)
    parts = [volume.structures[at::count] for at in range(count)]  # of all sizes each
    return [Job(volume.source, replace(box, directions=way), part) for part in parts for way in WAYS]


def by_way(volume: Volume, jobs: Sequence[Job], measured: Sequence[Sequence[Row]]) -> Ways:
    """The rows of a volume by directions, structure by structure."""
    found: dict[str, list[Row]] = {way: [] for way in WAYS}
    for job, rows in zip(jobs, measured, strict=True):
        if job.source == volume.source:
            found[job.settings.directions] += rows
    return found


# What disagreement tells


@dataclass(frozen=True)
class Finding:
    """How well wrong slices are told from right ones, as areas under curves; how many there are of each."""

    confidence: float
    disagreement: float
    both: float
    wrong: int
    right: int


def find_wrong(rows: Sequence[Row]) -> Finding | None:
    """Judge the slices that three axes drew; None if all are right or all are wrong."""
    slices = [one for row in rows for one in row.slices if one.disagreement is not None]
    wrong = np.array([one.iou < _WRONG for one in slices], dtype=bool)
    if not wrong.any() or wrong.all():
        return None
    unsure = ranks([-one.confidence for one in slices])
    divided = ranks([one.disagreement or 0.0 for one in slices])
    areas = [area_under_curve(doubt, wrong) for doubt in (unsure, divided, np.maximum(unsure, divided))]
    return Finding(*areas, int(wrong.sum()), int((~wrong).sum()))


@dataclass(frozen=True)
class Marks:
    """Whether slices were wrong: those the strip marks by confidence, further ones by disagreement, all others."""

    unsure: list[bool]
    divided: list[bool]
    others: list[bool]


def marks(rows: Sequence[Row]) -> Marks:
    """What the strip marks of the slices that three axes drew."""
    found = Marks([], [], [])
    for row in rows:
        slices = [one for one in row.slices if one.disagreement is not None]
        typical = median(one.confidence for one in slices) if slices else 0.0
        for one in slices:
            if typical - one.confidence >= CONFIDENCE_DROP:
                kind = found.unsure
            else:
                kind = found.divided if (one.disagreement or 0.0) >= LARGE_DISAGREEMENT else found.others
            kind.append(one.iou < _WRONG)
    return found


def ranks(values: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The place of each value (n,) among all of them, 1 for the smallest; equal ones share the mean of theirs."""
    _, place, count = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    shared: npt.NDArray[np.float64] = (last - (count - 1) / 2)[place.ravel()]
    return shared


def area_under_curve(doubt: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]) -> float:
    """The probability that a wrong slice is more doubtful than a right one, equal ones counted half (Mann-Whitney)."""
    positive, negative = int(wrong.sum()), int((~wrong).sum())
    return float((ranks(doubt)[wrong].sum() - positive * (positive + 1) / 2) / (positive * negative))


# The document


def document(origin: str, volumes: Sequence[Volume], measured: Mapping[str, Ways], costs: Sequence[Costs]) -> str:
    """The whole text, from the rows of each volume by its title, and what some structures cost."""
    introduction = _INTRODUCTION.format(drop=CONFIDENCE_DROP, large=LARGE_DISAGREEMENT)
    parts = ["# One axis or three\n", origin + "\n", introduction]
    for volume in volumes:
        ways = measured[volume.title]
        count = len(ways[ONE])
        parts += [f"## {volume.title}\n", f"{count} structures of {MIN_ML:g} mL and more.\n"]
        parts += [_ways(ways), _extremes(ways), _doubts(ways), _marks(marks(ways[THREE]))]
    cost = ["## What it costs\n", told(costs)]
    return "\n".join([*parts, *cost, "## What follows\n", conclusion(measured, costs)])


def _ways(ways: Ways) -> str:
    return table(_HEADINGS, [_line(name, rows, ways[ONE]) for name, rows in ways.items()])


def _line(name: str, rows: Sequence[Row], default: Sequence[Row]) -> tuple[str, ...]:
    dice, beside = [row.dice for row in rows], ("", "", "")
    if rows is not default:
        differences = _differences(rows, default)
        better, worse = (sum(sign * one > _CLEAR for one in differences) for sign in (1, -1))
        beside = (f"{mean(differences):+.3f}", str(better), str(worse))
    worst = mean(sorted(dice)[:_EXTREMES])
    return name, f"{mean(dice):.3f}", f"{worst:.3f}", *beside


def _differences(rows: Sequence[Row], others: Sequence[Row]) -> list[float]:
    return [one.dice - other.dice for one, other in zip(rows, others, strict=True)]


def _extremes(ways: Ways) -> str:
    """The structures that three axes change for the better and for the worse most."""
    pairs = sorted(zip(ways[ONE], ways[THREE], strict=True), key=lambda pair: pair[1].dice - pair[0].dice)
    count = min(_EXTREMES, len(pairs) // 2)

    def named(chosen: Sequence[tuple[Row, Row]]) -> str:
        return ", ".join(f"{row.structure} ({row.dice:.2f} to {other.dice:.2f})" for row, other in chosen)

    return f"Best {count} with three axes: {named(pairs[::-1][:count])}.\n\nWorst {count}: {named(pairs[:count])}.\n"


def _doubts(ways: Ways) -> str:
    found = find_wrong(ways[THREE])
    if found is None:
        return "All slices are right, or all are wrong: nothing is to be told apart.\n"
    areas = (f"{area:.3f}" for area in (found.confidence, found.disagreement, found.both))
    headings = ("AUC of wrong slices", "confidence", "disagreement", "both", "wrong", "right")
    return table(headings, [("three axes", *areas, str(found.wrong), str(found.right))])


def _marks(found: Marks) -> str:
    named = {"by confidence": found.unsure, "further ones by disagreement": found.divided, "not marked": found.others}
    lines = [(name, str(len(wrong)), f"{mean(wrong):.0%}" if wrong else "") for name, wrong in named.items()]
    return table(("slices in the strip", "number", "wrong"), lines)


def conclusion(measured: Mapping[str, Ways], costs: Sequence[Costs]) -> str:
    """Say what the figures come to: of Dice, of time, and of disagreement."""
    gains = {title: mean(_differences(ways[THREE], ways[ONE])) for title, ways in measured.items()}
    changes = ", ".join(f"{gain:+.3f} ({title.partition(',')[0]})" for title, gain in gains.items())
    worth = "Three axes are worth that." if min(gains.values()) > _CLEAR else "One axis stays the default."
    found = [one for one in (find_wrong(ways[THREE]) for ways in measured.values()) if one is not None]
    helps = bool(found) and all(max(one.disagreement, one.both) > one.confidence for one in found)
    doubt = "ranks wrong slices better" if helps else "does not rank wrong slices better on both volumes"
    ratios = sorted(one[THREE].seconds / one[ONE].seconds for one in costs)
    return (
        f"Three axes change mean Dice by {changes}, for {ratios[0]:.1f} to {ratios[-1]:.1f} times the processor time "
        f"({len(costs)} structures of the last volume). {worth} Disagreement, alone or beside confidence, {doubt} than "
        "confidence alone.\n"
    )


if __name__ == "__main__":
    main()
