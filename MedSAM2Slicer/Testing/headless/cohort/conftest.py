"""A cohort that `medsam2 batch` made with the starter, and a review of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from dicomfiles import save_series

from medsam2_core.cli.main import run as commandLine

SHAPE_KJI = (6, 40, 48)
TABLE = """case,image,object,box,point,mask
two,two.nrrd,ball,"10,8,26,26@3",,
two,two.nrrd,block,,"38,30,2",
turned,turned.nii.gz,ball,,,given.nrrd
dicom,dicom,ball,,"18,17,3 18,20,3",
broken,broken,ball,,"18,17,3",
"""
# Kept apart: these take another way through reading.
SPECIAL = """case,image,object,point,resample,window,prompts,axis,range
color,color.mha,ball,"18,17,3",,,,,
uneven,broken,ball,"18,17,3",yes,40/400,,,
stroke,two.nrrd,,,,,stroke.json,,
coronal,two.nrrd,ball,"18,17,3",,,,coronal,14:21
"""


def phantom(seed: int) -> np.ndarray:
    """A bright ball and a brighter block in noise."""
    k, j, i = np.indices(SHAPE_KJI)
    array = np.random.default_rng(seed).normal(0, 15, SHAPE_KJI)
    array[((k - 3) / 3) ** 2 + ((j - 17) / 9) ** 2 + ((i - 18 - seed) / 8) ** 2 < 1] += 120
    array[1:5, 26:34, 34:43] += 220
    return array.astype(np.int16)


def written(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.25, 2.5))
    image.SetOrigin((5.0, -20.0, 31.0))
    if "turned" in path.name or "given" in path.name:
        cosine, sine = np.cos(0.3), np.sin(0.3)
        image.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, its images and, in "out", the results: three cases that are done and one that failed."""
    folder = tmp_path_factory.mktemp("cohort")
    written(folder / "two.nrrd", phantom(0))
    written(folder / "turned.nii.gz", phantom(1))
    given = (phantom(1) > 60).astype(np.uint8)
    given[:3] = given[4:] = 0
    given[:, 24:] = 0
    written(folder / "given.nrrd", given)
    save_series(folder / "dicom", phantom(2))
    save_series(folder / "broken", phantom(3), place=lambda index: (0.0, 0.0, float(index**2)))
    (folder / "table.csv").write_text(TABLE, encoding="utf-8")
    assert commandLine(["batch", str(folder / "table.csv"), "--output", str(folder / "out"), "--quiet"]) == 3
    return folder


@pytest.fixture
def special(made: Path, tmp_path: Path) -> Path:
    """Results of a volume in color, of a series that was put on a regular grid, and of a stroke."""
    voxels = np.clip(phantom(0)[..., None] + np.array((40, 60, 80)), 0, 255).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(made / "color.mha"))
    ras = [[-5 - 0.8 * i, 20 - 1.25 * 17, 31 + 2.5 * 3] for i in (14, 18, 22)]
    prompts = [{"kind": "scribble", "points_ras": ras, "include": True}]
    content = {"objects": [{"name": "ball", "prompts": prompts}]}
    (made / "stroke.json").write_text(json.dumps(content), encoding="utf-8")
    (made / "special.csv").write_text(SPECIAL, encoding="utf-8")
    assert commandLine(["batch", str(made / "special.csv"), "--output", str(tmp_path / "special"), "--quiet"]) == 0
    return tmp_path / "special"


@pytest.fixture
def reviewed(made: Path, scene: Any, client: Any, tmp_path: Path) -> Iterator[Any]:
    """A bench on a copy of the cohort."""
    from reviewbench import ReviewBench

    bench = ReviewBench(Path(shutil.copytree(made, tmp_path / "cohort")), client)
    yield bench
    bench.close()
