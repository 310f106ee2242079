"""DICOM files for tests, slice by slice, as scanners write them: every header may be set, left out or wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def number(value: float) -> str:
    """A number as DICOM's decimal strings hold it, in 16 characters."""
    return f"{value:.9g}"[:16]


def dataset(
    pixels: np.ndarray,
    position: Sequence[float] | None = (0.0, 0.0, 0.0),
    orientation: Sequence[float] | None = STRAIGHT,
    spacing: Sequence[float] = (0.8, 0.7),
    series: str = "1.2.3.4",
    **headers: Any,
) -> Dataset:
    """One slice (rows, columns) of whole numbers; a header of None is left out."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = headers.pop("SOPClassUID", CTImageStorage)
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", series
    data.Modality, data.SeriesNumber, data.SliceThickness = "CT", 1, "2.5"
    if position is not None:
        data.ImagePositionPatient = [number(value) for value in position]
    if orientation is not None:
        data.ImageOrientationPatient = [number(value) for value in orientation]
    data.PixelSpacing = [number(value) for value in spacing]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.RescaleSlope, data.RescaleIntercept = "1", "0"
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OW"
    for keyword, value in headers.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def save(data: Dataset, path: Path) -> Path:
    """Write a data set as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def save_series(
    folder: Path, array: np.ndarray, place: Callable[[int], Sequence[float]] | None = None, **headers: Any
) -> Path:
    """A file for each slice of (k, j, i), 2.5 mm apart unless `place` says where; callable headers get the index."""
    for index, pixels in enumerate(array):
        position = place(index) if place else (0.0, 0.0, 2.5 * index)
        own = {key: value(index) if callable(value) else value for key, value in headers.items()}
        save(dataset(pixels, position, InstanceNumber=index + 1, **own), folder / f"{index:03d}.dcm")
    return folder


def enhanced(array: np.ndarray, positions: Sequence[Sequence[float]], **marks: Sequence[Any]) -> Dataset:
    """An enhanced file with a frame for each of (k, j, i); `marks` go into each frame's content."""
    data = dataset(array, None, None, SOPClassUID=EnhancedCTImageStorage)
    for keyword in ("PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept"):
        delattr(data, keyword)
    data.NumberOfFrames = len(array)
    shared = Dataset()
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=list(map(number, STRAIGHT)))]
    shared.PixelMeasuresSequence = [item(PixelSpacing=["0.8", "0.7"], SliceThickness="2.5")]
    shared.PixelValueTransformationSequence = [item(RescaleSlope="1", RescaleIntercept="-3", RescaleType="HU")]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = []
    for index, position in enumerate(positions):
        frame = Dataset()
        frame.PlanePositionSequence = [item(ImagePositionPatient=list(map(number, position)))]
        frame.FrameContentSequence = [item(**{keyword: values[index] for keyword, values in marks.items()})]
        data.PerFrameFunctionalGroupsSequence.append(frame)
    return data


def item(**values: Any) -> Dataset:
    """An item of a sequence."""
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found
