"""Memory banks that are compared, and what the document says of their differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import ablation
from ablation import Volume
from measuring import Source
from medsam2_core.memory_bank import MEMORY_RULES, Recency, SelfSorting
from medsam2_core.memory_name import DEFAULT_MEMORY
from medsam2_core.training.cases import Structure
from medsam2_core.training.evaluation import Row

PAIRS = [(name, seed) for name in ("a", "b", "c") for seed in (0, 1)]


def dice(*values: float) -> dict[tuple[str, int], float]:
    return dict(zip(PAIRS, values, strict=True))


DEFAULT = dice(0.5, 0.5, 0.6, 0.6, 0.2, 0.4)


def test_every_self_sorting_bank_differs_from_the_first_in_one_thing() -> None:
    banks = ablation.banks(seed=7)
    (name, default), (_, pooled), (_, sorting), *others = banks.items()
    assert (name, default, pooled, sorting) == ("recency (6)", Recency(), Recency(pooled=True), SelfSorting())
    assert MEMORY_RULES[DEFAULT_MEMORY] == default
    assert len({repr(rule) for rule in banks.values()}) == len(banks) == 12
    for _, rule in others:
        changed = [key for key, value in vars(rule).items() if value != vars(sorting)[key]]
        assert len(changed) == 1
    assert banks["drawn by chance"] == SelfSorting(seed=7)


def test_banks_get_the_same_boxes_and_chance_another_seed_each_time() -> None:
    volume = Volume("v", Source("starter"), (Structure(1, "a", 9.0),))
    jobs = ablation.make_jobs(volume, range(3))
    assert len(jobs) == 36
    assert [job.settings.seed for job in jobs[:6]] == [0, 1, 2, 0, 1, 2]
    assert [job.settings.memory.seed for job in jobs[-3:]] == [0, 1, 2]
    assert {job.structures for job in jobs} == {volume.structures}


def test_rows_become_pairs(row: Callable[..., Row]) -> None:
    rows = [[row("a", 0.1), row("b", 0.2)], [row("a", 0.3), row("b", 0.4)]]
    assert ablation.by_pair(rows) == {("a", 0): 0.1, ("b", 0): 0.2, ("a", 1): 0.3, ("b", 1): 0.4}


def test_differences_are_paired() -> None:
    one = ablation.compare(dice(0.6, 0.6, 0.7, 0.7, 0.3, 0.5), DEFAULT)
    assert one.difference == pytest.approx(0.1)
    assert one.over_pairs == pytest.approx(0)
    assert (one.better, one.worse) == (6, 0)


def test_boxes_of_a_structure_are_no_independent_samples() -> None:
    one = ablation.compare(dice(0.8, 0.8, 0.6, 0.6, 0.2, 0.4), DEFAULT)
    assert one.difference == pytest.approx(0.1)
    assert one.over_pairs == pytest.approx(0.0632, abs=1e-4)  # deviation 0.155 over the root of 6
    assert one.over_structures == pytest.approx(0.1)  # 0.173 over the root of 3
    assert (one.better, one.worse) == (2, 0)


def test_only_clear_differences_are_said_to_be_any() -> None:
    clear, unclear = dice(0.6, 0.6, 0.7, 0.7, 0.3, 0.51), dice(0.8, 0.8, 0.6, 0.6, 0.2, 0.4)
    text = ablation.findings({"default": DEFAULT, "clear": clear, "unclear": unclear})
    assert text == "More than 2 standard errors from the default: clear (+0.102); no other bank is.\n"
    assert ablation.findings({"default": DEFAULT, "x": unclear}).startswith("No bank differs")


def test_the_document() -> None:
    volume = Volume("Chest CT", Source("starter"), (Structure(1, "a", 9.4), Structure(2, "b", 20.0)))
    other = dice(0.4, 0.4, 0.6, 0.6, 0.2, 0.4)
    text = ablation.document("origin\n", [volume], {"Chest CT": {"default": DEFAULT, "other": other}})
    assert "a (9 mL), b (20 mL)." in text
    assert "| default | 0.467 | 0.200 | 0.433 | 0.047 |  |  |  |  |  |" in text
    assert "| other | 0.433 | 0.200 | 0.400 | 0.047 | -0.033 | 0.021 | 0.033 | 0 | 2 |" in text
