"""A small volume on disk, and the command line to run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core.cli import main

SHAPE_KJI = (10, 40, 48)
SPACING_IJK = (0.8, 1.25, 2.5)
ORIGIN_LPS = (-30.5, 12.25, 100.125)

Run = Callable[..., int]


@pytest.fixture(scope="session")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright ball in noise, on a left-handed grid whose i runs to the right and j to the back."""
    array = np.random.default_rng(0).normal(0, 20, SHAPE_KJI)
    k, j, i = np.indices(SHAPE_KJI)
    array[((k - 5) / 3) ** 2 + ((j - 18) / 9) ** 2 + ((i - 22) / 11) ** 2 < 1] += 100
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing(SPACING_IJK)
    image.SetOrigin(ORIGIN_LPS)
    image.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    path = tmp_path_factory.mktemp("volume") / "ct.nrrd"
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, single_thread: None) -> Run:
    """The command line, in an empty folder and without models of the user's own."""
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(*words: object) -> int:
        try:
            return main.run([str(word) for word in words])
        except SystemExit as end:  # argparse's way out
            return int(end.code or 0)

    return call
