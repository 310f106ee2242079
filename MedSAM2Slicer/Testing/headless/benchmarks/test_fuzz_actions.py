"""A sample of the random users of `make fuzz`, and that they find what they look for."""

from __future__ import annotations

from typing import Any

import pytest

import fuzz_actions
from MedSAM2SlicerLib.runner import Runner
from MedSAM2SlicerLib.work.segmentwork import SegmentWork


def test_whatever_is_done_what_is_theirs_stays_and_clicks_are_drawn(scene: object) -> None:
    assert fuzz_actions.fuzz(range(0, 2000, 50)) == []


def test_a_seed_is_played_the_same_again(scene: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_actions.User, "end", lambda _user: 1 / 0)
    first, again = fuzz_actions.fuzz([7, 7])
    assert first.actions == again.actions
    assert "ZeroDivisionError" in first.what


@pytest.mark.parametrize(
    ("place", "name", "broken", "said"),
    [
        (SegmentWork, "keeps", lambda *_: False, "were theirs and were changed"),
        (SegmentWork, "noteWritten", lambda *_: None, "were never painted"),
        (Runner, "_goOn", lambda *_: None, "were not drawn"),
        (Runner, "interrupt", lambda *_: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_faults_are_found(
    scene: object, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, broken: Any, said: str
) -> None:
    monkeypatch.setattr(place, name, broken)
    found = fuzz_actions.fuzz(range(40))
    assert any(said in fault.what for fault in found)
