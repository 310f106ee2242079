"""Averaging the checkpoints of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import mean_weights
import medsam2_core as m2
from medsam2_core.weights.checkpoint import read_checkpoint, save_checkpoint


def test_the_mean_of_two_runs_lies_between_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        model = m2.build_model("starter", 64)
        states.append(model.state_dict())
        (tmp_path / name).mkdir()
        save_checkpoint(tmp_path / name / "model.pt", states[-1], model.config)
    runs = [str(tmp_path / name) for name in ("first", "second")]
    monkeypatch.setattr("sys.argv", ["mean_weights.py", *runs, "--output", str(tmp_path / "mean")])
    mean_weights.main()
    found = read_checkpoint(tmp_path / "mean" / "model.pt")
    assert found.config == m2.CONFIGS["starter"].at_size(64)
    for name, value in found.state.items():
        torch.testing.assert_close(value, (states[0][name] + states[1][name]) / 2)
    assert any(not torch.equal(value, states[0][name]) for name, value in found.state.items())
