"""Read volumes and masks, write label maps: the only place that uses SimpleITK.

Arrays are (k, j, i). Every error is one sentence that starts with the file and says what to do.
"""

# SimpleITK ships without type annotations.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image import nifti
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import (
    MAX_LABEL,
    Labels,
    Segment,
    check_all_named,
    check_segments,
    from_metadata,
    merge_layers,
    to_metadata,
)

__all__ = [
    "Geometry",
    "Segment",
    "Volume",
    "check_output_path",
    "read_labelmap",
    "read_mask",
    "read_segments",
    "read_volume",
    "write_labelmap",
]

Array = npt.NDArray[Any]

_OUTPUT_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")  # the longer ones first
_UNEVEN_KEY = "ITK_non_uniform_sampling_deviation"  # its value cannot be read through SimpleITK
_UNEVEN_SHARE = 0.1  # of the slice spacing; scanners round positions far more finely than that


@dataclass(frozen=True)
class Volume:
    """A 3D scalar volume as its file holds it: `array` (k, j, i) in HU or the scanner's unit, and its grid."""

    array: Array
    geometry: Geometry
    path: Path


def read_volume(path: str | Path) -> Volume:
    """Read one 3D scalar volume: any image file SimpleITK knows, or a folder with one DICOM series.

    NaN and inf stay, except that ITK reads them as 0 from NIfTI.
    Raises VolumeError for a file or folder that is missing, damaged or incomplete; that holds 2D, 4D, colour or no
    data, or no finite voxel; whose axes are not at right angles; or a folder with no, several or uneven series.
    """
    path = Path(path)
    with _naming(path):
        array, geometry = _scalar_volume(_read_image(path))
        _require_finite_voxel(path, array)
    return Volume(array, geometry, path)


def read_mask(path: str | Path, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Read a mask prompt (k, j, i): true wherever the file is not 0 (or NaN).

    Raises VolumeError if the file cannot be read, PromptError if it is empty or not on the grid of `geometry`.
    """
    path = Path(path)
    with _naming(path):
        array, grid = _scalar_volume(_read_image(path))
        _require_grid(grid, geometry, PromptError)
        mask: npt.NDArray[np.bool_] = np.isfinite(array) & (array != 0)
        if not mask.any():
            raise PromptError("The mask marks no voxel: paint the object on at least one slice.")
    return mask


def read_labelmap(path: str | Path, geometry: Geometry | None = None) -> Labels:
    """Read a label map (k, j, i) of any integer type; whole numbers stored as floats become int32.

    Raises VolumeError if it cannot be read, holds fractions, or is not on the grid of `geometry` (if given).
    """
    path = Path(path)
    with _naming(path):
        array, grid = _scalar_volume(_read_image(path))
        _require_grid(grid, geometry, VolumeError)
        return _as_labels(array)


def read_segments(path: str | Path, geometry: Geometry | None = None) -> tuple[Labels, tuple[Segment, ...]]:
    """Read a Slicer segmentation (`.seg.nrrd`): its label map (k, j, i) as uint16 and its segments in file order.

    Layers are merged into one label map; a segment whose label another layer has already used gets a new one.
    Raises VolumeError if it cannot be read, names no segment, has segments that overlap, or is not on the grid of
    `geometry` (if given).
    """
    path = Path(path)
    with _naming(path):
        image = _read_image(path)
        found = from_metadata({key: image.GetMetaData(key) for key in image.GetMetaDataKeys()})
        if not found:
            raise VolumeError("The file names no segments: save it from Slicer as a segmentation (.seg.nrrd).")
        _require_3d(image)
        _require_grid(_geometry(image), geometry, VolumeError)
        array = sitk.GetArrayFromImage(image)  # components, if there are several, come last
        layers = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[np.newaxis]
        return merge_layers(layers, found)


def check_output_path(path: str | Path) -> None:
    """Raise VolumeError unless `write_labelmap` could write `path`; call it before a long run.

    The extension must be known and the folder exist and take a new file, which is tried. Nothing is left behind.
    """
    path = Path(path)
    with _naming(path):
        _output_suffix(path)
        if path.is_dir():
            raise VolumeError("This is a folder: give the name of a file in it.")
        if not path.parent.is_dir():
            raise VolumeError(f"The folder {path.parent} does not exist: create it or choose another.")
        with _private_folder(path):
            pass


def write_labelmap(path: str | Path, labelmap_kji: Array, geometry: Geometry, segments: Sequence[Segment] = ()) -> None:
    """Write a label map (k, j, i; 0 is background) on the grid of `geometry`, compressed where the format can.

    `.nii`, `.nii.gz`, `.nrrd` and `.mha` hold the labels alone; `.seg.nrrd` is a Slicer segmentation that also holds
    `segments`. Voxels are uint8 if every label fits, else uint16. An existing file is replaced only by a complete
    new one; after any failure the folder is as before.
    Raises VolumeError for an output that cannot be written, labels outside 0 to 65535 or an array of another shape.
    """
    path = Path(path)
    check_output_path(path)
    with _naming(path):
        labelmap = _compact_labels(labelmap_kji, geometry)
        check_segments(segments)
        image = _image(labelmap, geometry)
        if _output_suffix(path) == ".seg.nrrd":
            check_all_named(labelmap, segments)
            for key, value in to_metadata(segments, geometry).items():
                image.SetMetaData(key, value)
        _write_atomically(path, image, labelmap)


# Errors


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Start the text of every error raised inside with the file it is about."""
    try:
        yield
    except (VolumeError, PromptError) as error:
        raise type(error)(f"{path}: {error}") from error.__cause__


@contextmanager
def _quiet_itk() -> Iterator[None]:
    """Keep ITK from printing warnings on top of the exceptions, which say the same."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _require_grid(found: Geometry, wanted: Geometry | None, error: type[VolumeError] | type[PromptError]) -> None:
    if wanted is not None and not found.same_grid(wanted):
        raise error(
            f"The file has {found.describe()} but the volume has {wanted.describe()}: "
            "resample it to the volume's grid (nearest neighbour), or export it again with the volume as reference."
        )


# Reading


def _read_image(path: Path) -> sitk.Image:
    try:
        if not path.exists():
            raise VolumeError("No such file or folder: check the path.")
        with _quiet_itk():
            return _read_series(path) if path.is_dir() else _read_file(path)
    except (RuntimeError, OSError) as error:  # SimpleITK raises nothing but RuntimeError
        if "orthonormal" in str(error):
            raise VolumeError(
                "The volume's axes are not at right angles (a sheared or tilted grid): resample it to a regular grid."
            ) from error
        raise VolumeError(
            "Cannot be read as an image, so it is damaged, incomplete or of an unknown format: "
            "copy it again, check its permissions, or export it as NIfTI, NRRD or DICOM."
        ) from error


def _read_file(path: Path) -> sitk.Image:
    with nifti.without_namesake(path) as source:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(source))
        reader.ReadImageInformation()
        if 0 in reader.GetSize():
            raise VolumeError("The volume is empty (a size of 0): export it again.")
        if nifti.is_nifti(path) and reader.HasMetaDataKey("vox_offset"):
            bits = math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix"))
            nifti.require_complete(source, int(float(reader.GetMetaData("vox_offset"))) + bits // 8)
        return _without_single_time_step(reader.Execute())


def _without_single_time_step(image: sitk.Image) -> sitk.Image:
    """A 4D image of one time step as the 3D image it is."""
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        return image[:, :, :, 0]
    return image


def _read_series(folder: Path) -> sitk.Image:
    files = _series_files(folder)
    image = sitk.ReadImage(files)
    if image.HasMetaDataKey(_UNEVEN_KEY):
        _require_even_slices(files)
    return image


def _require_even_slices(files: Sequence[str]) -> None:
    """Raise VolumeError if the gaps between slice positions differ by more than rounding."""
    gaps = np.linalg.norm(np.diff([_slice_position(file) for file in files], axis=0), axis=1)
    if np.ptp(gaps) > _UNEVEN_SHARE * np.median(gaps):
        raise VolumeError(
            f"Slices are missing, doubled or unevenly spaced (gaps of {gaps.min():.3g} to {gaps.max():.3g} mm): "
            "export the series again, or resample it to even slices."
        )


def _slice_position(file: str) -> tuple[float, ...]:
    """LPS mm of the first voxel of one DICOM slice, from its header alone."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return tuple(reader.GetOrigin())


def _series_files(folder: Path) -> tuple[str, ...]:
    """The files of the one DICOM series in `folder`, sorted by position."""
    ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not ids:
        raise VolumeError("The folder holds no DICOM series: give an image file or a folder of DICOM slices.")
    files = {uid: tuple(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)) for uid in ids}
    if len(files) > 1:
        listed = ", ".join(f"{uid or '(no id)'} with {len(names)} slices" for uid, names in files.items())
        raise VolumeError(
            f"The folder holds {len(files)} DICOM series ({listed}): give a folder that holds only one of them."
        )
    return files[ids[0]]


def _scalar_volume(image: sitk.Image) -> tuple[Array, Geometry]:
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise VolumeError(
            f"The voxels are not single numbers ({image.GetPixelIDTypeAsString()}): "
            "convert colour, vector or complex data to one scalar volume."
        )
    _require_3d(image)
    return sitk.GetArrayFromImage(image), _geometry(image)


def _require_finite_voxel(path: Path, array: Array) -> None:
    if array.dtype.kind != "f":
        return
    if not np.isfinite(array).any() or (nifti.is_nifti(path) and not array.any()):
        raise VolumeError("All voxels are NaN, infinite or (in NIfTI, where these are read as 0) 0: export it again.")


def _require_3d(image: sitk.Image) -> None:
    if image.GetDimension() != 3:
        sizes = " x ".join(str(size) for size in image.GetSize())
        raise VolumeError(f"The image has {image.GetDimension()} dimensions ({sizes}): give one 3D volume.")


def _geometry(image: sitk.Image) -> Geometry:
    i, j, k = image.GetSize()
    rows = np.asarray(image.GetDirection()).reshape(3, 3).tolist()
    direction = (tuple(rows[0]), tuple(rows[1]), tuple(rows[2]))
    return Geometry((k, j, i), image.GetSpacing(), image.GetOrigin(), direction)


def _as_labels(array: Array) -> Labels:
    if array.dtype.kind in "iu":
        return array
    if not np.isfinite(array).all() or np.abs(array).max() > np.iinfo(np.int32).max:
        raise VolumeError("The file holds values that are no labels (NaN or too large): give a label map.")
    labels = array.astype(np.int32)
    if not np.array_equal(labels, array):
        raise VolumeError("The file holds fractional values, so it is an image or a probability: give a label map.")
    return labels


# Writing


def _output_suffix(path: Path) -> str:
    for suffix in _OUTPUT_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise VolumeError(f"Unknown extension: end the name with one of {', '.join(_OUTPUT_SUFFIXES)}.")


def _compact_labels(labelmap: Array, geometry: Geometry) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
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
    return labelmap.astype(np.uint8 if highest <= np.iinfo(np.uint8).max else np.uint16, copy=False)


def _image(labelmap: Array, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(labelmap)
    image.SetSpacing(geometry.spacing_ijk)
    image.SetOrigin(geometry.origin_lps)
    image.SetDirection([value for row in geometry.direction_lps for value in row])
    return image


def _write_atomically(path: Path, image: sitk.Image, labelmap: Array) -> None:
    target = path.resolve()  # a link stays a link; what it points to is replaced
    with _private_folder(target) as folder:
        draft = folder / f"labels{_output_suffix(path)}"
        try:
            with _quiet_itk():
                sitk.WriteImage(image, str(draft), useCompression=True)
                # On a full disk some of ITK's writers raise nothing, so only reading back tells.
                complete = np.array_equal(sitk.GetArrayFromImage(_read_file(draft)), labelmap)
        except (RuntimeError, VolumeError) as error:
            raise VolumeError(_WRITE_FAILED) from error
        if not complete:
            raise VolumeError(_WRITE_FAILED)
        draft.replace(target)


_WRITE_FAILED = "Writing failed and nothing was kept: make room on the disk or choose another folder."


@contextmanager
def _private_folder(target: Path) -> Iterator[Path]:
    """A folder of ours beside `target`, on the same file system, gone at the end whatever happens."""
    try:
        with tempfile.TemporaryDirectory(prefix=".medsam2-", dir=target.parent) as folder:
            yield Path(folder)
    except OSError as error:
        raise VolumeError(
            f"The folder {target.parent} cannot be written ({error.strerror or error}): "
            "change its permissions, make room or choose another."
        ) from error
