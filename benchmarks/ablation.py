"""`make ablation`: memory banks compared on the same structures and boxes; writes docs/memory-ablation.md.

Two volumes are measured. By the abdomen CT, which may be trained and tuned on, a default may be chosen. The chest CT of
the demo, never trained or tuned on, shows whether the choice carries over.

    python benchmarks/ablation.py              about half an hour of one core
    python benchmarks/ablation.py --quick      two structures and two boxes of each

`letter.py` is its second part.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import training_data
from measuring import MIN_ML, Job, Source, measure, open_case, spread
from medsam2_core.memory_bank import MemoryRule, Recency, SelfSorting
from medsam2_core.training.cases import Structure
from medsam2_core.training.evaluation import Row, Settings
from medsam2_core.training.policies import Policy
from medsam2_core.weights.model_file import find_model
from report_tables import table

DOCS = Path(__file__).resolve().parents[1] / "docs"
_STRUCTURES, _QUICK_STRUCTURES = 12, 2  # of each volume
_SEEDS, _QUICK_SEEDS = 3, 2  # of the box's jitter
_CLEAR = 0.01  # of Dice: what is counted as better or worse
_SURE = 2.0  # standard errors that make a difference worth a sentence

Dice = Mapping[tuple[str, int], float]
"""Dice by structure and seed."""

_INTRODUCTION = """Each bank is measured with one box on the largest slice, the whole volume as range and the field of
view the model was trained with; the box is drawn again, up to 3 % off on each edge, for every seed. The same structures
and boxes are given to all banks, so that the differences to the default mean something where the means themselves,
over few structures spread evenly in size, do not. The default is SAM 2's bank of the most recent slices. For the
self-sorting bank, one setting at a time differs from those in the third line: bank size K, the predicted IoU under
which a slice is not admitted, the time codes (see `memory_bank.SelfSorting`), and memories drawn by chance as in the
paper instead of weighted.

Mean and worst: volumetric Dice over all structures and boxes. Worst box: the mean over structures of their lowest Dice.
Spread: the mean over structures of the standard deviation over boxes. Difference: to the default, mean; +- its standard
error over (structure, box) pairs, then over structures, whose boxes are not independent samples: go by the latter.
Better, worse: pairs that differ from the default by more than 0.01.
"""
_HEADINGS = (
    "memory bank", "mean", "worst", "worst box", "spread", "difference", "+- pairs", "+- structures", "better", "worse",
)  # fmt: skip


@dataclass(frozen=True)
class Volume:
    """A volume, what is measured of it, and what the document says of it."""

    title: str
    source: Source
    structures: tuple[Structure, ...]


@dataclass(frozen=True)
class Comparison:
    """A bank beside the default: mean difference of Dice and its standard error over pairs and over structures."""

    difference: float
    over_pairs: float
    over_structures: float
    better: int
    worse: int


def main() -> None:
    """Measure all banks on both volumes, then write the document."""
    options = _options()
    seeds = range(_QUICK_SEEDS if options.quick else _SEEDS)
    volumes = open_volumes(options.model, _QUICK_STRUCTURES if options.quick else _STRUCTURES)
    jobs = [job for volume in volumes for job in make_jobs(volume, seeds)]
    rows = iter(measure(jobs, options.processes))
    tables = {volume.title: {name: by_pair([next(rows) for _ in seeds]) for name in banks(0)} for volume in volumes}
    model = find_model(options.model)
    quick = " A quick look, not the whole measurement." if options.quick else ""
    origin = f"Written by `make ablation`; model `{model.name}`, sha256 `{model.sha256()[:16]}`.{quick}\n"
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "memory-ablation.md"
    path.write_text(document(origin, volumes, tables), encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--quick", action="store_true", help="few structures and boxes")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for memory-ablation.md")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


def open_volumes(model: str, count: int) -> list[Volume]:
    """Both volumes with `count` structures each, spread evenly in size."""
    real = training_data.ROOT / "real"
    if not (real / "abdomen-ct").is_dir():
        training_data.write_pairs(real, training_data.real_pairs())
    named = {"Abdomen CT, which the model was trained on": real / "abdomen-ct", "Chest CT, never trained on": None}
    return [
        Volume(title, Source(model, folder), tuple(spread(open_case(folder).structures(MIN_ML), count)))
        for title, folder in named.items()
    ]


def banks(seed: int) -> dict[str, MemoryRule]:
    """All banks by name, the default first; `seed` is of the one that leaves something to chance."""
    sorting = SelfSorting()
    rules: dict[str, MemoryRule] = {
        "recency (6)": Recency(),
        "pooled (6), a token for 2 x 2": Recency(pooled=True),
        f"self-sorting, K = {sorting.size}, IoU >= {sorting.min_confidence}, codes by {sorting.time_codes}": sorting,
    }
    sizes = {f"K = {size}": replace(sorting, size=size) for size in (4, 6, 8, 16)}
    confidences = {f"IoU >= {least}": replace(sorting, min_confidence=least) for least in (0.0, 0.3, 0.5, 0.7)}
    codes = {
        "codes by rank": replace(sorting, time_codes="rank"),
        "codes by age": replace(sorting, time_codes="age"),
        "the same code for all": replace(sorting, time_codes="same"),
    }
    chance = {"drawn by chance": replace(sorting, seed=seed)}
    others = {**sizes, **confidences, **codes, **chance}
    return rules | {name: rule for name, rule in others.items() if rule != sorting}


def make_jobs(volume: Volume, seeds: Sequence[int]) -> list[Job]:
    """One job for each bank and seed, bank by bank."""
    box = Policy.parse("box")
    return [
        Job(volume.source, Settings(box, banks(seed)[name], min_ml=MIN_ML, seed=seed), volume.structures)
        for name in banks(0)
        for seed in seeds
    ]


def by_pair(rows_of_seeds: Sequence[Sequence[Row]]) -> dict[tuple[str, int], float]:
    """Dice by structure and seed."""
    return {(row.structure, seed): row.dice for seed, rows in enumerate(rows_of_seeds) for row in rows}


def compare(dice: Dice, default: Dice) -> Comparison:
    """Compare a bank with the default, pair by pair; both have the same two structures or more, and seeds."""
    differences = {pair: dice[pair] - default[pair] for pair in default}
    values = list(differences.values())
    return Comparison(
        float(np.mean(values)),
        _standard_error(values),
        _standard_error([float(np.mean(group)) for group in _by_structure(differences).values()]),
        sum(value > _CLEAR for value in values),
        sum(value < -_CLEAR for value in values),
    )


def _by_structure(values: Dice) -> dict[str, list[float]]:
    groups: dict[str, list[float]] = {}
    for (structure, _), value in values.items():
        groups.setdefault(structure, []).append(value)
    return groups


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


# The document


def document(origin: str, volumes: Sequence[Volume], tables: Mapping[str, Mapping[str, Dice]]) -> str:
    """The whole text: a table for each volume, by its title, with all banks in it, the default first."""
    parts = ["# Memory banks in 3D\n", origin, _INTRODUCTION]
    for volume in volumes:
        banks_of_volume = tables[volume.title]
        names = ", ".join(f"{one.name} ({one.volume_ml:.0f} mL)" for one in volume.structures)
        parts += [
            f"## {volume.title}\n",
            f"Structures, by name or label: {names}.\n",
            bank_table(banks_of_volume),
            findings(banks_of_volume),
        ]
    return "\n".join(parts)


def bank_table(tables: Mapping[str, Dice]) -> str:
    """A line for each bank by its name, the default first."""
    default = next(iter(tables.values()))
    return table(_HEADINGS, [(name, *_numbers(dice), *_beside(dice, default)) for name, dice in tables.items()])


def _numbers(dice: Dice) -> list[str]:
    groups = list(_by_structure(dice).values())
    values = (
        np.mean(list(dice.values())),
        min(dice.values()),
        np.mean([min(group) for group in groups]),
        np.mean([np.std(group, ddof=1) for group in groups]),
    )
    return [f"{value:.3f}" for value in values]


def _beside(dice: Dice, default: Dice) -> list[str]:
    if dice is default:
        return [""] * 5
    one = compare(dice, default)
    errors = (f"{one.over_pairs:.3f}", f"{one.over_structures:.3f}")
    return [f"{one.difference:+.3f}", *errors, str(one.better), str(one.worse)]


def findings(tables: Mapping[str, Dice]) -> str:
    """Say in one sentence which banks differ from the default by two standard errors (over structures) and more."""
    (_, default), *others = tables.items()
    compared = {name: compare(dice, default) for name, dice in others}
    sure = {n: one for n, one in compared.items() if abs(one.difference) > _SURE * one.over_structures}
    if not sure:
        return f"No bank differs from the default by more than {_SURE:g} standard errors.\n"
    said = ", ".join(f"{name} ({one.difference:+.3f})" for name, one in sure.items())
    return f"More than {_SURE:g} standard errors from the default: {said}; no other bank is.\n"


if __name__ == "__main__":
    main()
