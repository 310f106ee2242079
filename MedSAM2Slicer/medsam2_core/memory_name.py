"""Names of memory banks, as sessions, command lines and runs write them: recency, pooled, self-sorting:8."""

from __future__ import annotations

from dataclasses import dataclass

from medsam2_core.errors import PromptError
from medsam2_core.setting import Whole

MEMORIES = ("self-sorting", "recency", "pooled")
DEFAULT_MEMORY = "recency"
"""What measures best with the starter: from one box mean Dice 0.605, self-sorting 0.583, difference 0.022 +- 0.009 (125
structures of its training volumes; `docs/memory-ablation.md` has more). Published models were trained with it."""
LARGEST_BANK = 64
SEED = Whole()
SEED_IS = f"a whole number from {SEED.least} to {SEED.most}"
SEED_WITHOUT_EFFECT = "The seed has no effect without order 'arrival' and self-sorting memory: omit it."


@dataclass(frozen=True)
class MemoryName:
    """A kind of bank; `size` is that of a self-sorting one, None for its default."""

    kind: str
    size: int | None = None


def parse_memory(text: str) -> MemoryName:
    """Read a name. Raises PromptError for one that no bank has."""
    kind, colon, size = text.partition(":")
    if kind in MEMORIES and not colon:
        return MemoryName(kind)
    if kind == "self-sorting" and size.isdecimal() and 1 <= int(size) <= LARGEST_BANK:
        return MemoryName(kind, int(size))
    *others, last = MEMORIES
    raise PromptError(
        f"No memory bank is called {text[:40]!r}: choose {', '.join(others)} or {last}, the first with a size from 1 "
        f"to {LARGEST_BANK} if you like (self-sorting:8)."
    )


def check_seed(seed: object) -> None:
    """Raise PromptError for what cannot be the seed of a bank; None is no seed."""
    if seed is not None and not SEED.holds(seed):
        raise PromptError(f"{seed!r} cannot be a seed: give {SEED_IS}.")


def draws(order: str, memory: str) -> bool:
    """Whether a set of images in this order has its memories drawn by chance, so that a seed has an effect."""
    return order == "arrival" and memory.partition(":")[0] == "self-sorting"
