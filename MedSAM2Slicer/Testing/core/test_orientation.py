"""The same patient gives the same mask, however the file stores the axes: through the real command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import open_data
from medsam2_core import io
from medsam2_core.cli import main

LIVER = 5
MARGIN = 2  # voxels around the reference's box
# The order of the stored axes among i, j, k of the file, and which of them then run the other way.
STORED = {
    "as it is": ((0, 1, 2), (False, False, False)),
    "i flipped": ((0, 1, 2), (True, False, False)),
    "j and k flipped": ((0, 1, 2), (False, True, True)),
    "axes permuted, two flipped": ((2, 0, 1), (True, False, True)),
}


def store(volume: io.Volume, order: tuple[int, ...], flips: tuple[bool, ...], path: Path) -> Path:
    """Write the volume with its axes permuted and flipped, each voxel where it was in the patient."""
    ijk = volume.array.transpose(2, 1, 0).transpose(order)
    spacing = np.array(volume.geometry.spacing_ijk)[list(order)]
    direction = np.array(volume.geometry.direction_lps)[:, list(order)]
    origin = np.array(volume.geometry.origin_lps)
    for axis in np.flatnonzero(flips):
        origin += direction[:, axis] * spacing[axis] * (ijk.shape[axis] - 1)
        direction[:, axis] *= -1
        ijk = np.flip(ijk, axis)
    image = sitk.GetImageFromArray(np.ascontiguousarray(ijk.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def in_patient(volume: io.Volume, segmentation: Path, stored: Path) -> np.ndarray:
    """The mask of another storage, looked up at every voxel of `volume`."""
    labels = io.read_volume(segmentation)
    assert labels.geometry.same_grid(io.read_volume(stored).geometry)  # written on the input's own grid
    k, j, i = (axis.ravel() for axis in np.indices(volume.array.shape))
    found = np.rint(labels.geometry.ras_to_ijk(volume.geometry.ijk_to_ras(np.stack([i, j, k], axis=1)))).astype(int)
    return labels.array[found[:, 2], found[:, 1], found[:, 0]].reshape(volume.array.shape) > 0


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def liver_box(abdomen: open_data.Labeled, plane: str) -> tuple[str, float]:
    """The liver's box on the slice of `plane` with most of it, as --frame ras takes it, and that slice's place (mm)."""
    volume = io.read_volume(abdomen.image)
    liver = io.read_labelmap(abdomen.labels, volume.geometry) == LIVER
    through = volume.geometry.anatomical_axis(plane)
    slice_index = int(np.moveaxis(liver, through, 0).sum(axis=(1, 2)).argmax())
    kji = np.argwhere(np.moveaxis(liver, through, 0)[slice_index])
    corners = np.insert(np.array([kji.min(axis=0) - MARGIN, kji.max(axis=0) + MARGIN]), through, slice_index, axis=1)
    corners = corners.clip(0, np.array(volume.array.shape) - 1)
    low, high = volume.geometry.ijk_to_ras(corners[:, ::-1])
    place = {"sagittal": 0, "coronal": 1, "axial": 2}[plane]
    (x0, y0), (x1, y1) = (np.delete(corner, place).round(3) for corner in (low, high))
    return f"{x0},{y0},{x1},{y1}@{low[place]:.3f}", float(low[place])


def slice_range(geometry: io.Geometry, plane: str, place_mm: float, reach: int) -> str:
    """--range for `reach` slices on both sides of a place, in the file's own numbers."""
    axis = geometry.anatomical_axis(plane)
    ras = np.array(geometry.ijk_to_ras([(0, 0, 0)])[0])
    ras[{"sagittal": 0, "coronal": 1, "axial": 2}[plane]] = place_mm
    index = round(float(geometry.ras_to_ijk([ras])[0][2 - axis]))
    return f"{max(index - reach, 0)}:{min(index + reach + 1, geometry.shape_kji[axis])}"


@pytest.fixture
def propagate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """The bundled starter model on a file; needs nothing of the user's own."""
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path / "home"))

    def call(stored: Path, *options: str) -> Path:
        output = stored.with_suffix(".seg.nrrd")
        assert main.run(["propagate", str(stored), "--output", str(output), "--model", "starter", *options]) == 0
        return output

    return call


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_the_mask_does_not_depend_on_how_the_file_stores_the_patient(
    propagate: Callable[..., Path], abdomen_ct: open_data.Labeled, tmp_path: Path, plane: str
) -> None:
    volume = io.read_volume(abdomen_ct.image)
    box, place = liver_box(abdomen_ct, plane)
    masks = []
    for number, (order, flips) in enumerate(STORED.values()):
        stored = store(volume, order, flips, tmp_path / f"{number}.nrrd")
        reach = slice_range(io.read_volume(stored).geometry, plane, place, reach=7)
        options = ("--axis", plane, "--range", reach, "--frame", "ras", "--box", box, "--device", "cpu", "--quiet")
        masks.append(in_patient(volume, propagate(stored, *options), stored))
    through = volume.geometry.anatomical_axis(plane)
    assert masks[0].any(axis=tuple(axis for axis in range(3) if axis != through)).sum() >= 8  # it was tracked
    assert [name for name, mask in zip(STORED, masks, strict=True) if dice(masks[0], mask) < 0.99] == []
