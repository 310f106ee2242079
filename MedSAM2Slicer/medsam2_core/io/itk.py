"""Image files of every format SimpleITK knows: the only place that uses it, to read, and for small pictures in pages.

Images are numpy arrays here; what ITK gets wrong is put right (the locale) or refused before it is asked.
"""

# SimpleITK ships without type annotations.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from __future__ import annotations

import locale
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from medsam2_core.arrays import Array
from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import SHEARED, Geometry
from medsam2_core.image.segments import Labels
from medsam2_core.io.whole import require_whole

_JPEG_QUALITY = 80  # of 100


@dataclass(frozen=True)
class Image:
    """A scalar or multi-component image as its file holds it.

    `array` is (k, j, i), with components, if there are several, as a fourth axis; `grid` is None for an image of other
    than three dimensions, whose `size` and `spacing` (i first) tell it all the same.
    """

    array: Array
    grid: Geometry | None
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    components: int
    voxel_type: str
    metadata: Mapping[str, str]

    def require_3d(self) -> Geometry:
        """The grid. Raises VolumeError for an image of other than three dimensions."""
        if self.grid is None:
            sizes = " x ".join(str(size) for size in self.size)
            raise VolumeError(f"The image has {counted(len(self.size), 'dimension')} ({sizes}): give one 3D volume.")
        return self.grid


def read_image(path: Path) -> Image:
    """Read an image file. Raises VolumeError for one that is damaged, empty, sheared or of an unknown format."""
    _require_utf8(path)
    with _refusing(), _guarded():
        image = _read(path)
        require_whole(path)
        return Image(
            sitk.GetArrayFromImage(image),
            _grid(image) if image.GetDimension() == 3 else None,
            image.GetSize(),
            image.GetSpacing(),
            image.GetNumberOfComponentsPerPixel(),
            image.GetPixelIDTypeAsString(),
            dict(_metadata(image)),
        )


def read_grid(path: Path) -> Geometry:
    """The grid of a 3D image of numbers or colors by its header alone. Raises VolumeError as `read_image` does."""
    _require_utf8(path)
    with _refusing(), _guarded():
        reader = _opened(path)
        sizes = " x ".join(str(one) for one in reader.GetSize())
        if reader.GetNumberOfComponents() not in (1, 3, 4):
            raise VolumeError(f"The voxels are neither single numbers nor colors ({sizes}): give one 3D volume.")
        if reader.GetDimension() < 3 or max(reader.GetSize()[3:], default=1) > 1:
            dimensions = counted(reader.GetDimension(), "dimension")
            raise VolumeError(f"The image has {dimensions} ({sizes}): give one 3D volume.")
        return _grid(reader)


def read_metadata(path: Path) -> dict[str, str]:
    """The entries of an image file's header. Raises VolumeError as `read_image` does."""
    _require_utf8(path)
    with _refusing(), _guarded():
        return dict(_metadata(_opened(path)))


def resampled(labels: Labels, grid: Geometry, wanted: Geometry, transform: Path | None) -> Labels:
    """Labels (k, j, i) of `grid` on the voxels of another one, each of which has what is nearest to its center, or 0.

    A `transform` file says where in `grid` a point of the other one lies, in LPS mm, as ITK's registration has it.
    Raises VolumeError for one that cannot be read, or is not of three dimensions.
    """
    image = sitk.GetImageFromArray(labels)
    image.SetOrigin(grid.origin_lps)
    image.SetSpacing(grid.spacing_ijk)
    image.SetDirection(np.ravel(grid.direction_lps).tolist())
    place = wanted.origin_lps, wanted.spacing_ijk, np.ravel(wanted.direction_lps).tolist()
    nearest, size = sitk.sitkNearestNeighbor, wanted.shape_kji[::-1]
    found = sitk.Resample(image, size, _transform(transform), nearest, *place, 0)
    return sitk.GetArrayFromImage(found)


def _transform(path: Path | None) -> sitk.Transform:
    if path is None:
        return sitk.Transform(3, sitk.sitkIdentity)
    _require_utf8(path)
    try:
        with _guarded():
            transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise VolumeError(
            "Cannot be read as a transform: give an .h5, .tfm, .txt or .mat file as 3D Slicer or ITK writes it."
        ) from error
    if transform.GetDimension() != 3:
        raise VolumeError(f"The transform is of {transform.GetDimension()} dimensions: give one of a volume.")
    return transform


def decompress(path: Path) -> Array:
    """The pixels (frame, row, column), of colors with a fourth axis, of a DICOM file. Raises VolumeError."""
    with _refusing(), _guarded():
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def stacked(paths: Sequence[Path]) -> Array:
    """The pixels (file, row, column), of colors with a fourth axis, of images of one size. Raises VolumeError."""
    with _refusing(), _guarded():
        return sitk.GetArrayFromImage(sitk.ReadImage([str(path) for path in paths]))


def jpeg_bytes(image: Array) -> bytes:
    """An image (rows, columns) or (rows, columns, 3) of uint8 as the bytes of a JPEG file."""
    with _guarded(), tempfile.TemporaryDirectory(prefix="medsam2-") as folder:
        path = Path(folder) / "image.jpg"
        picture = sitk.GetImageFromArray(image, isVector=image.ndim == 3)
        sitk.WriteImage(picture, str(path), useCompression=True, compressionLevel=_JPEG_QUALITY)
        return path.read_bytes()


def _opened(path: Path) -> sitk.ImageFileReader:
    """A reader that knows the header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if 0 in reader.GetSize():
        raise VolumeError("The volume is empty (a size of 0): export it again.")
    return reader


def _read(path: Path) -> sitk.Image:
    image = _opened(path).Execute()
    one_step = image.GetDimension() == 4 and image.GetSize()[3] == 1
    return image[:, :, :, 0] if one_step else image


def _metadata(image: sitk.Image | sitk.ImageFileReader) -> Iterator[tuple[str, str]]:
    """The entries of the header; those that are not text are left out."""
    for key in image.GetMetaDataKeys():
        with suppress(TypeError, UnicodeError):  # of bytes that are not UTF-8, SimpleITK makes no valid text
            value = image.GetMetaData(key)
            value.encode()
            yield key, value


def _grid(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
    """The grid of an image's first three dimensions."""
    (i, j, k), count = image.GetSize()[:3], image.GetDimension()
    rows = np.asarray(image.GetDirection()).reshape(count, count)[:3, :3].tolist()
    direction = (tuple(rows[0]), tuple(rows[1]), tuple(rows[2]))
    return Geometry((k, j, i), image.GetSpacing()[:3], image.GetOrigin()[:3], direction)


def _require_utf8(path: Path) -> None:
    """Raise VolumeError for a name that SimpleITK cannot take: handed over all the same, it ends the program."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise VolumeError("Its name or that of a folder contains bytes that are not UTF-8: rename it.") from error


@contextmanager
def _refusing() -> Iterator[None]:
    """One sentence for whatever ITK cannot read."""
    try:
        yield
    except (RuntimeError, OSError, UnicodeDecodeError) as error:  # SimpleITK raises nothing but RuntimeError
        text = str(error)
        if "orthonormal" in text:
            raise VolumeError(SHEARED) from error
        if "Unknown PixelType" in text:
            raise VolumeError(
                "Its pixels are of a kind that is not read here, such as gray with transparency: export it in plain "
                "gray or RGB."
            ) from error
        if ("llocat" in text and "memory" in text.lower()) or "bad_alloc" in text:
            raise MemoryError from error
        raise VolumeError(
            "Cannot be read as an image, so it is damaged, incomplete or of an unknown format: "
            "copy it again, check its permissions, or export it as NIfTI, NRRD or DICOM."
        ) from error


@contextmanager
def _guarded() -> Iterator[None]:
    """Decimal points whatever the locale (Qt sets the user's, and ITK reads 1.5 as 1 then), and a quiet ITK."""
    numbers = locale.setlocale(locale.LC_NUMERIC)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    locale.setlocale(locale.LC_NUMERIC, "C")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with _silent():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        locale.setlocale(locale.LC_NUMERIC, numbers)


@contextmanager
def _silent() -> Iterator[None]:
    """Let what libraries write to the stream of errors themselves go nowhere; MetaIO does for each damaged file."""
    try:
        shown = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(nowhere)
