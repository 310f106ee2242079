"""DICOM on the command line: what there is, which one is meant, and tilted slices."""

from __future__ import annotations

import json
import math
from pathlib import Path

import dicomfiles
import numpy as np
import pytest

from medsam2_core.image.geometry import Geometry
from medsam2_core.io.dicom import headers, series
from medsam2_core.io.volume import read_scalar

nibabel = pytest.importorskip("nibabel")
ARRAY = np.random.default_rng(0).integers(-20, 20, (6, 30, 32)).astype(np.int16)
ARRAY[1:5, 12:22, 10:22] += 100
TILT = (1, 0, 0, 0, math.cos(0.3), -math.sin(0.3))


@pytest.fixture
def cd(tmp_path: Path) -> Path:
    """Two series in sub-folders."""
    dicomfiles.save_series(tmp_path / "cd/a", ARRAY, series="1.2.8", SeriesNumber=2, SeriesDescription="Abdomen 2.5")
    dicomfiles.save_series(tmp_path / "cd/b", ARRAY[:4], series="1.2.9", SeriesNumber=3, Modality="MR")
    return tmp_path / "cd"


def test_info_lists_series(run, capsys, cd: Path) -> None:
    assert run("info", cd) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [
        "series 1     CT, Abdomen 2.5, 6 slices of 32 x 30 pixels, 0.8 x 0.7 x 2.5 mm",
        "1.2.8",
        "series 2     MR, 1.2.9, 4 slices of 32 x 30 pixels, 0.8 x 0.7 x 2.5 mm",
        "1.2.9",
    ]
    assert run("info", cd, "--series", "2") == 0
    assert "32 x 30 x 4 voxels (i, j, k) of int16" in capsys.readouterr().out
    assert run("info", cd, "--series", "7") == 2
    assert "No series is '7'; there are 2 series (1: Abdomen 2.5, 6 slices; 2:" in capsys.readouterr().err


def test_info_lists_series_beside_one_whose_pixels_have_no_size(run, capsys, cd: Path) -> None:
    pixels = np.zeros((2, 8, 8), np.int16)
    folder = dicomfiles.save_series(cd / "flat", pixels, series="1.2.0", PixelSpacing=["0", "0"], SliceThickness="0")
    dicomfiles.save_series(cd / "placeless", pixels, series="1.2.1", PixelSpacing=None, ImagePositionPatient=None)
    assert run("info", cd) == 0
    out = capsys.readouterr().out
    assert "1.2.0, 2 slices of 8 x 8 pixels, 2.5 mm" in out
    assert "1.2.1, 2 slices of 8 x 8 pixels, no size in mm" in out
    assert run("info", folder) == 2
    assert f"medsam2: {folder}: The pixel spacing is (0.0, 0.0) mm, which is not above 0" in capsys.readouterr().err


def test_info_reads_each_header_once(run, monkeypatch: pytest.MonkeyPatch, cd: Path) -> None:
    read: list[Path] = []

    def counting(path: Path) -> headers.Header | None:
        read.append(path)
        return headers.read_header(path)

    monkeypatch.setattr(series, "read_header", counting)
    assert run("info", cd, "--series", "2") == 0
    assert len(read) == len(set(read)) == 10


def test_propagate_takes_the_series_that_is_named(run, capsys, cd: Path, checkpoint: Path) -> None:
    words = ("--box", "8,10,24,24@2", "--model", checkpoint, "--output", "a.nii", "--quiet")
    assert run("propagate", cd, *words) == 2
    assert "choose one with --series" in capsys.readouterr().err
    assert run("propagate", cd, "--series", "1.2.9", *words) == 0
    assert read_scalar(Path("a.nii"))[0].shape == (4, 30, 32)


def test_tilted_slices_get_their_masks_where_they_lie(run, capsys, tmp_path: Path, checkpoint: Path) -> None:
    folder = dicomfiles.save_series(tmp_path / "tilt", ARRAY, orientation=TILT)
    words = ("--box", "8,10,24,24@2", "--model", checkpoint, "--output", "a.nii.gz", "--report", "r.json", "--quiet")
    assert run("propagate", folder, *words) == 2
    assert "tilted by 17.2 degrees" in capsys.readouterr().err
    assert run("propagate", folder, "--resample", *words) == 0
    written = nibabel.load("a.nii.gz")
    assert written.shape == (32, 30, 6)
    for k in range(6):
        np.testing.assert_allclose(written.affine @ (0, 0, k, 1), (0, 0, 2.5 * k, 1), atol=1e-4)
    # The box of the record, in mm, is where the stored voxels of the prompt lie.
    (prompt,) = json.loads(Path("r.json").read_text(encoding="utf-8"))["objects"][0]["prompts"]
    expected = written.affine @ np.array([(8, 10, 2, 1), (24, 24, 2, 1)]).T
    np.testing.assert_allclose(np.sort(prompt["corners_ras"], axis=0), np.sort(expected[:3].T, axis=0), atol=1e-3)
    assert run("propagate", folder, "--resample", "--mask", "a.nii.gz", *words[2:4], "--output", "b.nii") == 2
    assert "--mask cannot be used with --resample" in capsys.readouterr().err


def test_a_file_has_no_series(run, capsys, ct: Path) -> None:
    assert isinstance(read_scalar(ct)[1], Geometry)
    for option in (("--series", "1"), ("--resample",)):
        assert run("propagate", ct, *option, "--box", "8,8,36,30@5", "--output", "a.nii") == 2
        assert "not DICOM" in capsys.readouterr().err
        assert run("info", ct, *option) == 2
        assert "not DICOM" in capsys.readouterr().err
