"""`medsam2 benchmark`: a short page of numbers, with any model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medsam2_core.speed import ceilings

PAGE = r"""model         .*random\.pt at 64 pixels
device        cpu, 1 threads, (float32|bfloat16)
volume        synthetic, 4 slices of 512 x 512
propagation   [\d.]+ slices/s
correction    [\d.]+ slices/s
click         \d+ ms on a new slice, \d+ ms on a seen one
memory        [\d.]+ GB at most
floor         \d+% of the speed that this device's products and copies would allow
"""


def test_the_page(run, capsys, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_SIDE", {"cpu": 256})
    assert run("benchmark", "--model", checkpoint, "--device", "cpu", "--slices", 4) == 0
    assert re.fullmatch(PAGE, capsys.readouterr().out)


@pytest.mark.parametrize("words", [("--slices", "2"), ("--slices", "many"), ("--model", "no such model")])
def test_what_cannot_be_measured_is_one_line(run, capsys, words: tuple[str, ...]) -> None:
    assert run("benchmark", *words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
