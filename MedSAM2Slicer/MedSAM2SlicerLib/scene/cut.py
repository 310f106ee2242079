"""How masks are drawn from what was propagated, which takes no model: a cut."""

from __future__ import annotations

from typing import Any

from medsam2_core.run.settings import rows_of, usual
from medsam2_core.run.values import plain

Cut = tuple[Any, ...]
"""The settings of the part "drawing" in the order of their table.

That is threshold (probability), smoothing across slices (mm), which parts stay, and whether holes are filled.
"""

PLAIN: Cut = tuple(usual("drawing").values())


def drawingOf(cut: Cut) -> dict[str, Any]:
    """Return the settings of the part "drawing", by name."""
    return {row.name: value for row, value in zip(rows_of("drawing"), cut, strict=True)}


def wholeCut(*values: Any) -> Cut:
    """Return a cut that begins with these values; the others are the usual ones."""
    return *values, *PLAIN[len(values) :]


def readCut(stored: Any) -> Cut | None:
    """Read a cut from JSON, None for none. Raises ValueError for anything else."""
    if stored is None:
        return None
    if not isinstance(stored, list | tuple) or len(stored) > len(PLAIN):
        raise ValueError(f"not how masks are drawn: {stored!r}")
    cut = zip(rows_of("drawing"), wholeCut(*stored), strict=True)  # an earlier version may have stored fewer
    return tuple(plain(row.kind, value, row.name) for row, value in cut)
