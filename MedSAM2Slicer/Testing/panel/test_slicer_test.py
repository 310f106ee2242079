"""`make slicer-test` as a whole, with the stand-in in Slicer's place: its tutorial goes all the way on three balls."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from slicer_test import problems

TESTING = Path(__file__).parents[1]
PROGRAM = TESTING.parents[1] / "benchmarks" / "slicer_test.py"
ABSENT = [name for name in ("PySide6", "slicer_core") if importlib.util.find_spec(name) is None]
SECONDS = 900  # on a busy machine

SHAPE = (24, 56, 60)
RADIUS = 9
CENTERS = ((11, 14, 15), (12, 40, 44), (12, 14, 45))


def balls(path: Path) -> None:
    """Noise with three bright balls, 1 mm a voxel."""
    voxels = np.random.default_rng(0).normal(-100, 10, SHAPE)
    grid = np.indices(SHAPE)
    for center in CENTERS:
        voxels[sum((axis - at) ** 2 for axis, at in zip(grid, center, strict=True)) < RADIUS**2] += 200
    sitk.WriteImage(sitk.GetImageFromArray(voxels.astype(np.int16)), path)


def ras(k: float, j: float, i: float) -> list[float]:
    return [-i, -j, k]


def run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTING.parent), str(TESTING), str(TESTING / "support")]),
        "QT_QPA_PLATFORM": "offscreen",
    }
    slicer = f"{sys.executable} -m standin.slicer_program"
    command = [sys.executable, str(PROGRAM), "--slicer", slicer, "--out", str(out), *options]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False)


@pytest.mark.timeout(SECONDS)
@pytest.mark.skipif(bool(ABSENT), reason=f"needs {' and '.join(ABSENT)}; make test installs them")
def test_the_tutorial_and_self_tests(tmp_path: Path) -> None:
    balls(tmp_path / "balls.nrrd")
    k, j, i = CENTERS[0]
    box = [ras(k, j - RADIUS - 1, i - RADIUS - 1), ras(k, j + RADIUS + 1, i + RADIUS + 1)]
    places = {"box": box, "inside": ras(k, j + 2, i + 5), "coronal": ras(*CENTERS[1]), "oblique": ras(*CENTERS[2])}
    (tmp_path / "places.json").write_text(json.dumps(places), encoding="utf-8")
    files = ["--ct", str(tmp_path / "balls.nrrd"), "--places", str(tmp_path / "places.json")]
    done = run(tmp_path, *files, "--only", "tutorial", "test_options.TextTest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well." in done.stdout
    results = json.loads((tmp_path / "tutorial.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in results["steps"]][-3:] == ["load", "secondCoronal", "thirdOblique"]
    assert "skipped" not in json.dumps(results)
    assert len(list((tmp_path / "tutorial").glob("*.png"))) == len(results["steps"])


@pytest.mark.timeout(SECONDS)
@pytest.mark.skipif(bool(ABSENT), reason=f"needs {' and '.join(ABSENT)}; make test installs them")
def test_what_fails_is_told(tmp_path: Path) -> None:
    balls(tmp_path / "balls.nrrd")
    outside = {"box": [ras(11, 5, 5), ras(11, 20, 20)], "inside": ras(11, 5, 5), "coronal": [], "oblique": []}
    outside["box"] = [[x + 500 for x in corner] for corner in outside["box"]]
    (tmp_path / "places.json").write_text(json.dumps(outside), encoding="utf-8")
    files = ["--ct", str(tmp_path / "balls.nrrd"), "--places", str(tmp_path / "places.json")]
    done = run(tmp_path, *files, "--only", "tutorial")
    assert done.returncode == 1
    assert "at step box" in done.stdout


def test_the_log_is_read() -> None:
    log = "\n".join(
        [
            "MedSAM2Slicer was loaded",
            "Traceback (most recent call last):",
            '  File "x.py", line 1, in y',
            "IndexError: index 220 is out of bounds",
            "/x/MedSAM2Slicer/a.py:3: DeprecationWarning: gone soon",
            "QWidget: a warning of somebody else",
        ]
    )
    assert list(problems(log)) == [
        "log line 2: IndexError: index 220 is out of bounds",
        "log line 5: /x/MedSAM2Slicer/a.py:3: DeprecationWarning: gone soon",
    ]
