"""`make benchmark` at tiny sizes: contenders draw the same, a trial runs by itself, and the document says it all."""

from __future__ import annotations

import argparse
import importlib.util
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import open_data
import speed
import speed_trial
from contenders import CONTENDERS, Contender
from speed import Sizes
from speed_document import Outcome, document, draw, ratios
from speed_trial import Found, Trial

SIZE = 96
OF_ONE_OBJECT = {"click, new slice", "click, seen slice", "first", "correction", "peak"}
TINY = Sizes(SIZE, 8, 6, (8, 16), SIZE, rounds=2)
OPTIONS = argparse.Namespace(quick=True, image_size=None, long=None, rounds=None)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not transformers is installed, it does not take part."""
    monkeypatch.setattr(speed, "available", lambda device: ("ours", "sam2"))


def opened(name: str, slices: int) -> Contender:
    contender = CONTENDERS[name]("sam2.1_hiera_tiny", SIZE, "cpu")
    contender.open(speed_trial.stack("synthetic", slices))
    return contender


@pytest.mark.usefixtures("single_thread")
@torch.inference_mode()
def test_contenders_draw_the_same() -> None:
    drawn = {}
    for name in ("ours", "sam2"):
        contender = opened(name, 4)
        for number, box in enumerate(speed_trial.boxes(2), start=1):
            contender.box(number, 0, box)
        drawn[name] = contender.propagate(0)
    assert drawn["ours"] > 10_000
    assert drawn["ours"] == pytest.approx(drawn["sam2"], rel=1e-3)


@pytest.mark.usefixtures("single_thread")
@pytest.mark.parametrize("name", ["ours", "sam2", "sam2, autocast"])
def test_every_contender_is_measured(name: str) -> None:
    found = speed_trial.measure(Trial(name, slices=4, image_size=SIZE))
    assert set(found) == OF_ONE_OBJECT
    assert min(found.values()) > 0


def test_transformers_is_measured() -> None:
    """In a process of its own: what stands in for torchvision here would be taken for it there."""
    if not importlib.util.find_spec("transformers"):
        pytest.skip("transformers is not installed")
    assert set(speed.run(Trial("transformers", slices=4, image_size=SIZE))) == OF_ONE_OBJECT


def test_a_trial_runs_in_a_process_of_its_own_beside_busy_ones() -> None:
    trial = Trial("ours", slices=4, objects=2, image_size=SIZE, wait="ACTIVE", busy=1)
    found = speed.run(trial)
    assert set(found) == {"click, new slice", "click, seen slice", "first", "peak"}
    floor = speed.run(replace(trial, contender="floor", busy=0))
    assert set(floor) == {"flops", "bytes", "encode", "recall", "decode", "memorize"}
    with pytest.raises(RuntimeError, match="KeyError: 'nobody'"):
        speed.run(Trial("nobody"))


def test_a_short_ct_is_gone_through_back_and_forth(chest_ct: object) -> None:
    ct = speed_trial.stack("ct", 300)
    assert ct.shape == (300, 512, 512)
    assert ct.dtype == np.uint8
    assert all((one != other).any() for one, other in pairwise(ct))
    middle = speed_trial.stack("ct", 3)
    assert (middle[1] == ct[66]).all()


def test_sizes_can_be_given() -> None:
    assert speed.sizes("cpu", OPTIONS) == speed.QUICK
    given = argparse.Namespace(quick=False, image_size=1024, long=[64, 256], rounds=1)
    assert speed.sizes("cuda", given) == speed.CUDA._replace(image_size=1024, long=[64, 256], rounds=1)
    assert speed.sizes("cpu", argparse.Namespace(**{**vars(OPTIONS), "quick": False})) == speed.CPU


@pytest.mark.usefixtures("two")
def test_contenders_take_turns() -> None:
    plan = list(speed.trials("cpu", TINY, "ct"))
    assert [(label, trial.contender) for label, trial in plan[:4]] == [
        ("main", "ours"),
        ("main", "sam2"),
        ("objects 1", "ours"),
        ("objects 1", "sam2"),
    ]
    assert [label for label, _ in plan[-4:]] == ["floor", "active", "idle", "busy"]
    assert [label for label, _ in speed.trials("cuda", TINY, "ct")][-1] == "floor"


def numbers(trial: Trial) -> Found:
    """Found in no time: sam2 takes twice as long as ours, everything grows with slices and objects."""
    factor = (2 if trial.contender == "sam2" else 1) * (3 if trial.busy else 1)
    if trial.contender == "floor":
        return {"flops": 1e11, "bytes": 1e10, "encode": 0.5, "recall": 0.25, "decode": 0.01, "memorize": 0.02}
    clicks = {"click, new slice": 0.5 * factor, "click, seen slice": 0.05}
    first = 0.5 * factor * trial.slices * trial.objects
    correction = {"correction": 1.5 * factor} if trial.objects == 1 else {}
    return {**clicks, "first": first, **correction, "peak": 1e9}


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch, two: None) -> Outcome:
    monkeypatch.setattr(speed, "run", numbers)
    return Outcome({"cpu": speed.measure("cpu", TINY, "ct")}, "ct", quick=True)


def test_the_document(outcome: Outcome) -> None:
    text = document(outcome, "a picture.svg")
    for part in (
        "A quick look, not the whole measurement.",
        "on slices of the demo's CT (512 x 512)",
        "2 rounds, contenders taking turns",
        "of transformers is skipped",
        "![Times of the others, ours being 1](a picture.svg)",
        "| first propagation | 96 | 8 | 1 | 4.0 s (4.0 s to 4.0 s) | 8.0 s (8.0 s to 8.0 s) | 2.00 (2.00 to 2.00) |",
        "| click, seen slice | 96 | 8 | 1 | 50 ms (50 ms to 50 ms) | 50 ms (50 ms to 50 ms) | 1.00 (1.00 to 1.00) |",
        "| peak memory | 96 | 16 | 1 | 1.00 GB (1.00 GB to 1.00 GB) |",
        "| 8 objects, of one | 8.00 (8.00 to 8.00) | 8.00 (8.00 to 8.00) |",
        "| a slice of 16, of 8 | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |",
        "| busy, of idle | 3.00 (3.00 to 3.00) |  |",
        "| passive, of active | 1.00 (1.00 to 1.00) |  |",
        "(100 GFLOP/s, measured beside the steps)",
    ):
        assert part in text
    assert re.search(r"\| sam2.1_hiera_tiny, 512 pixels \| \d+ \| \d+ \| \d+ \|", text)
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 140


def test_shares_are_of_the_floor(outcome: Outcome) -> None:
    lines = {line.split(" | ")[0]: line for line in document(outcome, "").splitlines() if line.endswith("% |")}
    assert list(lines) == ["| encode", "| recall", "| decode", "| memorize", "| slice"]
    _, gigaflops, _, floor, took, share = (cell.strip() for cell in lines["| encode"].strip("|").split("|"))
    assert took == "500 ms"
    seconds = float(floor.removesuffix(" ms")) / 1000
    assert seconds == pytest.approx(max(float(gigaflops) / 100, seconds), abs=0.002)
    assert float(share.removesuffix("%")) == pytest.approx(100 * seconds / 0.5, abs=1)


def test_the_picture_is_small_and_the_same_each_time(outcome: Outcome, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.svg", "b.svg")]
    for path in paths:
        draw(outcome, path)
    one, other = (path.read_bytes() for path in paths)
    assert one == other
    assert len(one) < 60_000
    assert b"time, ours being 1" in one


def test_main_writes_both(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise open_data.OpenDataError("not here")

    monkeypatch.setattr(open_data, "chest_ct", missing)
    monkeypatch.setattr("sys.argv", ["speed.py", "--quick", "--output", str(tmp_path)])
    speed.main()
    assert "on a synthetic volume (512 x 512)" in (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert (tmp_path / "pictures" / "performance.svg").is_file()


def test_ratios_are_within_a_round() -> None:
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
