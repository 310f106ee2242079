"""The objects of a segmentation of another image, such as of an earlier study, on the grid of this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment, layer_mask
from medsam2_core.io import itk
from medsam2_core.io.dicom.objects import DicomObjects
from medsam2_core.io.labels import (
    as_labels,
    is_dicom_file,
    is_segmentation,
    read_layers,
    refuse_choice,
)
from medsam2_core.io.volume import naming, read_scalar, require_readable
from medsam2_core.notices import tell


@dataclass(frozen=True)
class PriorObject:
    """An object: its name, its voxels (k, j, i), and what a segmentation says of it."""

    name: str
    mask: Mask
    segment: Segment | None = None


def read_prior(
    path: str | Path, geometry: Geometry, name: str | None = None, transform: Path | None = None
) -> list[PriorObject]:
    """The objects of a segmentation or label map on any grid, or the one of that name, on the grid of `geometry`.

    A voxel has what is nearest to its center; a `transform` file says where in the segmentation that lies, as the one
    that registration gives when the earlier image is moved onto this one. Labels of a label map are names. What is
    outside of this image is left out, which is told.
    Raises VolumeError for a file that cannot be read, and PromptError where no object is left.
    """
    path = Path(path)
    with naming(path):
        require_readable(path)
        found = list(_carried(path, geometry, name, transform))
        outside = [one.name for one in found if not one.mask.any()]
        if len(outside) == len(found):
            raise PromptError("It marks no voxel within this image: give another segmentation, or its --transform.")
        if outside:
            tell(f"{', '.join(map(repr, outside))}: nothing of it is within this image, so it is left out.")
        return [one for one in found if one.mask.any()]


def _carried(path: Path, geometry: Geometry, name: str | None, transform: Path | None) -> Iterator[PriorObject]:
    if is_dicom_file(path):
        yield from _of_dicom(path, geometry, name, transform)
        return
    grid, objects = _read(path)
    for one in _chosen(path, objects, name):
        with naming(transform or path):
            mask = itk.resampled(one.mask, grid, geometry, transform)
        yield PriorObject(one.name, mask, one.segment)


def _read(path: Path) -> tuple[Geometry, list[PriorObject]]:
    """The objects on the file's own grid, and that."""
    if is_segmentation(path):
        layers, found, grid = read_layers(path)
        return grid, [PriorObject(item.segment.name, layer_mask(layers, item), item.segment) for item in found]
    array, grid, _ = read_scalar(path)
    labels = as_labels(np.nan_to_num(array) if array.dtype.kind == "f" else array)
    return grid, [PriorObject(str(label), labels == label) for label in np.unique(labels).tolist() if label != 0]


def _of_dicom(path: Path, geometry: Geometry, name: str | None, transform: Path | None) -> Iterator[PriorObject]:
    if transform is not None:
        raise VolumeError("A DICOM segmentation cannot be transformed here: save it from Slicer as .seg.nrrd.")
    objects = DicomObjects(path)
    for number, named in objects.names.items():
        if name in (None, named):
            yield PriorObject(named, objects.mask(number, geometry))


def _chosen(path: Path, objects: list[PriorObject], name: str | None) -> list[PriorObject]:
    chosen = [one for one in objects if name in (None, one.name)]
    names = [one.name for one in objects]
    if name is not None and len(chosen) != 1:
        refuse_choice(path, name, len(chosen), names)
    for named in names:
        if names.count(named) > 1 and name is None:
            raise PromptError(f"{names.count(named)} segments are called {named!r}: rename all but one of them.")
    return chosen
