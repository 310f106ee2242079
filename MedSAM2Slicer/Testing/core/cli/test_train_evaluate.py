"""`medsam2 evaluate` and `medsam2 train` from files to files, with a small volume and a small model."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk
from patience import CEILING

import medsam2_core as m2
from medsam2_core import io

LIGHT = "import sys; from medsam2_core.cli import main; main._parser(); print(*sorted(sys.modules))"


@pytest.fixture
def dataset(tmp_path: Path, ct: Path) -> Path:
    """The ball and where it is."""
    folder = tmp_path / "data" / "patient"
    folder.mkdir(parents=True)
    volume = io.read_volume(ct)
    smooth = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.ReadImage(str(ct), sitk.sitkFloat32), 4.0))
    (folder / "image.nrrd").write_bytes(ct.read_bytes())
    io.write_labelmap(folder / "labels.nrrd", (smooth > 50).astype("uint8"), volume.geometry)
    return folder.parent


def config(data: Path, **changes: object) -> Path:
    """Write the shortest training there is."""
    phases = [{"steps": 2, "length": 2, "clips": 1}]
    values = {"model": "starter", "image_size": 64, "data": {str(data): 1.0}, "phases": phases}
    values |= {"loader_workers": 0, "compile_encoder": False, "bfloat16": False, **changes}
    path = Path("config.json")
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_a_table_and_its_file(run, dataset: Path, checkpoint: Path, capsys) -> None:
    (dataset / "patient" / "labels.json").write_text('{"1": "ball"}', encoding="utf-8")
    code = run("evaluate", checkpoint, dataset, "--policy", "box+1", "--min-ml", 0.5, "--output", "table.csv")
    out, err = capsys.readouterr()
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert [line[:3] for line in lines[1:3]] == [["patient", "ball", "box"], ["patient", "ball", "box+1"]]
    assert [line[:4] for line in lines[3:]] == [["mean", "of", "1", "box"], ["mean", "of", "1", "box+1"]]
    with Path("table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["policy"] for row in rows] == ["box", "box+1"]
    assert f"{float(rows[1]['dice']):.3f}" in out
    assert rows[0]["memory"] == "recency"


def test_every_choice_is_taken(run, dataset: Path, checkpoint: Path, capsys) -> None:
    options = (
        "--memory",
        "recency",
        "--field-of-view",
        "whole",
        "--axis",
        "coronal",
        "--window",
        "50/200",
        "--seed",
        4,
    )
    assert run("evaluate", checkpoint, dataset, "--policy", "3-boxes", "--min-ml", 0.5, *options) == 0
    assert "3-boxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--policy", "boxes"), "Policy 'boxes' is unknown: choose box"),
        (("--min-ml", "500"), "has no structure of 500 mL or more: lower --min-ml"),
        (("--window", "foo"), "Unknown window 'foo'"),
        (("--output", "no/table.csv"), "The folder no does not exist"),
        (("--output", "."), r"\.: The table is CSV: end its name with \.csv"),
        (("--output", "image.nii.gz"), r"image\.nii\.gz: The table is CSV: end its name with \.csv"),
        (("--memory", "elephant"), "No memory bank is called .elephant."),
    ],
)
def test_refusals_are_one_sentence(
    run, dataset: Path, checkpoint: Path, capsys, options: tuple[str, ...], problem: str
) -> None:
    assert run("evaluate", checkpoint, dataset, "--min-ml", 0.5, *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(err)
    assert err.splitlines()[-1].startswith("medsam2")


def test_a_refused_evaluation_leaves_an_older_table(run, dataset: Path, capsys) -> None:
    Path("table.csv").write_text("older", encoding="utf-8")
    assert run("evaluate", "no.pt", dataset, "--output", "table.csv") == 2
    assert Path("table.csv").read_text(encoding="utf-8") == "older"


def test_a_table_does_not_replace_what_is_read(run, dataset: Path, checkpoint: Path, capsys) -> None:
    labels = dataset / "patient" / "labels.csv"
    labels.write_text("1,ball\n", encoding="utf-8")
    assert run("evaluate", checkpoint, dataset, "--min-ml", 0.5, "--output", labels) == 2
    assert "The output would replace an input" in capsys.readouterr().err
    assert labels.read_text(encoding="utf-8") == "1,ball\n"


def test_an_empty_data_set_and_a_missing_model(run, dataset: Path, checkpoint: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    assert run("evaluate", checkpoint, tmp_path / "empty") == 2
    assert "holds nothing to evaluate" in capsys.readouterr().err
    assert run("evaluate", "no.pt", dataset) == 2
    assert "no.pt does not exist" in capsys.readouterr().err


def test_training_resumes_and_its_result_can_be_evaluated(run, dataset: Path, capsys) -> None:
    assert run("train", config(dataset), "--output", "run", "--device", "cpu") == 0
    assert capsys.readouterr().out == "run/model.pt\n"
    longer = config(dataset, phases=[{"steps": 3, "length": 2, "clips": 1}])
    assert run("train", longer, "--output", "run", "--device", "cpu") == 0
    assert "2/3" in capsys.readouterr().err  # it went on
    assert m2.load_model("run/model.pt", device="cpu").config.image_size == 64
    assert run("evaluate", "run/model.pt", dataset, "--min-ml", 0.5) == 0


def test_training_refusals(run, dataset: Path, capsys) -> None:
    assert run("train", "no.json", "--output", "run") == 2
    assert "no.json cannot be read" in capsys.readouterr().err
    Path("file").touch()
    assert run("train", config(dataset), "--output", "file/run") == 2
    assert "file/run cannot be created" in capsys.readouterr().err
    assert run("train", config(dataset / "patient"), "--output", "run", "--device", "cpu") == 2
    assert "holds nothing to train on" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, encoding="utf-8", timeout=CEILING, check=True
    )
    assert not set(done.stdout.split()) & {"torch", "scipy", "SimpleITK"}


def test_help_shows_examples(run, capsys) -> None:
    assert run("evaluate", "--help") == 0
    assert "NAME/labels.json" in capsys.readouterr().out
    assert run("train", "--help") == 0
    assert "start_from" in capsys.readouterr().out
