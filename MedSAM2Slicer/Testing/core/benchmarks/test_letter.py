"""MedSAM-2's memory to the letter: what is measured, and the document."""

from __future__ import annotations

import letter
from ablation import Volume
from measuring import Source
from medsam2_core.memory_bank import Recency, SelfSorting
from medsam2_core.training.cases import Structure

VOLUME = Volume("Chest CT", Source("starter"), (Structure(1, "a", 9.4), Structure(2, "b", 20.0)))


def test_each_bank_has_one_thing_of_the_paper_and_the_last_all_of_them() -> None:
    (_, default), (_, ours), *one_by_one, (_, all_of_them) = letter.banks(seed=7).items()
    assert (default, ours) == (Recency(), SelfSorting())
    changes = [{key: value for key, value in vars(rule).items() if value != vars(ours)[key]} for _, rule in one_by_one]
    assert changes == [
        {"weights": "linear"},
        {"weights": "linear", "seed": 7},
        {"size": 16},
        {"repeats_prompts": True},
    ]
    assert {key: value for one in changes for key, value in one.items()} == {
        key: value for key, value in vars(all_of_them).items() if value != vars(ours)[key]
    }


def test_shares_of_the_slices_are_measured_beside_one_box() -> None:
    jobs = letter.make_jobs(VOLUME, seeds=2)
    assert len(jobs) == 2 * len(letter.cells()) == 2 * (7 + 6)
    assert [job.settings.seed for job in jobs[:4]] == [0, 1, 0, 1]
    policies = {(type(job.settings.memory), job.settings.policy.percent) for job in jobs}
    assert {(Recency, percent) for percent in (None, 5, 10, 25)} <= policies


def test_the_document() -> None:
    dice = {("a", 0): 0.5, ("b", 0): 0.7, ("a", 1): 0.5, ("b", 1): 0.7}
    better = {pair: value + 0.125 for pair, value in dice.items()}
    tables = {name: better if "25%" in name else dice for name, _, _ in letter.cells()}
    text = letter.document("origin\n", [VOLUME], {"Chest CT": tables}, 2)
    assert "a (9 mL), b (20 mL)." in text
    assert "| to the letter | 0.600 |" in text
    assert "| recency | 0.600 | 0.600 | 0.600 | 0.725 |" in text
