"""Random DICOM series: what is accepted lies and counts as its headers say, whatever is wrong with the rest."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from dicomfiles import dataset, number, save
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medsam2_core import io
from medsam2_core.errors import VolumeError

FAULTS = ("none", "tilt", "gap", "duplicate", "shift", "truncated", "empty", "size", "orientation", "spacing", "two")
REGULAR = ("none",)


@dataclass(frozen=True)
class Recipe:
    count: int
    shape: tuple[int, int]
    spacing: tuple[float, float]
    step: float
    angles: tuple[float, float, float]
    slopes: str
    fault: str
    seed: int


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    scale = draw(st.sampled_from((1.0, 1.0, 1.0, 1e-4, 1e3)))
    spacings = st.sampled_from((0.5, 0.7, 1.25, 3.0)).map(lambda value: value * scale)
    return Recipe(
        draw(st.integers(4, 9)),
        (draw(st.integers(2, 6)), draw(st.integers(2, 6))),
        (draw(spacings), draw(spacings)),
        draw(spacings),
        draw(st.tuples(*[st.floats(-180, 180)] * 3)),
        draw(st.sampled_from(("one", "same", "each"))),
        draw(st.sampled_from(FAULTS)),
        draw(st.integers(0, 1 << 16)),
    )


def write(folder: Path, recipe: Recipe) -> None:
    """A series of the recipe, in files of random names."""
    chance = random.Random(recipe.seed)
    turn = Rotation.from_euler("xyz", recipe.angles, degrees=True).as_matrix()
    step = turn[:, 2] * recipe.step
    if recipe.fault == "tilt":
        step = step + turn[:, 1] * recipe.step * chance.choice((0.002, 0.05, 0.4))
    odd = chance.randrange(1, recipe.count - 1)
    for index in range(recipe.count):
        place = np.array([-100.0, 50.0, 700.0]) * recipe.step + index * step
        cosines, spacing, shape = turn[:, :2].T.ravel(), recipe.spacing, recipe.shape
        if index == odd and recipe.fault == "gap":
            continue
        if index == odd and recipe.fault == "duplicate":
            place = place - step
        if index == odd and recipe.fault == "shift":
            place = place + turn[:, chance.randrange(3)] * recipe.step * 0.2
        if index == odd and recipe.fault == "size":
            shape = (shape[0] + 1, shape[1])
        if index == odd and recipe.fault == "orientation":
            cosines = -cosines
        if index == odd and recipe.fault == "spacing":
            spacing = (spacing[0] * 1.3, spacing[1])
        pixels = np.random.default_rng((recipe.seed, index)).integers(-2000, 2000, shape).astype(np.int16)
        slope = {"one": "1", "same": "0.37", "each": number(0.1 + index / 7)}[recipe.slopes]
        series = "1.2.3.5" if recipe.fault == "two" and index > odd else "1.2.3.4"
        data = dataset(pixels, place, cosines, spacing, series, RescaleSlope=slope, RescaleIntercept="-5")
        path = save(data, folder / f"{chance.randrange(10**9)}.dcm")
        if index == odd and recipe.fault in ("truncated", "empty"):
            whole = path.read_bytes()
            path.write_bytes(whole[: 0 if recipe.fault == "empty" else chance.randrange(1, len(whole) - 8)])


def by_headers(folder: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each file its values, the LPS of its first pixel, and the steps from pixel to pixel, as pydicom has them."""
    found = []
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        cosines = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
        steps = cosines * np.array(data.PixelSpacing, float)[::-1, None]
        values = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        found.append((values, np.array(data.ImagePositionPatient, float), steps))
    return found


@settings(max_examples=120)
@given(recipe=recipes())
def test_accepted_means_that_headers_agree(tmp_path: Path, recipe: Recipe) -> None:
    folder = tmp_path / "series"
    shutil.rmtree(folder, ignore_errors=True)
    write(folder, recipe)
    try:
        volume = io.read_volume(folder)
    except VolumeError:
        assert recipe.fault not in REGULAR
        return
    assert recipe.fault in REGULAR
    files = by_headers(folder)
    assert len(files) == len(volume.array) == recipe.count
    rows, columns = volume.array.shape[1:]
    for values, first, steps in files:
        corner = volume.geometry.lps_to_ijk([first])[0]
        k = round(float(corner[2]))
        np.testing.assert_allclose(volume.array[k], values, atol=1e-3 * np.ptp(volume.array))
        for i, j in ((0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)):
            lps = volume.geometry.ijk_to_ras([(i, j, k)])[0] * (-1, -1, 1)
            assert np.linalg.norm(lps - (first + i * steps[0] + j * steps[1])) <= 0.01
