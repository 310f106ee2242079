"""`medsam2 propagate` from files to files, with a small volume and random weights."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from patience import CEILING

from medsam2_core import io
from medsam2_core.cli.propagate import add_parser
from medsam2_core.memory_bank import MEMORY_RULES
from medsam2_core.weights.checkpoint import load_state, read_checkpoint, save_checkpoint

OUT = Path("out.seg.nrrd")
REPORT = Path("run.json")
BOX = "8,8,36,30@5"


def labels(path: Path, ct: Path) -> np.ndarray:
    return io.read_labelmap(path, io.read_volume(ct).geometry)


def test_two_objects_end_to_end(run, ct: Path, checkpoint: Path, capsys) -> None:
    code = run(
        "propagate", ct, "--output", OUT, "--model", checkpoint, "--report", REPORT, "--range", "2:9",
        "--object", "ball", "--box", BOX, "--exclude", "1,1,5", "--object", "other", "--point", "40,35,4",
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0
    assert "/7 [" in err  # the bar's total
    assert "slices/s" in err
    found, segments = io.read_segments(OUT, io.read_volume(ct).geometry)
    assert [(item.label, item.name) for item in segments] == [(1, "ball"), (2, "other")]
    assert {int(k) for k in np.argwhere(found)[:, 0]} <= set(range(2, 9))
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert [item["name"] for item in report["objects"]] == ["ball", "other"]
    assert [slice_["slice_index"] for slice_ in report["objects"][0]["slices"]] == list(range(2, 9))
    assert report["objects"][0]["volume_ml"] == pytest.approx((found == 1).sum() * 0.0025, abs=1e-3)
    assert report["settings"]["range"] == [2, 9]
    assert report["settings"]["image_size"] == 64
    assert not report["interrupted"]
    assert [line.split(":")[0] for line in out.splitlines()[:2]] == ["ball", "other"]
    assert out.endswith(f"Written: {OUT} and {REPORT}\n")
    assert sorted(item.name for item in Path.cwd().iterdir()) == ["out.seg.nrrd", "run.json"]


@pytest.mark.parametrize("axis", ["axial", "coronal", "2"])
def test_a_report_repeats_the_run_bit_for_bit(run, ct: Path, checkpoint: Path, axis: str) -> None:
    assert run(
        "propagate", ct, "--output", OUT, "--model", checkpoint, "--report", REPORT, "--quiet", "--axis", axis,
        "--window", "20/180", "--memory", "recency", "--direction", "forward", "--field-of-view", "zoom",
        "--point", "22.3,18.1,5.2", "--exclude", "2,18,5.2" if axis == "axial" else "22,18,1", "--object", "b",
        "--box", {"axial": "8.7,8.1,36,30@5", "coronal": "8.7,2.1,36,8@18", "2": "8.7,2.1,30,8@22"}[axis],
    ) == 0  # fmt: skip
    assert (
        run(
            "propagate",
            ct,
            "--output",
            "b.seg.nrrd",
            "--model",
            checkpoint,
            "--prompts",
            REPORT,
            "--report",
            "b.json",
            "--quiet",
        )
        == 0
    )
    assert OUT.read_bytes() == Path("b.seg.nrrd").read_bytes()
    assert np.any(labels(OUT, ct))
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (REPORT, Path("b.json")))
    for report in (first, second):
        del report["seconds"], report["slices_per_second"]
    assert first == second


def test_options_win_over_the_run_file(run, ct: Path, checkpoint: Path) -> None:
    command = ("propagate", ct, "--output", OUT, "--model", checkpoint, "--quiet")
    assert run(*command, "--box", BOX, "--window", "20/180", "--range", "3:8", "--report", REPORT) == 0
    options = (
        "--window",
        "lung",
        "--direction",
        "backward",
        "--point",
        "20,20,6",
        "--object",
        "new",
        "--point",
        "9,9,6",
    )
    assert run(*command, "--prompts", REPORT, *options, "--report", "b.json") == 0
    found = json.loads(Path("b.json").read_text(encoding="utf-8"))
    assert found["settings"]["window"]["name"] == "lung"
    assert found["settings"]["direction"] == "backward"
    assert found["settings"]["range"] == [3, 8]
    assert [(item["name"], [prompt["kind"] for prompt in item["prompts"]]) for item in found["objects"]] == [
        ("Segment_1", ["box", "points"]), ("new", ["points"]),
    ]  # fmt: skip


def test_prompts_in_mm_are_those_in_voxels(run, ct: Path, checkpoint: Path) -> None:
    geometry = io.read_volume(ct).geometry
    (r0, a0, s0), (r1, a1, _) = geometry.ijk_to_ras([(8, 8, 5), (36, 30, 5)]).tolist()
    command = ("propagate", ct, "--model", checkpoint, "--quiet", "--output")
    assert run(*command, "a.nrrd", "--box", BOX) == 0
    assert run(*command, "b.nrrd", "--frame", "ras", "--box", f"{r0},{a0},{r1},{a1}@{s0}") == 0
    assert run(*command, "c.nrrd", "--frame", "lps", "--box", f"{-r1},{-a1},{-r0},{-a0}@{s0}") == 0
    assert Path("a.nrrd").read_bytes() == Path("b.nrrd").read_bytes() == Path("c.nrrd").read_bytes()


def test_a_mask_prompt_and_its_replay(run, ct: Path, checkpoint: Path) -> None:
    mask = np.zeros(io.read_volume(ct).array.shape, np.uint8)
    mask[5, 10:28, 12:33] = 1
    io.write_labelmap("mask.nrrd", mask, io.read_volume(ct).geometry)
    command = ("propagate", ct, "--model", checkpoint, "--quiet", "--output")
    assert run(*command, OUT, "--mask", "mask.nrrd", "--report", REPORT) == 0
    Path("mask.nrrd").unlink()
    assert run(*command, "b.seg.nrrd", "--prompts", REPORT) == 0
    assert OUT.read_bytes() == Path("b.seg.nrrd").read_bytes()


def test_one_slice_in_some_of_a_mask(run, capsys, ct: Path, checkpoint: Path) -> None:
    volume = io.read_volume(ct)
    mask = np.zeros(volume.array.shape, np.uint8)
    mask[2:9, 10:25, 15:30] = 1
    io.write_labelmap("mask.nrrd", mask, volume.geometry)
    command = ("propagate", ct, "--output", OUT, "--model", checkpoint, "--quiet", "--report", REPORT)
    assert run(*command, "--mask", "mask.nrrd", "--every", "3") == 0
    prompts = json.loads(REPORT.read_text(encoding="utf-8"))["objects"][0]["prompts"]
    assert [prompt["slice_index"] for prompt in prompts] == [2, 5, 8]
    assert run(*command, "--mask", "mask.nrrd", "--every", "50") == 0
    (prompt,) = json.loads(REPORT.read_text(encoding="utf-8"))["objects"][0]["prompts"]
    assert prompt["slice_index"] == 5
    assert run(*command, "--mask", "mask.nrrd", "--every", "0") == 2
    assert "'0' is not a number of slices: give 1 to 10000" in capsys.readouterr().err


def test_points_correct_a_mask_on_their_slice_wherever_they_stand(run, ct: Path, checkpoint: Path) -> None:
    grid = io.read_volume(ct).geometry
    mask = np.zeros(grid.shape_kji, np.uint8)
    mask[5, 10:28, 12:33] = 1
    io.write_labelmap("mask.nrrd", mask, grid)
    command = ("propagate", ct, "--model", checkpoint, "--quiet", "--output")
    given, corrects = ("--mask", "mask.nrrd"), ("--exclude", "20,18,5", "--point", "36,18,5")
    assert run(*command, "a.nrrd", *given) == 0
    assert run(*command, "b.nrrd", *given, *corrects, "--report", REPORT) == 0
    assert run(*command, "c.nrrd", *corrects, *given) == 0
    assert run(*command, "d.nrrd", "--prompts", REPORT) == 0
    np.testing.assert_array_equal(io.read_labelmap(Path("a.nrrd"), grid)[5], mask[5])
    assert (io.read_labelmap(Path("b.nrrd"), grid)[5] != mask[5]).any()
    assert Path("b.nrrd").read_bytes() == Path("c.nrrd").read_bytes() == Path("d.nrrd").read_bytes()


def test_a_run_file_written_by_hand(run, ct: Path, checkpoint: Path) -> None:
    point = io.read_volume(ct).geometry.ijk_to_ras([(22, 18, 5)]).tolist()
    prompts = [{"kind": "points", "points_ras": point, "labels": [1]}]
    REPORT.write_text(json.dumps({"objects": [{"name": "ball", "prompts": prompts}]}), encoding="utf-8")
    assert run("propagate", ct, "--model", checkpoint, "--output", OUT, "--prompts", REPORT, "--quiet") == 0
    assert (
        run("propagate", ct, "--model", checkpoint, "--output", "b.seg.nrrd", "--object", "ball", "--point", "22,18,5")
        == 0
    )
    assert OUT.read_bytes() == Path("b.seg.nrrd").read_bytes()


def test_an_oblique_run_takes_no_prompts_on_stored_slices(run, ct: Path, checkpoint: Path, capsys) -> None:
    grid = io.read_volume(ct).geometry
    points = grid.ijk_to_ras([(22, 18, 5)]).tolist()
    prompts = [{"kind": "points", "points_ras": points, "labels": [1]}]
    plane = [[1, 0, 0, points[0][0]], [0, 0.8, -0.6, points[0][1]], [0, 0.6, 0.8, points[0][2]], [0, 0, 0, 1]]
    content = {"objects": [{"name": "ball", "prompts": prompts}], "settings": {"axis": 0, "plane": plane}}
    REPORT.write_text(json.dumps(content), encoding="utf-8")
    words = ("propagate", ct, "--model", checkpoint, "--output", OUT, "--prompts", REPORT, "--quiet")
    assert run(*words, "--point", "22,18,5") == 2
    assert "give only one of the two" in capsys.readouterr().err
    assert run(*words) == 0
    assert io.read_labelmap(OUT, grid).shape == grid.shape_kji
    REPORT.write_text(json.dumps({**content, "settings": {"plane": [[0, 0, 0, 0]] * 4}}), encoding="utf-8")
    assert run(*words) == 2
    assert "give the run file another plane" in capsys.readouterr().err


def test_nothing_found_is_said(run, ct: Path, checkpoint: Path, capsys, tmp_path: Path) -> None:
    model = load_state(read_checkpoint(checkpoint))
    state = model.state_dict()
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] -= 100
    save_checkpoint(tmp_path / "absent.pt", state, model.config)
    words = ("--model", tmp_path / "absent.pt", "--output", OUT, "--point", "22,18,5", "--window", "lung")
    assert run("propagate", ct, *words) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("Segment_1: Nothing found on slice 5. Try a box, or another window (now: lung).\n")
    assert not labels(OUT, ct).any()


def test_quiet(run, ct: Path, checkpoint: Path, capsys) -> None:
    assert run("propagate", ct, "--model", checkpoint, "--output", OUT, "--box", BOX, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_one_slice_and_constant_volumes(run, checkpoint: Path, tmp_path: Path) -> None:
    io.write_labelmap(
        tmp_path / "flat.nrrd",
        np.zeros((1, 30, 30), np.uint8),
        io.Geometry((1, 30, 30), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1))),
    )
    assert run("propagate", tmp_path / "flat.nrrd", "--model", checkpoint, "--output", OUT, "--point", "3,3,0") == 0


def test_a_changed_model_is_noted(run, ct: Path, checkpoint: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsam2_core.job import plan

    monkeypatch.setattr(plan, "find_model", lambda name: plan.ModelFile(name, checkpoint, str(checkpoint)))
    point = io.read_volume(ct).geometry.ijk_to_ras([(22, 18, 5)]).tolist()
    prompts = [{"kind": "points", "points_ras": point, "labels": [1]}]
    settings = {"model": "starter", "model_sha256": "0" * 64}
    REPORT.write_text(
        json.dumps({"objects": [{"name": "ball", "prompts": prompts}], "settings": settings}), encoding="utf-8"
    )
    assert run("propagate", ct, "--output", OUT, "--prompts", REPORT, "--quiet") == 0
    assert capsys.readouterr().err == "Note: starter has different weights than the run had, so the mask may differ.\n"


# Refusals

POINT = ("--point", "5,5,5")
REFUSED = [
    ((), "There is no prompt: show the object with --point .*, --markups FILE"),
    (("--point", "1,2"), "cannot be read: write three numbers"),
    (("--point", "-12.5,3,4"), "lies outside the volume: give i from 0 to 47, j from 0 to 39, k from 0 to 9"),
    (("--frame", "ras", "--point", "-1000,3,4"), r"\(ras\) is at voxel .* outside the volume"),
    (("--box", "3,3,3,9@5"), "is empty"),
    (("--axis", "1", "--box", "3,3,9,30@5"), r"--box 3,3,9,30@5 \(read as I0,K0,I1,K1@J\) lies outside the volume"),
    (("--axis", "2", "--box", "3,30,9,40@5"), r"--box 3,30,9,40@5 \(read as J0,K0,J1,K1@I\) lies outside the volume"),
    (("--axis", "1", "--frame", "lps", "--box", "3,3,9,900@5"), r"900@5 \(read as X0,Z0,X1,Z1@Y\) \(lps\) is at voxel"),
    (("--box=-3,3,3,9@5",), "outside the volume"),
    (("--exclude", "5,5,5"), "only exclude points"),
    (("--object", "a", *POINT, "--object", "b"), "'b' has no prompt"),
    ((*POINT, "--range", "5:5"), "holds no slice: give A:B with 0 <= A < B <= 10"),
    ((*POINT, "--range", "-2:7"), "reaches outside"),
    ((*POINT, "--range", "6:"), "The range 6:10 holds no prompt of 'Segment_1'"),
    ((*POINT, "--range", "six"), "write A:B, slices from"),
    ((*POINT, "--window", "foo"), "Unknown window 'foo'"),
    ((*POINT, "--device", "cuda"), "Device 'cuda' is not available"),
    ((*POINT, "--model", "startr"), "'startr' is not a known model"),
    ((*POINT, "--model", "nope.pt"), "nope.pt does not exist"),
    ((*POINT, "--model", "."), "is a folder"),
    ((*POINT, "--report", "no/r.json"), "The folder no does not exist"),
    ((*POINT, "--report", "r.txt"), "end its name with .json"),
    ((*POINT, "--output", "no/a.nrrd"), "The folder no does not exist"),
    ((*POINT, "--output", "a.png"), "Unknown extension"),
    ((*POINT, "--axis", "top"), "invalid choice"),
    (("--point",), "expected one argument"),
    (("--mask", "no.nrrd"), "No such file"),
    (("--prompts", "no.json"), "Cannot be read"),
    ((*POINT, "--bogus"), "unrecognized arguments"),
]


@pytest.mark.parametrize(
    ("words", "problem"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_refusals_are_one_line_and_leave_nothing(
    run, ct: Path, checkpoint: Path, capsys, words: tuple, problem: str
) -> None:
    if "cuda" in words:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has the device")
    code = run("propagate", ct, "--output", OUT, "--model", checkpoint, "--report", REPORT, *words)
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("medsam2")
    assert err.count("\n") == 1
    with pytest.raises(AssertionError, match=problem):  # `match` shows the text where it differs
        raise AssertionError(err)
    assert list(Path.cwd().iterdir()) == []


def test_a_missing_volume(run, capsys) -> None:
    assert run("propagate", "no.nrrd", "--output", OUT, *POINT) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_mask_of_another_size(run, ct: Path, checkpoint: Path, capsys, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8)), str(tmp_path / "m.nrrd"))
    assert run("propagate", ct, "--output", OUT, "--model", checkpoint, "--mask", tmp_path / "m.nrrd") == 2
    assert "resample it to the volume's grid" in capsys.readouterr().err


def test_inputs_are_not_replaced(run, checkpoint: Path, ct: Path, capsys) -> None:
    before = ct.read_bytes()
    assert run("propagate", ct, "--output", ct, "--model", checkpoint, *POINT) == 2
    assert "would replace an input" in capsys.readouterr().err
    assert ct.read_bytes() == before
    Path("b.json").write_text("[]", encoding="utf-8")
    assert run("propagate", ct, "--output", OUT, "--report", "b.json", "--model", checkpoint, "--boxes", "b.json") == 2
    assert "b.json: The output would replace an input" in capsys.readouterr().err


def test_each_output_has_a_name_of_its_own(run, checkpoint: Path, ct: Path, capsys) -> None:
    Path("link.nrrd").symlink_to("a.nrrd")
    for words in (("--disagreement", "link.nrrd", "--directions", "three"), ("--sheet", "a.nrrd")):
        assert run("propagate", ct, "--output", "a.nrrd", "--model", checkpoint, *POINT, *words) == 2
        assert f"{words[1]}: Two outputs have this name: give each its own." in capsys.readouterr().err
    assert not Path("a.nrrd").exists()


def test_a_corrupt_checkpoint(run, ct: Path, capsys, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    assert run("propagate", ct, "--output", OUT, "--model", tmp_path / "bad.pt", *POINT) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not OUT.exists()


def test_a_run_file_opens_no_checkpoint(run, ct: Path, checkpoint: Path, capsys) -> None:
    """A model named by a path or by a file in this folder is not looked up on the disk."""
    Path("local").write_bytes(checkpoint.read_bytes())
    for model in (str(checkpoint), "local"):
        prompts = [{"kind": "points", "points_ras": [[0, 0, 0]], "labels": [1]}]
        REPORT.write_text(
            json.dumps({"objects": [{"name": "a", "prompts": prompts}], "settings": {"model": model}}), encoding="utf-8"
        )
        assert run("propagate", ct, "--output", OUT, "--prompts", REPORT) == 2
        assert "not in the catalog: give its checkpoint with --model" in capsys.readouterr().err


def test_the_memory_choices_are_the_rules_there_are() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    for name in MEMORY_RULES:
        options = parser.parse_args(["propagate", "ct", "--output", "o.nrrd", "--memory", name])
        assert options.memory == name


# Ctrl+C


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_keeps_the_slices_done(run, checkpoint: Path, tmp_path: Path, name: str) -> None:
    many = tmp_path / "many.nrrd"
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 200, (3000, 24, 24)).astype(np.int16))
    sitk.WriteImage(image, str(many))
    # A test run in the background ignores Ctrl+C, and so would what it starts.
    heeding = "import signal as s; s.signal(s.SIGINT, s.default_int_handler)"
    command = [
        sys.executable, "-c", f"{heeding}; import sys; from medsam2_core.cli.main import run; sys.exit(run())",
        "propagate", str(many), "--output", str(OUT), "--report", str(REPORT), "--model", str(checkpoint),
        "--box", "2,2,20,20@0", "--window", "100/200",
    ]  # fmt: skip
    core = str(Path(io.__file__).parents[2])
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": core, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        seen = b""
        while not re.search(rb" ([2-9]|[1-9]\d+)/3000 ", seen):  # the bar, after slices are done
            chunk = os.read(process.stderr.fileno(), 4096)
            assert chunk, seen
            seen += chunk
        process.send_signal(getattr(signal, name))
        while name != "SIGINT" and process.poll() is None:  # clusters and systemd send more than one
            time.sleep(0.002)
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=CEILING)
    assert process.returncode == 130, err
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    kept = [facts["slice_index"] for facts in report["objects"][0]["slices"]]
    assert report["interrupted"]
    assert 1 < len(kept) < 3000
    assert kept == list(range(len(kept)))
    assert f"Interrupted: {len(kept)} slices are done and kept in {OUT}.\n".encode() in err
    assert b"Finishing the current slice" in err
    assert b"Traceback" not in err
    assert np.flatnonzero(io.read_labelmap(OUT).any(axis=(1, 2))).max() < len(kept)
