"""Corrections as a user makes them: what is drawn again, and what the document says of it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import corrections
from corrections import Correction
from medsam2_core.training.cases import Case


def correction(structure: str, before: float, after: float, number: int = 1) -> Correction:
    return Correction(structure, 12.0, number, 7, before, after, 0, 20, 3, 2, 0.5)


@pytest.mark.parametrize(
    ("index", "anchors", "span"),
    [
        (5, {2}, range(2, 11)),
        (1, {2}, range(3)),
        (5, {2, 4, 8, 10}, range(4, 9)),
        (2, {2}, range(11)),  # the box's own slice
        (2, {2, 6}, range(7)),
    ],
)
def test_the_interval_reaches_to_the_nearest_anchors(index: int, anchors: set[int], span: range) -> None:
    assert corrections.interval(index, anchors, 11) == span


def test_worst_slices_are_corrected_until_nothing_is_wrong(
    fakes: ModuleType, discs: Any, single_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections.Window, "parse", lambda *_: discs.window)
    labels = discs.truth["dark"].astype(np.uint8)
    labels[9] = np.roll(labels[9], 4, axis=1)  # a structure that the image does not show there
    case = Case("discs", discs.volume, labels, (2.0, 1.0, 1.0), {1: "dark"})
    done = list(corrections.correct(fakes.FakeModel(), case, case.structures(0)[0], rounds=20))
    assert [one.number for one in done] == list(range(1, len(done) + 1))
    assert len({one.slice_index for one in done}) == len(done) < 12
    assert done[0].slice_index == 9
    assert [one.before for one in done[1:]] == [one.after for one in done[:-1]]
    assert done[-1].after == 1
    assert all(one.gain > 0 and not one.outside and not one.encoded and not one.unseen for one in done)


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
