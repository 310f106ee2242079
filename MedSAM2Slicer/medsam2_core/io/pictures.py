"""2D images for sets: PNG, JPEG, TIFF, BMP, DICOM frames and everything else SimpleITK reads in two dimensions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsam2_core.arrays import Array
from medsam2_core.errors import VolumeError
from medsam2_core.io import itk
from medsam2_core.io.dicom.picture import read_frames
from medsam2_core.io.dicom.scan import is_dicom, is_index
from medsam2_core.io.png import read_palette
from medsam2_core.io.volume import naming, require_readable
from medsam2_core.notices import tell

_PAGES = (".tif", ".tiff")  # formats whose third dimension is a page
_SAYS_MM = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", *_PAGES, ".dcm", ".dicom", ".ima", *_SAYS_MM)
_NOT_READ = (".webp", ".gif", ".heic", ".heif", ".avif", ".jp2", ".jfif")


@dataclass(frozen=True)
class Picture:
    """A 2D image: gray (rows, columns) in the file's unit, or color (rows, columns, 3), RGB as uint8.

    `spacing` is mm between rows and between columns; None where the file does not say, or says what means a screen or
    a printer, as photographs do.
    """

    array: Array
    spacing: tuple[float, float] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.array.shape[:2]
        return rows, columns


def find_pictures(sources: Sequence[Path]) -> list[Path]:
    """The files that are given, and those of folders and the folders below, sorted by the numbers in their names.

    Of a folder only files that look like images count; those of kinds that are not read are reported. Raises
    VolumeError for a source that is not there, and if there is not an image at all.
    """
    found: dict[Path, None] = {}
    for source in sources:
        with naming(source):
            require_readable(source)
            inside = [source] if source.is_file() else _inside(source)
        found.update(dict.fromkeys(inside))
    if not found:
        raise VolumeError(f"{', '.join(map(str, sources))}: There is no image here: give image files or folders.")
    return list(found)


def _inside(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*"), key=_natural)
    others = [path for path in files if path.suffix.lower() in _NOT_READ and not path.name.startswith(".")]
    if others:
        kinds = ", ".join(sorted({path.suffix.lower() for path in others}))
        one, several = "is an image of a kind that is", "are images of kinds that are"
        images = one if len(others) == 1 else several
        tell(f"{len(others)} of its files {images} not read here ({kinds}): convert to PNG.")
    return [path for path in files if _is_picture(path)]


def read_pictures(path: Path) -> list[Picture]:
    """Read the pictures of a file: one, or the frames of a DICOM file or the pages of a TIFF file, in order.

    Raises VolumeError for a file that is missing, damaged or cut short, or holds a volume or no image.
    """
    with naming(path):
        require_readable(path)
        if is_dicom(path):
            frames = read_frames(path)
            return [Picture(_plain(frame), frames.spacing) for frame in frames.array]
        return list(_of_itk(path))


def read_labels(path: Path) -> Array:
    """The labels (rows, columns) of a picture: its gray values, or the places of its colors in its palette.

    Of other colors it is 1 wherever they are not black. Raises VolumeError as `read_pictures` does, and for several.
    """
    found = read_pictures(path)
    if len(found) > 1:
        raise VolumeError(f"{path}: It holds {len(found)} images: give a file of one.")
    pixels = found[0].array
    palette = read_palette(path)
    if palette is not None:
        pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)
        wanted, (numbers, known) = _as_numbers(pixels), np.unique(_as_numbers(palette), return_index=True)
        labels: Array = known[np.searchsorted(numbers, wanted)]
        return labels
    return np.any(pixels, axis=2).astype(np.uint8) if pixels.ndim == 3 else pixels


def _as_numbers(colors: Array) -> Array:
    numbers: Array = colors.astype(np.int64) @ (1 << 16, 1 << 8, 1)
    return numbers


def _of_itk(path: Path) -> Iterator[Picture]:
    image = itk.read_image(path)
    array = image.array if image.components == 1 else image.array[..., : 1 if image.components == 2 else 3]
    if image.components == 2:
        array = array[..., 0]
    pages = array if len(image.size) == 3 else array[np.newaxis]
    if len(image.size) not in (2, 3) or (len(pages) > 1 and not path.name.lower().endswith(_PAGES)):
        sizes = " x ".join(map(str, image.size))
        raise VolumeError(f"This is a volume ({sizes}), not a 2D image: give it to medsam2 propagate.")
    says_mm = path.name.lower().endswith(_SAYS_MM)
    spacing = (float(image.spacing[1]), float(image.spacing[0])) if says_mm else None
    for page in pages:
        yield Picture(_plain(page), spacing)


def _plain(pixels: Array) -> Array:
    """Gray as it is; colors as uint8, and as gray where all three channels are the same."""
    if pixels.ndim == 2:
        return _checked_gray(pixels)
    if pixels.dtype.kind != "u":
        raise VolumeError(f"Its colors are of type {pixels.dtype}: export it with 8 or 16 bits for each channel.")
    color = pixels if pixels.dtype == np.uint8 else (pixels >> (8 * (pixels.dtype.itemsize - 1))).astype(np.uint8)
    equal = np.array_equal(color[..., 0], color[..., 1]) and np.array_equal(color[..., 0], color[..., 2])
    return np.ascontiguousarray(color[..., 0] if equal else color)


def _checked_gray(pixels: Array) -> Array:
    if pixels.dtype.kind not in "iufb":
        raise VolumeError(f"Its pixels are of type {pixels.dtype}: export it in gray or RGB.")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).any():
        raise VolumeError("All pixels are NaN or infinite: export it again.")
    return pixels


def _is_picture(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file() or is_index(path):
        return False
    return path.name.lower().endswith(_SUFFIXES) or (not path.suffix and is_dicom(path))


def _natural(path: Path) -> tuple[object, ...]:
    """A key by which image10 comes after image9."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((int(part), "") if part.isdigit() else (-1, part.lower()) for part in parts)


def stem(path: Path) -> str:
    """The name of a file without its ending, .nii.gz being one."""
    name = path.name
    known = sorted((end for end in _SUFFIXES if name.lower().endswith(end)), key=len)
    return name[: -len(known[-1])] if known and len(known[-1]) < len(name) else name
