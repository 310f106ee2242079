"""Masks, label maps and segmentations, read on the grid of the volume they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from medsam2_core.arrays import Array, Mask
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import (
    GRAY,
    Labels,
    LayeredSegment,
    Segment,
    from_metadata,
    layer_mask,
    merge_layers,
    merge_masks,
)
from medsam2_core.image.terminology import Terminology
from medsam2_core.io import itk
from medsam2_core.io.dicom.objects import DicomObjects
from medsam2_core.io.dicom.scan import is_dicom
from medsam2_core.io.volume import naming, read_scalar, require_readable

_SHOWN = 8


def read_mask(path: str | Path, geometry: Geometry, name: str | None = None) -> Mask:
    """Read a mask (k, j, i) of one object: true wherever the file is not 0 (or NaN).

    Of a segmentation (Slicer's, or DICOM's SEG and RTSTRUCT), or a label map of several labels, `name` is the exact
    name, or the label, of the one that is meant; layers are read. Raises VolumeError if the file cannot be read;
    PromptError if it is empty, not on the grid of `geometry`, holds several objects and no name says which, or none of
    that name.
    """
    path = Path(path)
    with naming(path):
        require_readable(path)
        mask = _reader(path)(path, geometry, name)
        if not mask.any():
            raise PromptError("The mask marks no voxel: paint the object on at least one slice.")
    return mask


def read_labelmap(path: str | Path, geometry: Geometry | None = None) -> Labels:
    """Read a label map (k, j, i) of any integer type; whole numbers stored as floats become int32.

    Raises VolumeError if it cannot be read, holds fractions, or is not on the grid of `geometry` (if given).
    """
    path = Path(path)
    with naming(path):
        require_readable(path)
        array, grid, _ = read_scalar(path)
        _require_grid(grid, geometry, VolumeError)
        return as_labels(array)


def read_segments(path: str | Path, geometry: Geometry | None = None) -> tuple[Labels, tuple[Segment, ...]]:
    """Read a segmentation (Slicer's, or DICOM SEG or RTSTRUCT): its label map (k, j, i) as uint16 and its segments.

    DICOM needs the `geometry` of the volume. Layers are merged into one label map; a segment whose label another layer
    has already used gets a new one. What Slicer cropped is put in its place on the grid of `geometry` (if given).
    Raises VolumeError if it cannot be read, names no segment, has segments that overlap, is not on the grid of
    `geometry` (if given), or is DICOM and no geometry is given; PromptError for DICOM on other voxels than its.
    """
    path = Path(path)
    with naming(path):
        require_readable(path)
        if is_dicom_file(path):
            return _dicom_segments(path, geometry)
        layers, found, grid = read_layers(path)
        merged, segments = merge_layers(layers, found)
        return (merged if geometry is None else on_grid(merged, grid, geometry, VolumeError)), segments


def holds_segments(path: Path) -> bool:
    """Whether `read_segments` reads a file, by its name and first bytes. Raises OSError if it cannot be read."""
    return is_segmentation(path) or is_dicom_file(path)


def read_terminology(path: str | Path, name: str | None = None) -> Terminology | None:
    """What a segmentation (Slicer's or DICOM's) says that its segment of that name, or its only one, is.

    None where nothing is said. Raises VolumeError if the file cannot be read.
    """
    path = Path(path)
    with naming(path):
        require_readable(path)
        said = [known for named, known in _terminologies(path) if name in (None, named)]
        return said[0] if len(said) == 1 else None


def _terminologies(path: Path) -> list[tuple[str, Terminology | None]]:
    """The names of segments, and what they are."""
    if is_segmentation(path):
        segments = (item.segment for item in from_metadata(itk.read_metadata(path)))
        return [(segment.name, segment.terminology) for segment in segments]
    if is_dicom_file(path):
        objects = DicomObjects(path)
        return [(named, objects.terminology(number)) for number, named in objects.names.items()]
    return []


def is_dicom_file(path: Path) -> bool:
    return path.is_file() and is_dicom(path)


def _reader(path: Path) -> Callable[[Path, Geometry, str | None], Mask]:
    if is_segmentation(path):
        return _segment_mask
    return _dicom_mask if is_dicom_file(path) else _label_mask


def is_segmentation(path: Path) -> bool:
    return path.name.lower().endswith(".seg.nrrd")


def _dicom_segments(path: Path, geometry: Geometry | None) -> tuple[Labels, tuple[Segment, ...]]:
    if geometry is None:
        raise VolumeError("A DICOM segmentation says its place frame by frame: give it together with its volume.")
    objects = DicomObjects(path)
    found = [Segment(name, number, GRAY, objects.terminology(number)) for number, name in objects.names.items()]
    return merge_masks(geometry.shape_kji, found, (objects.mask(number, geometry) for number in objects.names))


def _dicom_mask(path: Path, geometry: Geometry, name: str | None) -> Mask:
    objects = DicomObjects(path)
    chosen = [number for number, one in objects.names.items() if name in (None, one)]
    if len(chosen) != 1:
        refuse_choice(path, name, len(chosen), list(objects.names.values()))
    return objects.mask(chosen[0], geometry)


def read_layers(path: Path) -> tuple[Array, list[LayeredSegment], Geometry]:
    """The layers (layer, k, j, i) of a segmentation, its segments, and its grid. Raises VolumeError."""
    image = itk.read_image(path)
    found = from_metadata(image.metadata)
    if not found:
        raise VolumeError("The file names no segments: save it from Slicer as a segmentation (.seg.nrrd).")
    grid = image.require_3d()
    layers = np.moveaxis(image.array, 3, 0) if image.array.ndim == 4 else image.array[np.newaxis]
    return layers, found, grid


def _segment_mask(path: Path, geometry: Geometry, name: str | None) -> Mask:
    layers, found, grid = read_layers(path)
    names = [item.segment.name for item in found]
    chosen = [item for item in found if name is None or item.segment.name == name]
    if len(chosen) != 1:
        refuse_choice(path, name, len(chosen), names)
    return on_grid(layer_mask(layers, chosen[0]), grid, geometry, PromptError)


def on_grid(part: Array, grid: Geometry, wanted: Geometry, error: type[VolumeError] | type[PromptError]) -> Array:
    """Voxels on the volume's grid, of which Slicer may have written a part. Raises `error` for another grid."""
    first = np.rint(wanted.lps_to_ijk([grid.origin_lps])[0])[::-1]  # it may be too far off for an integer
    is_within = ((first >= 0) & (first + grid.shape_kji <= wanted.shape_kji)).all()
    if not is_within or not wanted.part(first.astype(int), grid.shape_kji).same_grid(grid):
        _require_grid(grid, wanted, error)
    start = first.astype(int)
    stop = start + grid.shape_kji
    whole = np.zeros(wanted.shape_kji, part.dtype)
    whole[tuple(slice(first, last) for first, last in zip(start, stop, strict=True))] = part
    return whole


def _label_mask(path: Path, geometry: Geometry, name: str | None) -> Mask:
    labels, grid, marked = read_marked(path)
    _require_grid(grid, geometry, PromptError)
    there = list(map(str, marked))
    if name is not None and name not in there:
        refuse_choice(path, name, 0, there)
    if name is None and len(there) > 1:
        refuse_choice(path, name, len(there), there)
    mask: Mask = labels == int(name) if name is not None else labels != 0
    return mask


def read_marked(path: Path) -> tuple[Labels, Geometry, list[int]]:
    """The voxels (k, j, i) of a label map, NaN taken for 0; its grid; and its labels but 0. Raises VolumeError."""
    array, grid, _ = read_scalar(path)
    labels = as_labels(np.nan_to_num(array) if array.dtype.kind == "f" else array)
    return labels, grid, [label for label in np.unique(labels).tolist() if label != 0]


def refuse_choice(path: Path, name: str | None, fitting: int, names: list[str]) -> None:
    """Raise PromptError for a name that no object has or several have, or for several objects without a name."""
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    if name is None:
        raise PromptError(f"The file holds {len(names)} objects ({shown}): say which one as {path.name}:NAME.")
    if fitting > 1:
        raise PromptError(f"{fitting} segments are called {name!r}: rename all but one of them.")
    if not names:
        raise PromptError(f"The file holds no {name!r}, since it marks nothing: give another file.")
    raise PromptError(f"The file holds no {name!r}: give one of {shown}.")


def _require_grid(found: Geometry, wanted: Geometry | None, error: type[VolumeError] | type[PromptError]) -> None:
    if wanted is not None and not found.same_grid(wanted):
        raise error(
            f"The file has {found.describe()} but the volume has {wanted.describe()}: "
            "resample it to the volume's grid (nearest neighbor), or export it again with the volume as reference."
        )


def as_labels(array: Array) -> Labels:
    if array.dtype.kind in "iu":
        return array
    if not np.isfinite(array).all() or np.abs(array).max() > np.iinfo(np.int32).max:
        raise VolumeError("The file holds values that are not labels (NaN or too large): give a label map.")
    labels = array.astype(np.int32)
    if not np.array_equal(labels, array):
        raise VolumeError("The file holds fractional values, so it is an image or a probability: give a label map.")
    return labels
