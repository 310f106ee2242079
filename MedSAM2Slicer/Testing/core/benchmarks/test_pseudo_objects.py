"""Regions of an image without labels: those with a border in the picture, and no others."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import open_data
import training_data
from pseudo_objects import pseudo_objects


def picture() -> tuple[sitk.Image, npt.NDArray[np.bool_]]:
    """A bright ball in gray noise, and where it is."""
    k, j, i = np.ogrid[:24, :64, :64]
    ball = ((k - 12) * 2.0) ** 2 + (j - 30) ** 2 + (i - 34) ** 2 < 14**2
    noise = np.random.default_rng(0).normal(0, 0.02, ball.shape)
    image = sitk.GetImageFromArray((0.4 + 0.4 * ball + noise).astype(np.float32))
    image.SetSpacing((1.0, 1.0, 2.0))
    return image, ball


def test_a_ball_is_found_whole_and_nothing_of_the_noise_around_it_is_an_object() -> None:
    image, ball = picture()
    maps = {name: sitk.GetArrayFromImage(labels) for name, labels in pseudo_objects(image)}
    assert len(maps) == 7
    overlap = {}
    for name, labels in maps.items():
        for label in range(1, int(labels.max()) + 1):
            region = labels == label
            overlap[name, label] = 2 * (region & ball).sum() / (region.sum() + ball.sum())
    assert max(overlap.values()) > 0.9
    assert sum(int((labels > 0)[~ball].sum()) for labels in maps.values()) < 0.05 * ball.size * len(maps)


def test_an_image_of_brainbrowser_stands_upright(tmp_path: Path) -> None:
    """Axes come in the header's order; x and y run as in LPS, z the other way."""
    header = {"order": ["xspace", "zspace", "yspace"]}
    grid: dict[str, object] = header | {
        a: {"space_length": n, "step": -1} for a, n in zip(("xspace", "yspace", "zspace"), (2, 3, 4), strict=True)
    }
    files = open_data.MincFiles(tmp_path / "a.header.gz", tmp_path / "a.raw.gz")
    files.header.write_bytes(gzip.compress(json.dumps(grid).encode()))
    files.voxels.write_bytes(gzip.compress(bytes(range(24))))
    image = training_data._read_minc(files)
    assert image.GetSize() == (2, 3, 4)
    assert image.GetPixel(0, 0, 3) == 0
    assert image.GetPixel(0, 1, 3) == 1
    assert image.GetPixel(0, 0, 2) == 3
    assert image.GetPixel(1, 0, 3) == 12


def test_regions_are_cases_to_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsam2_core.training.volumes import open_folder

    monkeypatch.setattr(training_data, "real_images", lambda: {"ball": picture()[0]})
    training_data.write_pseudo(tmp_path)
    volumes = open_folder(tmp_path)
    assert {volume.shape for volume in volumes} == {(24, 64, 64)}
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("labels.nrrd")}
    assert len(written) == len(volumes)
    training_data.write_pseudo(tmp_path)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("labels.nrrd")}
