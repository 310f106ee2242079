"""DICOM files as pictures: frames one by one, gray or in color, wherever in the patient they lie."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from medsam2_core.arrays import Array
from medsam2_core.errors import VolumeError
from medsam2_core.io import itk
from medsam2_core.io.dicom.headers import Frame, parsing
from medsam2_core.io.dicom.pixels import PLAIN, read_values
from medsam2_core.io.dicom.scan import is_index

_CENTIMETERS = 3  # PhysicalUnitsXDirection of an ultrasound region
_TOMOGRAPHY = ("CT", "MR", "PT", "NM")  # modalities
_YBR_OF_JPEG = ("YBR_FULL", "YBR_FULL_422")  # what a JPEG file's own colors are


@dataclass(frozen=True)
class Frames:
    """All frames of a file: (frame, row, column) in their unit, or (frame, row, column, 3), RGB.

    `spacing` is mm between rows and between columns, `frame_ms` the time from frame to frame; None where not said.
    """

    array: Array
    spacing: tuple[float, float] | None
    frame_ms: float | None


def read_frames(path: Path) -> Frames:
    """Read the frames of a DICOM file. Raises VolumeError for one without pixels, or that is damaged."""
    with parsing(path):
        data = pydicom.dcmread(path, force=True)
        if data.get("PixelData") is None or data.get("Rows") is None:
            raise VolumeError(f"The DICOM file {path.name} holds no image: leave it out.")
        array = _color(data, path) if _is_color(data) else _gray(data, path)
        return Frames(array, _spacing(data), _frame_ms(data))


def is_cine(path: Path, colors: bool) -> bool:
    """Whether the frames of a DICOM file are moments: they say no place of their own. Those in color count if asked.

    Frames of tomography that say none are slices whose places were lost. Folders and indexes of series are not cines.
    """
    if not path.is_file() or is_index(path):
        return False
    with parsing(path):
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        placed = "PerFrameFunctionalGroupsSequence" in data or "GridFrameOffsetVector" in data
        several = int(data.get("NumberOfFrames") or 1) > 1
        moments = several and not placed and data.get("Modality") not in _TOMOGRAPHY
        return data.get("Rows") is not None and moments and (colors or not _is_color(data))


def _is_color(data: Any) -> bool:
    photometric = str(data.get("PhotometricInterpretation", ""))
    return int(data.get("SamplesPerPixel") or 1) == 3 or photometric == "PALETTE COLOR"


def _gray(data: Any, path: Path) -> Array:
    """Values by the file's one slope and intercept; MONOCHROME1, where low is white, turned over."""
    count, shape = int(data.get("NumberOfFrames") or 1), (int(data.Rows), int(data.Columns))
    slope, intercept = float(data.get("RescaleSlope") or 1), float(data.get("RescaleIntercept") or 0)
    frames = [Frame(path, index, "", shape, None, None, None, slope, intercept) for index in range(count)]
    values = read_values(frames)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        values = values.max() + (values.min() - values)
    return values


def _color(data: Any, path: Path) -> Array:
    """RGB (frame, row, column, 3), in the bits that the file has."""
    photometric, syntax = str(data.PhotometricInterpretation), data.file_meta.get("TransferSyntaxUID")
    if syntax is None or syntax in PLAIN or syntax == RLELossless:
        pixels = data.pixel_array  # in RGB where it was YBR
        if photometric == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, data)
    elif syntax == JPEGBaseline8Bit and photometric in _YBR_OF_JPEG:
        pixels = _jpeg_frames(data)
    else:
        pixels = itk.decompress(path)
    shape = (int(data.get("NumberOfFrames") or 1), int(data.Rows), int(data.Columns), 3)
    if pixels.size != np.prod(shape):
        raise VolumeError(f"The DICOM file {path.name} holds other pixels than its header says: export it again.")
    frames: Array = pixels.reshape(shape)
    return frames


def _jpeg_frames(data: Any) -> Array:
    """Frames that are JPEG files each, read as such: GDCM takes several times as long."""
    count = int(data.get("NumberOfFrames") or 1)
    with tempfile.TemporaryDirectory(prefix="medsam2-") as folder:
        return itk.stacked(list(_written(generate_frames(data.PixelData, number_of_frames=count), Path(folder))))


def _written(frames: Iterator[bytes], folder: Path) -> Iterator[Path]:
    for index, frame in enumerate(frames):
        path = folder / f"{index}.jpg"
        path.write_bytes(frame)
        yield path


def _spacing(data: Any) -> tuple[float, float] | None:
    """Row and column spacing in mm: of pixels in the patient, or of an ultrasound's regions where all have the same."""
    spacing = data.get("PixelSpacing")
    if spacing is not None and len(spacing) == 2 and min(map(float, spacing)) > 0:
        return float(spacing[0]), float(spacing[1])
    regions = [
        (float(one.PhysicalDeltaY) * 10, float(one.PhysicalDeltaX) * 10)
        for one in data.get("SequenceOfUltrasoundRegions") or []
        if one.get("PhysicalUnitsXDirection") == one.get("PhysicalUnitsYDirection") == _CENTIMETERS
    ]
    sizes = {(abs(row), abs(column)) for row, column in regions}
    found = sizes.pop() if len(sizes) == 1 else None
    return found if found is not None and min(found) > 0 else None


def _frame_ms(data: Any) -> float | None:
    value = data.get("FrameTime")
    return float(value) if value is not None and float(value) > 0 else None
