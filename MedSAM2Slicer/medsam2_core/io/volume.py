"""Volumes: one image file of any format, or one DICOM series of a folder, as an array and its grid."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsam2_core.arrays import Array
from medsam2_core.counting import counted
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.io import itk
from medsam2_core.io.dicom.grid import Slices, arrange, regular_geometry
from medsam2_core.io.dicom.picture import is_cine, read_frames
from medsam2_core.io.dicom.pixels import read_values
from medsam2_core.io.dicom.regular import StoredSlices, put_on_grid
from medsam2_core.io.dicom.scan import is_dicom, is_index
from medsam2_core.io.dicom.series import Series, choose, find_series
from medsam2_core.io.nifti import Forms, is_nifti, read_nifti, read_nifti_grid
from medsam2_core.notices import tell, told


@dataclass(frozen=True)
class Volume:
    """A 3D volume as its file holds it: `array` (k, j, i) in HU or the scanner's unit, and its grid.

    Of a volume in color `array` is (k, j, i, 3), RGB as uint8. Of a cine, k counts moments, which are put 1 mm apart.
    `forms` is what a NIfTI header says of its place, `slices` are those of a DICOM series, in order, and `stored` says
    where they lie if they were put on a regular grid; `write_labelmap(..., like=volume)` writes by them.
    """

    array: Array
    geometry: Geometry
    path: Path
    forms: Forms | None = None
    slices: Slices | None = None
    stored: StoredSlices | None = None

    @property
    def in_color(self) -> bool:
        """Whether voxels are colors."""
        return self.array.ndim == 4


def read_volume(
    path: str | Path, series: str | int | None = None, resample: bool = False, colors: bool = False
) -> Volume:
    """Read one 3D volume: any image file SimpleITK knows, one DICOM series of a folder or CD, or a DICOM cine.

    It is a scalar volume, or if `colors` are taken, too, perhaps one in color.

    `series` is the number (as `list_series` counts) or UID of the one that is meant, if there are several. A tilted or
    uneven series is refused unless it is to be put on a regular grid by `resample`.
    Raises VolumeError for a file or folder that is missing, damaged or incomplete; that holds 2D, 4D, color or no
    data, or no finite voxel; or whose axes are not at right angles. Warns with InputNotice of what contradicts itself.
    """
    path = Path(path)
    with naming(path):
        if is_dicom_path(path):
            if is_cine(path, colors):
                return _cine(path)
            return _chosen_series(path, find_series(path), series, resample)
        if series is not None or resample:
            raise VolumeError("This is not DICOM, so there is no series to choose or resample: omit that option.")
        return _with_finite_voxel(Volume(*_read_file(path, colors)))


def read_series(
    path: str | Path, found: Sequence[Series], series: str | int | None = None, resample: bool = False
) -> Volume:
    """As `read_volume`, of the series that `list_series` found there, whose headers are not read again."""
    with naming(Path(path)):
        return _chosen_series(Path(path), found, series, resample)


def read_slices(path: str | Path, series: str | int | None = None) -> Slices:
    """The slices of a DICOM series in order, by their headers alone; chosen as by `read_volume`. Raises VolumeError."""
    path = Path(path)
    with naming(path):
        if not is_dicom_path(path):
            raise VolumeError("This is not a DICOM series: give the folder of one.")
        return _arranged(find_series(path), series)


def list_series(path: str | Path) -> list[Series]:
    """The DICOM series in a folder and those below it, on a CD (its DICOMDIR) or in a file. Raises VolumeError."""
    path = Path(path)
    with naming(path):
        require_readable(path)
        return find_series(path)


def read_grid(path: str | Path) -> Geometry | None:
    """The grid of an image file by its header alone; None for DICOM, whose grid takes the headers of all slices.

    Raises VolumeError for a file that is missing, or whose header `read_volume` would refuse.
    """
    path = Path(path)
    with naming(path):
        if is_dicom_path(path):
            return None
        return read_nifti_grid(path) if is_nifti(path) else itk.read_grid(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Start the text of every error and notice of the statements inside with the file it is about."""
    notices: list[str] = []
    try:
        with told(notices.append):
            yield
    except (VolumeError, PromptError) as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise VolumeError(
            f"{path}: Cannot be read ({error.strerror or error}): check the path and its permissions."
        ) from error
    finally:
        for text in notices:
            tell(f"{path}: {text}")


def require_readable(path: Path) -> None:
    """Raise VolumeError unless there is a file or folder; a pipe or device would be read without an end."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError as error:
        raise VolumeError("No such file or folder: check the path.") from error
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise VolumeError("This is neither a file nor a folder: give an image file or a folder of DICOM slices.")


def is_dicom_path(path: Path) -> bool:
    """Whether a path is read as DICOM: a folder, a CD's index or a file of it. Raises VolumeError if it cannot be."""
    require_readable(path)
    return path.is_dir() or is_index(path) or is_dicom(path)


def read_scalar(path: Path) -> tuple[Array, Geometry, Forms | None]:
    """The voxels (k, j, i) of a file that is not DICOM, its grid, and its forms if it is NIfTI. Raises VolumeError."""
    if is_nifti(path):
        return read_nifti(path)
    image = itk.read_image(path)
    if image.components != 1 or "complex" in image.voxel_type:
        raise VolumeError(
            f"The voxels are not single numbers ({image.voxel_type}): "
            "convert color, vector or complex data to one scalar volume."
        )
    return image.array, image.require_3d(), None


def _read_file(path: Path, colors: bool) -> tuple[Array, Geometry, Path, Forms | None]:
    if colors and not is_nifti(path):
        image = itk.read_image(path)
        if image.components in (3, 4) and image.array.dtype == np.uint8:
            return np.ascontiguousarray(image.array[..., :3]), image.require_3d(), path, None
    array, grid, forms = read_scalar(path)
    return array, grid, path, forms


def _cine(path: Path) -> Volume:
    frames = read_frames(path)
    (count, rows, columns), spacing = frames.array.shape[:3], frames.spacing or (1.0, 1.0)
    sizes = "" if frames.spacing else ", and its pixels have no size, so 1 mm is taken"
    tell(f"It is a cine: slices are its {counted(count, 'frame')}, so volumes in mL mean nothing{sizes}.")
    grid = Geometry((count, rows, columns), (spacing[1], spacing[0], 1.0), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    return Volume(frames.array, grid, path)


def _chosen_series(path: Path, found: Sequence[Series], series: str | int | None, resample: bool) -> Volume:
    slices = _arranged(found, series)
    if not resample:
        grid = regular_geometry(slices)  # before the pixels, which take longer
        return _with_finite_voxel(Volume(read_values(slices.frames), grid, path, slices=slices))
    array, grid, stored = put_on_grid(slices, read_values(slices.frames))
    return _with_finite_voxel(Volume(array, grid, path, slices=slices, stored=stored))


def _arranged(found: Sequence[Series], series: str | int | None) -> Slices:
    return arrange(choose(found, None if series is None else str(series)).frames)


def _with_finite_voxel(volume: Volume) -> Volume:
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).any():
        raise VolumeError("All voxels are NaN or infinite: export it again.")
    return volume
