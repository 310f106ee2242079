"""Labeled volumes to measure on: read from folders, hung upright, and split into their structures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Mask
from medsam2_core.errors import VolumeError
from medsam2_core.files.text import TextError, read_json, read_rows
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import Hanging, SliceOrientation
from medsam2_core.image.slicing import choose_axis
from medsam2_core.io import holds_segments, read_labelmap, read_segments, read_volume

_NAME_FILES = (".json", ".csv")
_ADVICE = 'write {"1": "liver"} as JSON or lines such as 1,liver as CSV'


@dataclass(frozen=True)
class Structure:
    """One label of a case."""

    label: int
    name: str
    volume_ml: float


@dataclass(frozen=True)
class Case:
    """An image and its labels, (slices, rows, columns), hung upright; spacing in mm along the same axes."""

    name: str
    image: npt.NDArray[Any]  # HU or the scanner's unit
    labels: npt.NDArray[np.integer[Any]]
    spacing: tuple[float, float, float]
    names: Mapping[int, str]
    across: tuple[Hanging, Hanging] = (Hanging(), Hanging())  # how slices along rows and columns hang

    def structures(self, min_ml: float) -> list[Structure]:
        """List the structures of `min_ml` and more, by label; one without a name is called by its number."""
        values, counts = np.unique(self.labels, return_counts=True)
        voxel_ml = math.prod(self.spacing) / 1000
        sizes = {int(value): int(count) * voxel_ml for value, count in zip(values, counts, strict=True) if value > 0}
        return [Structure(label, self.names.get(label, str(label)), ml) for label, ml in sizes.items() if ml >= min_ml]

    def mask(self, structure: Structure) -> Mask:
        """Mask (slices, rows, columns) of a structure."""
        return self.labels == structure.label


def case_folders(dataset: Path) -> list[Path]:
    """Return the folders of a data set, one for each case, in order; hidden ones are left out."""
    return [path for path in sorted(dataset.glob("*/")) if not path.name.startswith(".")]


def read_case(folder: Path, axis: str = "axial") -> Case:
    """Read `image.*` and `labels.*` of a folder, with names from `labels.json` or `labels.csv` if it has one.

    `axis` is axial, coronal or sagittal, or 0, 1, 2 for k, j, i. The JSON file maps label numbers to names; the CSV
    file has the number and the name in its first two columns. Labels in a `.seg.nrrd`, DICOM SEG or RTSTRUCT bring
    their own names.
    Raises VolumeError for files that are missing, doubled, damaged or on different grids.
    """
    image, labels = _only(folder, "image"), _only(folder, "labels")
    if holds_segments(labels):
        grid = read_volume(image).geometry
        named = {segment.label: segment.name for segment in read_segments(labels, grid)[1]}
    else:
        named = _read_names(folder)
    return make_case(folder.name, image, labels, named, axis)


def make_case(name: str, image: Path, labels: Path, names: Mapping[int, str], axis: str = "axial") -> Case:
    """Read a case from any two files `io` can read; otherwise as `read_case`."""
    volume = read_volume(image)
    orientation = SliceOrientation.upright(volume.geometry, choose_axis(axis, volume.geometry))
    return Case(
        name,
        np.ascontiguousarray(orientation.turn(volume.array)),
        np.ascontiguousarray(orientation.turn(_read_labels(labels, volume.geometry))),
        orientation.turn_spacing(volume.geometry.spacing_kji),
        names,
        orientation.across,
    )


def _read_labels(path: Path, geometry: Geometry) -> npt.NDArray[np.integer[Any]]:
    if holds_segments(path):
        return read_segments(path, geometry)[0]
    return read_labelmap(path, geometry)


def _only(folder: Path, stem: str) -> Path:
    """Return the one image file called `stem`; names of labels are not an image."""
    found = [path for path in folder.glob(f"{stem}.*") if path.suffix not in _NAME_FILES]
    if len(found) != 1:
        raise VolumeError(f"{folder} needs exactly one image file called {stem}.*, it has {len(found)}.")
    return found[0]


def _read_names(folder: Path) -> dict[int, str]:
    """The names of labels by number, from `labels.json` or `labels.csv`; none if there is neither."""
    for suffix, read in ((".json", _from_json), (".csv", _from_rows)):
        path = folder / f"labels{suffix}"
        if path.exists():
            try:
                return read(path)
            except TextError as error:
                raise VolumeError(f"{path} names no labels: {error}: {_ADVICE}.") from error
            except (OSError, ValueError, AttributeError, IndexError) as error:
                raise VolumeError(f"{path} names no labels: {_ADVICE}.") from error
    return {}


def _from_json(path: Path) -> dict[int, str]:
    return {int(number): str(name) for number, name in read_json(path).items()}


def _from_rows(path: Path) -> dict[int, str]:
    """First two columns; a first row without a number is a heading."""
    rows = read_rows(path)
    heading = bool(rows) and not rows[0][0].isdigit()
    return {int(row[0]): row[1] for row in rows[heading:]}
