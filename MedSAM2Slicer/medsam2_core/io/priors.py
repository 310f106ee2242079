"""The objects of a segmentation of another image, such as of an earlier study, on the grid of this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Color, Labels, LayeredSegment, layer_mask
from medsam2_core.image.terminology import Terminology
from medsam2_core.io import itk
from medsam2_core.io.dicom.objects import DicomObjects
from medsam2_core.io.labels import is_dicom_file, is_segmentation, read_layers, read_marked, refuse_choice
from medsam2_core.io.volume import naming, require_readable
from medsam2_core.notices import tell


@dataclass(frozen=True)
class PriorObject:
    """An object: its name, its voxels (k, j, i), and its color (0 to 1) and what it is, where the file says that."""

    name: str
    mask: Mask
    color: Color | None
    terminology: Terminology | None


@dataclass(frozen=True)
class _Shown:
    """An object that a file shows; its voxels are made when they are asked for."""

    name: str
    mask: Callable[[], Mask]
    color: Color | None = None
    terminology: Terminology | None = None


def read_prior(
    path: str | Path, geometry: Geometry, name: str | None = None, transform: Path | None = None
) -> Iterator[PriorObject]:
    """The objects of a segmentation or label map, or the one of that name, on the grid of `geometry`, one by one.

    The file may have any grid, but DICOM's SEG and RTSTRUCT must lie on the voxels of `geometry`. A voxel has what is
    nearest to its center; a `transform` file says where in the segmentation that lies, as the one that registration
    gives when the earlier image is moved onto this one. Labels of a label map are names. What is outside of this image
    is left out, which is told at the end.
    Raises VolumeError for a file that cannot be read, and PromptError where no object is left, or for a name that no
    object has or several have.
    """
    path = Path(path)
    with naming(path):
        require_readable(path)
        chosen = _chosen(path, _shown(path, geometry, transform), name)
    outside: list[str] = []
    for one in chosen:
        with naming(path):
            mask = one.mask()
        if mask.any():
            yield PriorObject(one.name, mask, one.color, one.terminology)
        else:
            outside.append(one.name)
    with naming(path):
        if len(outside) == len(chosen):
            raise PromptError("It marks no voxel within this image: give another segmentation, or its --transform.")
        if outside:
            tell(f"{', '.join(map(repr, outside))}: nothing of it is within this image, so it is left out.")


def _shown(path: Path, geometry: Geometry, transform: Path | None) -> list[_Shown]:
    """The objects of a file, whose masks are on the grid of `geometry`."""
    if is_dicom_file(path):
        return _of_dicom(path, geometry, transform)
    carry = partial(_carried, path, geometry, transform)
    return _of_segmentation(path, carry) if is_segmentation(path) else _of_labels(path, carry)


def _carried(path: Path, geometry: Geometry, transform: Path | None, labels: Labels, grid: Geometry) -> Labels:
    with naming(transform or path):
        if transform is not None:
            require_readable(transform)
        return itk.resampled(labels, grid, geometry, transform)


def _of_segmentation(path: Path, carry: Callable[[Labels, Geometry], Labels]) -> list[_Shown]:
    layers, found, grid = read_layers(path)
    carried = cache(lambda: [carry(layer, grid) for layer in layers])

    def shown(item: LayeredSegment) -> _Shown:
        segment = item.segment
        return _Shown(segment.name, lambda: layer_mask(carried(), item), segment.color, segment.terminology)

    return [shown(item) for item in found]


def _of_labels(path: Path, carry: Callable[[Labels, Geometry], Labels]) -> list[_Shown]:
    labels, grid, marked = read_marked(path)
    carried = cache(lambda: carry(labels, grid))

    def shown(label: int) -> _Shown:
        return _Shown(str(label), lambda: carried() == label)

    return [shown(label) for label in marked]


def _of_dicom(path: Path, geometry: Geometry, transform: Path | None) -> list[_Shown]:
    if transform is not None:
        raise VolumeError("A DICOM segmentation cannot be transformed here: save it from Slicer as .seg.nrrd.")
    objects = DicomObjects(path)

    def shown(number: int, name: str) -> _Shown:
        return _Shown(name, lambda: objects.mask(number, geometry), terminology=objects.terminology(number))

    return [shown(number, name) for number, name in objects.names.items()]


def _chosen(path: Path, objects: Sequence[_Shown], name: str | None) -> list[_Shown]:
    chosen = [one for one in objects if name in (None, one.name)]
    names = [one.name for one in objects]
    if name is not None and len(chosen) != 1:
        refuse_choice(path, name, len(chosen), names)
    for named in names:
        if names.count(named) > 1 and name is None:
            raise PromptError(f"{names.count(named)} segments are called {named!r}: rename all but one of them.")
    return chosen
