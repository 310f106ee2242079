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
import open_packages
import speed
import speed_trial
from contenders import CONTENDERS, OURS_SHORT, Contender
from speed import Sizes
from speed_document import Measured, Outcome, document, draw
from speed_trial import Found, Trial

SIZE = 96
OF_ONE_OBJECT = {"click, new slice", "click, seen slice", "first", "correction", "peak"}
TINY = Sizes(SIZE, 8, 6, (8, 16), SIZE, large=128, slices_of_large=2, rounds=2)
OPTIONS = argparse.Namespace(quick=True, image_size=None, long=None, rounds=None)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not transformers is installed, it does not take part."""
    monkeypatch.setattr(speed, "available", lambda device: ("ours", OURS_SHORT, "sam2"))


def opened(name: str, slices: int) -> Contender:
    contender = CONTENDERS[name]("sam2.1_hiera_tiny", SIZE, "cpu")
    contender.open(speed_trial.stack("synthetic", slices))
    return contender


@pytest.mark.usefixtures("single_thread")
@torch.inference_mode()
def test_contenders_draw_the_same() -> None:
    drawn = {}
    for name in ("ours", "ours, bfloat16", "sam2"):
        contender = opened(name, 4)
        for number, box in enumerate(speed_trial.boxes(2), start=1):
            contender.box(number, 0, box)
        drawn[name] = contender.propagate(0)
    assert drawn["ours"] > 10_000
    assert drawn["ours"] == pytest.approx(drawn["sam2"], rel=1e-3)
    assert drawn["ours"] != drawn["ours, bfloat16"] == pytest.approx(drawn["sam2"], rel=0.02)


@pytest.mark.usefixtures("single_thread")
@pytest.mark.parametrize("name", ["ours", "ours, bfloat16", "sam2", "sam2, autocast"])
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
    trial = Trial("ours", slices=4, objects=2, image_size=SIZE, busy=1)
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
        ("main", OURS_SHORT),
        ("main", "sam2"),
        ("objects 1", "ours"),
    ]
    assert [label for label, _ in plan[-6:]] == ["large", "floor", "floor, bfloat16", "active", "idle", "busy"]
    assert [label for label, _ in speed.trials("cuda", TINY, "ct")][-1] == "floor, bfloat16"


def test_one_that_fails_does_not_lose_the_rest(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    failed: list[Trial] = []

    def fails(trial: Trial) -> Found:
        if trial.contender == "sam2" and trial.objects == 1 and not failed:
            failed.append(trial)
            raise RuntimeError("out of memory")
        if trial.objects == 8 and trial.contender == "sam2":
            raise RuntimeError("no memory at all")
        return numbers(trial)

    monkeypatch.setattr(speed, "run", fails)
    partly = Outcome({"cpu": speed.measure("cpu", TINY, "ct")}, "ct", quick=True)
    assert "no memory at all" in capsys.readouterr().err
    draw(partly, tmp_path / "picture.svg")
    text = document(partly, "")
    assert "| first propagation | 96 | 8 | 1 | 4.0 s (4.0 s to 4.0 s) | 2.0 s (2.0 s to 2.0 s) | 8.0 s | 2.00 |" in text
    assert "| first propagation | 96 | 6 | 8 | 24.0 s (24.0 s to 24.0 s) | 12.0 s (12.0 s to 12.0 s) | failed |" in text


def test_large_images_are_measured_once(outcome: Outcome) -> None:
    rounds = outcome.devices["cpu"].rounds
    assert {len(found) for (label, _), found in rounds.items() if label == "large"} == {1}
    assert {len(found) for (label, _), found in rounds.items() if label != "large"} == {2}


def numbers(trial: Trial) -> Found:
    """Found in no time: sam2 takes twice as long as ours, everything grows with slices and objects."""
    factor = {"sam2": 2, OURS_SHORT: 0.5}.get(trial.contender, 1) * (3 if trial.busy else 1)
    if trial.contender == "floor":
        flops = 1e12 if trial.precision == "bfloat16" else 1e11
        return {"flops": flops, "bytes": 1e10, "encode": 0.5, "recall": 0.25, "decode": 0.01, "memorize": 0.02}
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
        "| first propagation | 96 | 8 | 1 | 4.0 s (4.0 s to 4.0 s) | 2.0 s (2.0 s to 2.0 s) | 8.0 s (8.0 s to 8.0 s) |",
        "| 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.00) |",
        "| click, seen slice | 96 | 8 | 1 | 50 ms (50 ms to 50 ms) | 50 ms (50 ms to 50 ms) |",
        "| peak memory | 96 | 16 | 1 | 1.00 GB (1.00 GB to 1.00 GB) |",
        "| 8 objects, of one | 8.00 (8.00 to 8.00) | 8.00 (8.00 to 8.00) | 8.00 (8.00 to 8.00) |",
        "| a slice of 16, of 8 | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |",
        "| busy, of idle | 3.00 (3.00 to 3.00) |  |  |",
        "| passive, of active | 1.00 (1.00 to 1.00) |  |  |",
        "(100 GFLOP/s, measured beside the steps)",
        "In bfloat16 large matrices are multiplied at 1,000 GFLOP/s.",
        "No graphics card was at hand, so nothing is said of a GPU server.",
    ):
        assert part in text
    assert re.search(r"\| sam2.1_hiera_tiny, 512 pixels \| \d+ \| \d+ \| \d+ \| \d+ \|", text)
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 140


def test_shares_are_of_the_floor(outcome: Outcome) -> None:
    text = document(outcome, "").split("In bfloat16 large")[0]
    lines = {line.split(" | ")[0]: line for line in text.splitlines() if line.endswith("% |")}
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
        raise open_packages.OpenDataError("not here")

    monkeypatch.setattr(open_data, "chest_ct", missing)
    monkeypatch.setattr("sys.argv", ["speed.py", "--quick", "--output", str(tmp_path)])
    speed.main()
    assert "on a synthetic volume (512 x 512)" in (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert (tmp_path / "pictures" / "performance.svg").is_file()


def test_ratios_are_within_a_round() -> None:
    rounds = {"a": [{"first": 2.0}, {}, {"first": 9.0}], "b": [{"first": 1.0}, {"first": 1.0}, {"first": 3.0}]}
    measured = Measured({}, {("main", name): found for name, found in rounds.items()})
    assert measured.ratios(("main", "a", "first"), ("main", "b", "first")) == [2.0, 3.0]
