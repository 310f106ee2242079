"""What the document says of corrections; making them is tested in Testing/headless."""

from __future__ import annotations

import numpy as np

import corrections
from corrections import Correction


def correction(structure: str, before: float, after: float, number: int = 1) -> Correction:
    return Correction(structure, 12.0, number, 7, before, after, 0, 20, 3, 2, 0.5)


def test_changes_outside_the_interval_are_counted() -> None:
    before = np.zeros((5, 2, 2), bool)
    after = before.copy()
    after[0, 0, 0] = after[2] = after[4, 1] = True
    assert corrections._changed_outside(before, after, range(1, 4)) == 3


def test_the_document() -> None:
    done = [correction("a", 0.5, 0.8), correction("b", 0.4, 0.35), correction("a", 0.8, 0.9, number=2)]
    text = corrections.document("origin\n", done)
    assert "| 1 | 2 | 0.450 | 0.575 | 50% | 1 | 0.050 | 0 | 20.0 | 3.0 | 2.0 | 0.5 |" in text
    assert "| 2 | 1 | 0.800 | 0.900 | 100% | 0 | 0.000 | 0 |" in text
    assert "rises in 50% of the structures (90% are wanted); these fall by more than 0.01: b (-0.050)" in text
    assert "| b | 12 | 0.400 | 0.350 (7) |  |" in text
    assert "none falls by more than 0.01" in corrections.findings(done[:1])
