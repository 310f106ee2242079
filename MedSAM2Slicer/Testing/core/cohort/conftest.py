"""Small images on disk, and the cases of a table that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core.cohort.cases import Case, make_cases
from medsam2_core.cohort.table import Problem, Row

SHAPE_KJI = (8, 32, 36)
BOX = "8,6,28,26@4"

Cells = Mapping[str, str]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a.nrrd, b.nii.gz and c.mha: a bright ball in noise, each a little different."""
    folder = tmp_path / "images"
    folder.mkdir()
    k, j, i = np.indices(SHAPE_KJI)
    for seed, name in enumerate(("a.nrrd", "b.nii.gz", "c.mha")):
        array = np.random.default_rng(seed).normal(0, 20, SHAPE_KJI)
        array[((k - 4) / 3) ** 2 + ((j - 16) / 9) ** 2 + ((i - 18 - seed) / 9) ** 2 < 1] += 100
        image = sitk.GetImageFromArray(array.astype(np.int16))
        image.SetSpacing((0.8, 1.25, 2.5))
        sitk.WriteImage(image, str(folder / name))
    return folder


@pytest.fixture
def made(images: Path) -> Callable[..., tuple[list[Case], list[Problem]]]:
    """Cases of rows that are given as cells by column; row numbers count from 2."""

    def make(*rows: Cells, shared: Sequence[str] = ()) -> tuple[list[Case], list[Problem]]:
        numbered = [Row(number, dict(cells)) for number, cells in enumerate(rows, 2)]
        return make_cases(numbered, images, tuple(shared))

    return make
