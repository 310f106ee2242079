"""`make ablation`, its second part: MedSAM-2's memory to the letter of the paper; writes docs/memory-letter.md.

The two volumes are those of `ablation.py`.

    python benchmarks/letter.py                    about an hour of one core
    python benchmarks/letter.py --structures 5     a part of the structures, spread evenly in size
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from ablation import DOCS, Dice, Volume, bank_table, by_pair, findings, open_volumes
from measuring import MIN_ML, Job, measure
from medsam2_core.memory_bank import MemoryRule, Recency, SelfSorting
from medsam2_core.training.evaluation import Settings
from medsam2_core.training.policies import Policy
from medsam2_core.weights.model_file import find_model
from report_tables import table

POLICIES = ("box", "5%-boxes", "10%-boxes", "25%-boxes")
_STRUCTURES, _SEEDS = 12, 2
_OF_SHARES = ("recency", "to the letter")

_INTRODUCTION = """How MedSAM-2's paper (Zhu et al., arXiv 2408.00874) describes its memory, beside what is done here.
The starter was trained with neither: it was trained with SAM 2's bank of the most recent slices, the default.

| | in the paper | here, with `self-sorting` |
| --- | --- | --- |
| weight of a memory | its part of the sum of similarities (*linear weights*) | softmax of the similarities |
| resampling | drawn with replacement (*drawn by chance*) | as often as it would be drawn on average |
| bank size K | 16 in the released code | 6 |
| least predicted IoU | not given | 0.5 |
| prompts | their tokens enter every slice (*prompts on every slice*) | prompted slices stay in the bank |

The first table of each volume has one box on the largest slice, drawn again for each of {seeds} seeds, and one setting
of the paper at a time in place of ours; *to the letter* has all of them. Its columns are those of
`docs/memory-ablation.md`.
The second has boxes on a share of the slices that the structure is on, evenly spread; the paper's table has about 25 %.
"""


def main() -> None:
    """Measure, then write the document."""
    options = _options()
    volumes = open_volumes(options.model, options.structures)
    jobs = [job for volume in volumes for job in make_jobs(volume, options.seeds)]
    rows = iter(measure(jobs, options.processes))
    tables = {
        volume.title: {name: by_pair([next(rows) for _ in range(options.seeds)]) for name, _, _ in cells()}
        for volume in volumes
    }
    model = find_model(options.model)
    origin = f"Written by `make ablation`; model `{model.name}`, sha256 `{model.sha256()[:16]}`.\n"
    path = options.output / "memory-letter.md"
    path.write_text(document(origin, volumes, tables, options.seeds), encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--structures", type=int, default=_STRUCTURES, help="of each volume")
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="of the box's jitter")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for memory-letter.md")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


def banks(seed: int) -> dict[str, MemoryRule]:
    """The banks by name, the default first; `seed` is of those that leave something to chance."""
    ours = SelfSorting()
    return {
        "recency": Recency(),
        "self-sorting": ours,
        "linear weights": replace(ours, weights="linear"),
        "linear weights, drawn by chance": replace(ours, weights="linear", seed=seed),
        "K = 16": replace(ours, size=16),
        "prompts on every slice": replace(ours, repeats_prompts=True),
        "to the letter": SelfSorting(size=16, seed=seed, weights="linear", repeats_prompts=True),
    }


def cells() -> list[tuple[str, str, str]]:
    """What is measured: its name, the bank and the policy. All banks have one box, some a share of the slices, too."""
    shares = [(f"{bank}, {policy}", bank, policy) for bank in _OF_SHARES for policy in POLICIES[1:]]
    return [(bank, bank, POLICIES[0]) for bank in banks(0)] + shares


def make_jobs(volume: Volume, seeds: int) -> list[Job]:
    """One job for each cell and seed, cell by cell."""
    return [
        Job(
            volume.source,
            Settings(Policy.parse(policy), banks(seed)[bank], min_ml=MIN_ML, seed=seed),
            volume.structures,
        )
        for _, bank, policy in cells()
        for seed in range(seeds)
    ]


def document(origin: str, volumes: Sequence[Volume], tables: Mapping[str, Mapping[str, Dice]], seeds: int) -> str:
    """The whole text, from the Dice of each cell by its name, of each volume by its title."""
    parts = ["# The memory of MedSAM-2 to the letter\n", origin, _INTRODUCTION.format(seeds=seeds)]
    for volume in volumes:
        measured = tables[volume.title]
        one_box = {bank: measured[bank] for bank in banks(0)}
        names = ", ".join(f"{one.name} ({one.volume_ml:.0f} mL)" for one in volume.structures)
        parts += [f"## {volume.title}\n", f"Structures, by name or label: {names}.\n", bank_table(one_box)]
        parts += [findings(one_box), _shares(measured)]
    return "\n".join(parts)


def _shares(measured: Mapping[str, Dice]) -> str:
    def dice(bank: str, policy: str) -> str:
        name = bank if policy == POLICIES[0] else f"{bank}, {policy}"
        return f"{mean(measured[name].values()):.3f}"

    lines = [(bank, *(dice(bank, policy) for policy in POLICIES)) for bank in _OF_SHARES]
    return table(("mean Dice", "one box", "5 % of slices", "10 %", "25 %"), lines)


if __name__ == "__main__":
    main()
