"""Label maps and segmentations, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from medsam2_core.arrays import Array
from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import MAX_LABEL, Segment, check_all_named, check_segments, to_metadata
from medsam2_core.io import formats
from medsam2_core.io.dicom.grid import Slices
from medsam2_core.io.dicom.segmentation import check_slices, require_highdicom, write_segmentation
from medsam2_core.io.nifti import Place
from medsam2_core.io.volume import Volume, naming

_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".dcm")  # the longer ones first
_NAMING = (".seg.nrrd", ".dcm")  # which hold segments


def check_output_path(path: str | Path) -> None:
    """Raise VolumeError unless `write_labelmap` could write `path`; call it before a long run.

    The extension must be known and the folder exist and take a new file, which is tried. What killed runs left half
    written in the folder is removed.
    """
    with open_draft(path):
        pass


def check_fits(path: str | Path, volume: Volume) -> None:
    """Raise VolumeError unless a label map of this volume can have the format of `path`: DICOM needs DICOM slices."""
    path = Path(path)
    if _suffix(path) == ".dcm":
        with naming(path):
            check_slices(_dicom_slices(volume))


def open_draft(path: str | Path, voxels: int = 0, highest: int = 255) -> Draft:
    """A place for a label map of `voxels` voxels and labels up to `highest`, with its disk space reserved.

    Raises VolumeError, as `check_output_path`, and if there is not enough room.
    """
    path = Path(path)
    with naming(path):
        suffix = _suffix(path)
        if suffix == ".dcm":
            require_highdicom()
        _require_utf8(path)
    return Draft(path, formats.largest_size(suffix, voxels, _kind(highest).itemsize) if voxels else 0)


def write_labelmap(
    path: str | Path,
    labelmap_kji: Array,
    geometry: Geometry,
    segments: Sequence[Segment] = (),
    like: Volume | None = None,
    draft: Draft | None = None,
    model: str = "",
) -> None:
    """Write a label map (k, j, i; 0 is background) on the grid of `geometry`, compressed where the format can.

    `.nii`, `.nii.gz`, `.nrrd` and `.mha` hold the labels alone; `.seg.nrrd` is a Slicer segmentation that also holds
    `segments`, and `.dcm` a DICOM one, which says what `model` drew them. Voxels are uint8 if every label fits, else
    uint16. `like` is the volume the labels were drawn on: NIfTI files say their place in its words, labels of a
    resampled series are brought back to its stored slices, and DICOM refers to these. An existing file is replaced only
    by a complete new one; after any failure the folder is as before. `draft` is a place that `open_draft` gave for
    `path`.
    Raises VolumeError for an output that cannot be written, labels outside 0 to 65535 or an array of another shape.
    """
    path = Path(path)
    with draft or open_draft(path) as place, naming(path):
        suffix = _suffix(path)
        labelmap = _compact_labels(labelmap_kji, geometry)
        check_segments(segments)
        if suffix in _NAMING:
            check_all_named(labelmap, segments)
        where, labelmap = _placed(labelmap, geometry, like, says_each_slice=suffix == ".dcm")
        with _kept(place, path):
            if suffix == ".dcm":
                write_segmentation(place.file, labelmap, segments, _dicom_slices(like), model)
            else:
                named = suffix == ".seg.nrrd"
                entries = to_metadata(segments, labelmap.shape, where.affine_ijk_to_ras) if named else {}
                formats.write(place.file, suffix, labelmap, where, entries)


def write_dicom(
    path: str | Path, labelmap_kji: Array, segments: Sequence[Segment], slices: Slices, model: str = ""
) -> None:
    """Write a label map (k, j, i) as a DICOM segmentation of `slices`, which its own lie on, as `write_labelmap` does.

    Raises VolumeError.
    """
    path = Path(path)
    with open_draft(path) as place, naming(path):
        if labelmap_kji.shape != (len(slices.frames), *slices.shape):
            raise VolumeError(
                f"The label map has shape {labelmap_kji.shape}, and the series {counted(len(slices.frames), 'slice')} "
                f"of {slices.shape}: give the series that it was drawn on."
            )
        check_segments(segments)
        check_all_named(labelmap_kji, segments)
        with _kept(place, path):
            write_segmentation(place.file, labelmap_kji, segments, slices, model)


@contextmanager
def _kept(place: Draft, path: Path) -> Iterator[None]:
    """Put what the statements inside write in its place. Raises VolumeError for what the disk refuses."""
    try:
        yield
        place.keep()
    except OSError as error:
        refusal = str(place.refusal(error)).removeprefix(f"{path}: ")
        raise VolumeError(refusal) from error


def _placed(labelmap: Array, geometry: Geometry, like: Volume | None, says_each_slice: bool) -> tuple[Place, Array]:
    """Where the label map is written to lie, and what of it is; tells of slices that lie elsewhere."""
    if like is None or not like.geometry.same_grid(geometry):
        return Place(geometry.columns_lps, np.array(geometry.origin_lps)), labelmap
    if like.stored is not None:
        if not says_each_slice:
            like.stored.tell_deviation()
        return like.stored.place, like.stored.labels(labelmap)
    return Place(geometry.columns_lps, np.array(geometry.origin_lps), like.forms), labelmap


def _dicom_slices(volume: Volume | None) -> Slices:
    if volume is None or volume.slices is None:
        raise VolumeError(
            "A DICOM segmentation refers to the slices that it was drawn on, and this image is not one: give the "
            "folder of the series, or another extension."
        )
    return volume.slices


def _suffix(path: Path) -> str:
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise VolumeError(f"Unknown extension: end the name with one of {', '.join(_SUFFIXES)}.")


def _require_utf8(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VolumeError("The name contains bytes that are not UTF-8: choose another.") from error


def _kind(highest: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16)


def _compact_labels(labelmap: Array, geometry: Geometry) -> Array:
    """The label map in the smallest type that holds it, after checking that it can be written."""
    if labelmap.shape != geometry.shape_kji:
        raise VolumeError(
            f"The label map has shape {labelmap.shape} but the volume {geometry.shape_kji}: both must be (k, j, i)."
        )
    if labelmap.dtype.kind not in "iub":
        raise VolumeError(f"The label map is of type {labelmap.dtype}: convert it to integers.")
    lowest, highest = int(labelmap.min()), int(labelmap.max())
    if lowest < 0 or highest > MAX_LABEL:
        raise VolumeError(f"The labels go from {lowest} to {highest}: use 0 to {MAX_LABEL}.")
    return labelmap.astype(_kind(highest), copy=False)
