"""`medsam2 propagate --prompts` with a segment that was corrected: all its runs in one session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core import io
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import Slicing
from medsam2_core.image.window import Window
from medsam2_core.run.applied import AppliedPrompts
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, Prompt, RunObject
from medsam2_core.run.report import describe_prompts

OUT, REPORT = Path("out.nrrd"), Path("run.json")
WINDOW = Window(0, 200, "own")
BOX = BoxPrompt(5, (8.0, 8.0, 36.0, 30.0))
EDIT = np.zeros((40, 48), dtype=bool)
EDIT[7:19, 5:23] = True
RUNS: list[tuple[tuple[Prompt, ...], tuple[int, int]]] = [
    ((BOX,), (0, 10)),
    ((BOX, MaskPrompt(7, EDIT)), (5, 10)),
    ((BOX, MaskPrompt(7, EDIT), PointsPrompt(8, ((20.0, 15.0), (3.0, 3.0)), (True, False))), (7, 10)),
]


def by_session(ct: Path, checkpoint: Path) -> np.ndarray:
    """The runs one after the other, as the worker does them."""
    volume = io.read_volume(ct)
    orientation = SliceOrientation.upright(volume.geometry, 0)
    session = m2.VolumeSession(
        m2.load_model(str(checkpoint), device="cpu"),
        orientation.turn(volume.array),
        spacing=orientation.turn_spacing(volume.geometry.spacing_kji),
        window=WINDOW,
    )
    applied = AppliedPrompts(session, orientation)
    for prompts, (first, last) in RUNS:
        applied.change_to([RunObject(Segment("ball", 1, (1, 0, 0)), prompts)])
        list(session.propagate(first, last))
    return orientation.turn_back(session.labelmap())


def write_runs(ct: Path, **last: Any) -> None:
    slicing = Slicing(io.read_volume(ct).geometry, 0)
    described = [
        {
            "settings": {"range": list(span)},
            "objects": [
                {
                    "name": "ball",
                    "prompts": describe_prompts(RunObject(Segment("ball", 1, (1, 0, 0)), prompts), slicing),
                }
            ],
        }
        for prompts, span in RUNS
    ]
    *earlier, final = described
    final["settings"] |= {"window": {"lower": 0, "upper": 200}, "axis": 0, **last}
    REPORT.write_text(json.dumps({**final, "format": "medsam2-run/1", "earlier": earlier}), encoding="utf-8")


def repeat(run: Any, ct: Path, checkpoint: Path, *words: object) -> np.ndarray:
    command = ("propagate", ct, "--model", checkpoint, "--prompts", REPORT, "--output", OUT, *words)
    assert run(*command) == 0
    return io.read_labelmap(OUT, io.read_volume(ct).geometry)


def test_all_runs_are_repeated_in_one_session(run, ct: Path, checkpoint: Path, capsys) -> None:
    write_runs(ct)
    found = repeat(run, ct, checkpoint)
    np.testing.assert_array_equal(found, by_session(ct, checkpoint))
    np.testing.assert_array_equal(found[7] > 0, EDIT)
    assert "/18 [" in capsys.readouterr().err  # slices of all runs
    last = json.loads(REPORT.read_text(encoding="utf-8"))
    del last["earlier"]
    REPORT.write_text(json.dumps(last), encoding="utf-8")
    assert not np.array_equal(repeat(run, ct, checkpoint), found)


def test_the_report_of_a_sequence_repeats_it(run, ct: Path, checkpoint: Path) -> None:
    write_runs(ct)
    found = repeat(run, ct, checkpoint, "--report", "again.json", "--quiet")
    again = json.loads(Path("again.json").read_text(encoding="utf-8"))
    assert [one["settings"]["range"] for one in again["earlier"]] == [[0, 10], [5, 10]]
    assert again["earlier"][1]["objects"] == [{"name": "ball", "prompts": [0, 1]}]
    Path("again.json").replace(REPORT)
    np.testing.assert_array_equal(repeat(run, ct, checkpoint), found)


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_run_that_was_stopped_goes_as_far_again(run, ct: Path, checkpoint: Path, rounds: int) -> None:
    write_runs(ct, rounds=rounds, range=[0, 10])
    content = json.loads(REPORT.read_text(encoding="utf-8"))
    del content["earlier"]
    REPORT.write_text(json.dumps(content), encoding="utf-8")
    found = repeat(run, ct, checkpoint, "--report", "again.json", "--quiet")
    again = json.loads(Path("again.json").read_text(encoding="utf-8"))
    assert again["settings"]["rounds"] == rounds
    assert not again["interrupted"]
    drawn = {5, 7, 8} | ({4, 6, 9} if rounds else set())
    assert {one["slice_index"] for one in again["objects"][0]["slices"]} == drawn
    everything = repeat(run, ct, checkpoint, "--range", "0:10", "--quiet")
    assert (everything > 0).sum() > (found > 0).sum()


def test_typed_prompts_and_ranges_are_those_of_the_last_run(run, ct: Path, checkpoint: Path) -> None:
    write_runs(ct)
    repeat(run, ct, checkpoint, "--object", "ball", "--point", "22,18,9", "--range", "6:10", "--report", "b.json")
    report = json.loads(Path("b.json").read_text(encoding="utf-8"))
    assert report["settings"]["range"] == [6, 10]
    assert len(report["objects"][0]["prompts"]) == 4
    assert [one["settings"]["range"] for one in report["earlier"]] == [[0, 10], [5, 10]]


def test_the_threshold_of_a_run_is_kept(run, ct: Path, checkpoint: Path) -> None:
    write_runs(ct)
    usual = repeat(run, ct, checkpoint, "--quiet")
    write_runs(ct, threshold=0.999)
    strict = repeat(run, ct, checkpoint, "--quiet", "--report", "b.json")
    assert strict.sum() < usual.sum()
    np.testing.assert_array_equal(strict[7] > 0, EDIT)
    assert json.loads(Path("b.json").read_text(encoding="utf-8"))["settings"]["threshold"] == 0.999
