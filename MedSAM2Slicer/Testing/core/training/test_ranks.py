"""Training by several processes, as torchrun starts them: the same as by one that goes through as many batches."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import CEILING

from medsam2_core.errors import DeviceError, WeightsError
from medsam2_core.training import loop
from medsam2_core.training.config import load_config
from medsam2_core.training.loop import _Own, train
from medsam2_core.training.ranks import Ranks, joined
from medsam2_core.training.synthesis import make_corpus

CPU = torch.device("cpu")
TRAIN = "from medsam2_core.cli.main import run; raise SystemExit(run())"
STEPS = 4

pytestmark = pytest.mark.usefixtures("single_thread")


def write_config(folder: Path, steps: int, **changes: Any) -> Path:
    if not (folder / "corpus").exists():
        make_corpus(folder / "corpus", 2, seed=1, shape=(12, 48, 48), workers=1)
    values = {
        "model": "starter",
        "data": {str(folder / "corpus"): 1.0},
        "phases": [{"steps": 2, "length": 1, "clips": 4}, {"steps": steps - 2, "length": 3, "clips": 4}],
        "image_size": 64,
        "warmup_steps": STEPS,
        "loader_workers": 0,
        "compile_encoder": False,
        "bfloat16": False,
        "save_every": 1,
        **changes,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def torchrun(config: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """`torchrun --no-python medsam2 train` with two processes on CPUs."""
    launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    words = ["train", str(config), "--output", str(output), "--device", "cpu"]
    command = [sys.executable, *launched, sys.executable, "-c", TRAIN, *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)


def assert_same(one: Path, other: Path) -> None:
    first, second = (torch.load(folder / "state.pt", weights_only=True) for folder in (one, other))
    assert first["step"] == second["step"] == STEPS
    for kind in ("model", "average"):
        for name, value in first[kind].items():
            torch.testing.assert_close(second[kind][name], value, atol=2e-5, rtol=0)


class StopError(Exception):
    pass


def stopping_after(step: int) -> Any:
    """What saves a run's state, and stops it at a step."""
    saved = loop._Run.save

    def save(run: Any) -> None:
        saved(run)
        if run.step == step:
            raise StopError

    return save


def test_two_processes_learn_what_one_does_and_go_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes through two of the four batches of a step; then a run of one process is ended by two."""
    train(load_config(write_config(tmp_path, STEPS, accumulate=4)), tmp_path / "one", Ranks(CPU))
    both = write_config(tmp_path, STEPS, accumulate=2)
    done = torchrun(both, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "two/model.pt")]
    assert_same(tmp_path / "one", tmp_path / "two")

    monkeypatch.setattr(loop._Run, "save", stopping_after(3))
    with pytest.raises(StopError):
        train(load_config(write_config(tmp_path, STEPS, accumulate=4)), tmp_path / "parts", Ranks(CPU))
    done = torchrun(write_config(tmp_path, STEPS, accumulate=2), tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "one", tmp_path / "parts")


def test_processes_share_the_clips_of_a_step() -> None:
    shares = [list(itertools.islice(_Own(100, 3, Ranks(CPU, rank, 2)), 12)) for rank in range(2)]
    assert shares[0] == [100, 101, 102, 106, 107, 108, 112, 113, 114, 118, 119, 120]
    assert sorted(itertools.chain(*shares)) == list(range(100, 124))


def test_clips_that_cannot_be_shared(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, STEPS, accumulate=3))
    with pytest.raises(WeightsError, match="4 clips cannot be shared equally by 2 processes of 3 batches each: make"):
        train(config, tmp_path / "run", Ranks(CPU, 0, 2))
    with pytest.raises(WeightsError, match="accumulate is 0: give a number"):
        train(replace(config, accumulate=0), tmp_path / "run", Ranks(CPU))


def test_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined("cpu") as ranks:
        assert ranks == Ranks(CPU)
        assert ranks.is_first


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"more processes than there are GPUs \(1\): lower"), joined("auto"):
        pass
