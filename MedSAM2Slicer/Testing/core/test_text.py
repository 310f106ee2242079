"""Text files as Windows and its spreadsheets save them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medsam2_core import io
from medsam2_core.errors import VolumeError
from medsam2_core.files import text
from medsam2_core.image.geometry import Geometry
from medsam2_core.run.file import read_run_file
from medsam2_core.training.cases import read_case
from medsam2_core.training.config import load_config

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
NAME = "Bauchspeicheldrüse; rechts"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "label{0}name\n", "sep={0}\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables(tmp_path: Path, encoding: str, end: str, first: str, separator: str) -> None:
    lines = f'{first.format(separator)}300{separator}"{NAME}"\n\n301{separator} Leber \n'
    (tmp_path / "a.csv").write_bytes(lines.replace("\n", end).encode(encoding))
    rows = [["300", NAME], ["301", "Leber"]]
    assert text.read_rows(tmp_path / "a.csv") == [["label", "name"], *rows][0 if "label" in first else 1 :]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_runs_and_configurations(tmp_path: Path, encoding: str) -> None:
    run = {"objects": [{"name": NAME, "prompts": [{"kind": "points", "points_ras": [[1, 2, 3]], "labels": [1]}]}]}
    (tmp_path / "run.json").write_bytes(json.dumps(run, ensure_ascii=False).encode(encoding))
    assert read_run_file(tmp_path / "run.json").objects[0].name == NAME
    config = {"model": "starter", "data": {NAME: 1.0}, "phases": [{"steps": 1, "length": 2, "clips": 1}]}
    (tmp_path / "config.json").write_bytes(json.dumps(config, ensure_ascii=False).encode(encoding))
    assert load_config(tmp_path / "config.json").data == {NAME: 1.0}


def labeled(folder: Path, file: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    grid = Geometry((3, 4, 5), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    labels = np.full((3, 4, 5), 300, np.uint16)
    io.write_labelmap(folder / "image.nii", labels, grid)
    io.write_labelmap(folder / "labels.nii", labels, grid)
    (folder / file).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labels.csv", "300;Leber\r\n".encode("utf-8-sig")),
        ("labels.csv", "label,name\r\n300,Leber\r\n".encode("utf-8-sig")),
        ("labels.csv", "300\tLeber\r\n".encode("utf-16")),
        ("labels.json", '{"300": "Leber"}'.encode("utf-16")),
        ("labels.json", '{"300": "Leber"}'.encode("utf-8-sig")),
    ],
)
def test_names_of_labels(tmp_path: Path, file: str, content: bytes) -> None:
    assert read_case(labeled(tmp_path / "a", file, content)).names == {300: "Leber"}


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("300,Bauchspeicheldrüse\r\n".encode("cp1252"), "not in Unicode, so save it as UTF-8"),
        (b"liver\nspleen\n", "write .* lines such as 1,liver"),
        (b"300,Leber\nx,Milz\n", "names no labels"),
    ],
)
def test_tables_that_name_nothing(tmp_path: Path, content: bytes, advice: str) -> None:
    with pytest.raises(VolumeError, match=advice):
        read_case(labeled(tmp_path / "a", "labels.csv", content))
