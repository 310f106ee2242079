"""Stored pixels as values: each slice by its own slope and intercept, in a type that holds them all."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    RLELossless,
)

from medsam2_core.arrays import Array
from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError
from medsam2_core.io import itk
from medsam2_core.io.dicom.headers import Frame, parsing
from medsam2_core.io.values import narrowed, scaled

PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_AGAIN = "copy or export the series again"
_FORM = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)


@dataclass(frozen=True)
class _Table:
    """A modality LUT: what stored numbers from `first` on mean; those outside mean what its ends do."""

    first: int
    values: Array

    def apply(self, stored: Array) -> Array:
        found: Array = self.values[np.clip(stored.astype(np.int64) - self.first, 0, len(self.values) - 1)]
        return found


def read_values(frames: Sequence[Frame]) -> Array:
    """Values (frame, row, column) of slices of one shape, in HU or the scanner's unit.

    Whole numbers stay whole, in the smallest type that holds them all. Padding, which is not part of the image, gets
    the lowest value that is. Raises VolumeError for pixels that are missing, cut short, in color or compressed in a way
    that cannot be undone.
    """
    slices: list[Array] = [np.empty(0)] * len(frames)
    padding: dict[int, npt.NDArray[np.bool_]] = {}
    for path, places in _places_by_path(frames).items():
        with parsing(path):
            data = pydicom.dcmread(path, force=True)
            stored, table, padded = _stored(data, path), _table(data), _padded(data)
            for place in places:
                frame, pixels = frames[place], _one(stored, frames[place])
                meant = scaled(pixels, frame.slope, frame.intercept) if table is None else table.apply(pixels)
                slices[place] = narrowed(meant)
                if padded is not None:
                    padding[place] = (pixels >= padded[0]) & (pixels <= padded[1])
    values = np.stack(slices)
    _lower_padding(values, padding)
    return values


def _places_by_path(frames: Sequence[Frame]) -> dict[Path, list[int]]:
    found: dict[Path, list[int]] = {}
    for place, frame in enumerate(frames):
        found.setdefault(frame.path, []).append(place)
    return found


def _lower_padding(values: Array, padding: Mapping[int, npt.NDArray[np.bool_]]) -> None:
    """Give padding the lowest value of the image, in place; a volume of nothing else stays as it is."""
    lowest = [
        values[place][~padding[place]].min() if place in padding else values[place].min()
        for place in range(len(values))
        if place not in padding or not padding[place].all()
    ]
    for place, outside in padding.items() if lowest else ():
        values[place][outside] = min(lowest)


def _padded(data: Any) -> tuple[int, int] | None:
    """The range of stored numbers that are padding; None without any."""
    value, limit = data.get("PixelPaddingValue"), data.get("PixelPaddingRangeLimit")
    if value is None:
        return None
    ends = [_as_stored(int(end), data) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(number: int, data: Any) -> int:
    """A number of the header as a pixel holds it, whichever sign the header gave it."""
    return int(_signed(np.array(number), data))


def _table(data: Any) -> _Table | None:
    """The modality LUT, if there is one. Raises VolumeError for one that is not whole."""
    if not data.get("ModalityLUTSequence"):
        return None
    item = data.ModalityLUTSequence[0]
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    values = np.frombuffer(item.LUTData, "<u2") if isinstance(item.LUTData, bytes) else np.array(item.LUTData)
    if len(values) < (count or 1 << 16):
        raise VolumeError("The modality LUT of the series is incomplete: export the series again.")
    return _Table(_as_stored(first, data), (values[: count or 1 << 16] & ((1 << bits) - 1)).astype(np.int64))


def _one(stored: Array, frame: Frame) -> Array:
    if frame.index >= len(stored):
        raise VolumeError(f"The DICOM file {frame.path.name} holds {counted(len(stored), 'frame')} only: {_AGAIN}.")
    pixels: Array = stored[frame.index]
    return pixels


def _stored(data: Any, path: Path) -> Array:
    """The numbers that a file stores (frame, row, column), without what their unused bits hold."""
    _require_gray(data, path)
    if "FloatPixelData" in data or "DoubleFloatPixelData" in data:
        raise VolumeError(f"The DICOM file {path.name} holds numbers with a fraction: convert it to NIfTI or NRRD.")
    if data.get("PixelData") is None:
        raise VolumeError(f"The DICOM file {path.name} holds no pixels, so it is cut short: {_AGAIN}.")
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None or syntax in PLAIN:
        return _unpacked(_plain(data, path), data)
    if syntax == RLELossless:  # which GDCM cannot undo for odd sizes
        return _unpacked(data.pixel_array.reshape(_frame_shape(data)), data)
    return _decompressed(data, path)


def _require_gray(data: Any, path: Path) -> None:
    samples, photometric = int(data.get("SamplesPerPixel") or 1), str(data.get("PhotometricInterpretation", ""))
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise VolumeError(f"The DICOM file {path.name} is in color ({photometric}): give a series in shades of gray.")
    if data.get("BitsAllocated") not in (8, 16, 32):
        raise VolumeError(
            f"The DICOM file {path.name} has pixels of {data.get('BitsAllocated')} bits, which are not read here: "
            "convert it to NIfTI or NRRD."
        )


def _frame_shape(data: Any) -> tuple[int, int, int]:
    """Frames, rows and columns."""
    return int(data.get("NumberOfFrames") or 1), int(data.Rows), int(data.Columns)


def _plain(data: Any, path: Path) -> Array:
    """Uncompressed pixels as unsigned numbers (frame, row, column)."""
    bits, shape = int(data.BitsAllocated), _frame_shape(data)
    order = ">" if data.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian and bits > 8 else "<"
    wanted = math.prod(shape) * bits // 8
    if len(data.PixelData) < wanted:
        raise VolumeError(
            f"The DICOM file {path.name} is cut short ({len(data.PixelData)} of {wanted} bytes of pixels): {_AGAIN}."
        )
    return np.frombuffer(data.PixelData, f"{order}u{bits // 8}", math.prod(shape)).reshape(shape)


def _unpacked(pixels: Array, data: Any) -> Array:
    """The bits that count of unsigned pixels, as signed numbers where they are signed; others may hold an overlay."""
    stored = int(data.get("BitsStored") or data.BitsAllocated)
    return _signed(pixels.astype(np.int64) >> (int(data.get("HighBit") or stored - 1) + 1 - stored), data)


def _signed(numbers: Array, data: Any) -> Array:
    """The lowest bits that are stored, as what they mean."""
    stored = int(data.get("BitsStored") or data.BitsAllocated)
    lowest: Array = numbers & ((1 << stored) - 1)
    return lowest - ((lowest >> (stored - 1)) << stored) if int(data.get("PixelRepresentation") or 0) else lowest


def _decompressed(data: Any, path: Path) -> Array:
    """Pixels that GDCM decompresses. It is given nothing but them, so that it makes nothing of the other headers."""
    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    for keyword in _FORM:
        setattr(bare, keyword, data[keyword].value)
    bare.NumberOfFrames = int(data.get("NumberOfFrames") or 1)
    bare["PixelData"] = data["PixelData"]
    with tempfile.TemporaryDirectory(prefix="medsam2-") as folder:
        source = Path(folder) / "pixels.dcm"
        bare.save_as(source, enforce_file_format=True)
        pixels = itk.decompress(source)
    if pixels.shape != _frame_shape(data):
        raise VolumeError(f"The DICOM file {path.name} holds other pixels than its header says: {_AGAIN}.")
    return pixels
