"""A sample of `make fuzz`, and that it finds what it looks for."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
from pathlib import Path

import pytest

import fuzz
from medsam2_core.cli import info

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def test_good_files_are_taken(tmp_path: Path) -> None:
    good = fuzz.seeds(tmp_path)
    (tmp_path / "out").mkdir()
    for kind, path in good.items():
        if kind != "labels.csv":  # which needs a folder of its own
            assert fuzz.judged(kind, path, good) == "0", kind


def test_damaged_files_are_taken_or_refused_in_one_sentence() -> None:
    counts, faults = fuzz.fuzz(range(0, 10_000, 43))
    assert faults == []
    assert sum(counts.values()) == 233
    assert {kind for kind, what in counts if what == "2"} == {kind for kind, _ in counts}


def test_tracebacks_aborts_and_hangs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> None:
        raise ZeroDivisionError

    def abort(_path: Path) -> None:
        faulthandler.disable()  # its page looks like a fault of the tests
        os.abort()

    monkeypatch.setattr(fuzz, "LONGEST_SECONDS", 1.0)
    for ending, words in (
        (fail, "ZeroDivisionError"),
        (abort, "ends the program"),
        (lambda _path: time.sleep(60), "hangs"),
    ):
        monkeypatch.setattr(info, "_lines", lambda path, _options, ending=ending: ending(path))
        counts, (fault,) = fuzz.fuzz([2])
        assert words in fault.what
        assert list(counts) == [("image.nii", "fault")]
