from __future__ import annotations

import pytest

from medsam2_core.errors import PromptError
from medsam2_core.memory_bank import MEMORY_RULES, SelfSorting, memory_rule
from medsam2_core.memory_name import MEMORIES, MemoryName, parse_memory


def test_names_are_those_of_the_rules() -> None:
    assert set(MEMORIES) == set(MEMORY_RULES)
    for name in MEMORIES:
        assert parse_memory(name) == MemoryName(name)
        assert memory_rule(name) is MEMORY_RULES[name]


def test_a_self_sorting_bank_may_have_a_size() -> None:
    assert parse_memory("self-sorting:8") == MemoryName("self-sorting", 8)
    assert memory_rule("self-sorting:8") == SelfSorting(size=8)
    assert memory_rule(SelfSorting(size=3)) == SelfSorting(size=3)


@pytest.mark.parametrize(
    "text",
    ["", "fifo", "recency:6", "pooled:6", "self-sorting:", "self-sorting:0", "self-sorting:65", "self-sorting:-1"],
)
def test_other_names_are_refused_with_the_choices(text: str) -> None:
    with pytest.raises(PromptError, match="self-sorting, recency or pooled"):
        memory_rule(text)
