"""What each slice of a DICOM file says of itself: its place, its size, and what its stored numbers mean."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pydicom

from medsam2_core.counting import are, counted
from medsam2_core.errors import MedSAM2Error, VolumeError
from medsam2_core.image.geometry import Triple

_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a CD's index, whatever its name
_NO_IMAGES = ("SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN")

# What tells volumes in the same place apart, in the order they are split by; of keywords the first that is there.
_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("stack", ("StackID",)),
    ("phase", ("TemporalPositionIndex", "TemporalPositionIdentifier")),
    ("cardiac phase", ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime")),
    ("frame time", ("FrameReferenceTime",)),
    ("echo time", ("EffectiveEchoTime", "EchoTime")),
    ("b-value", ("DiffusionBValue",)),
    ("kind", ("ComplexImageComponent", "FrameType", "ImageType")),
    ("acquisition", ("AcquisitionNumber",)),
    ("trigger time", ("TriggerTime",)),
    ("time", ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime")),
)


@dataclass(frozen=True)
class Frame:
    """One slice. `shape` is (rows, columns), `spacing` mm between rows and between columns, `position` and
    `orientation` (unit vectors along a row and along a column) LPS; what the file does not say is None.

    A stored number means `slope` * number + `intercept`. `marks` tell it from others in the same place.
    """

    path: Path
    index: int  # among the frames of its file
    uid: str
    shape: tuple[int, int]
    spacing: tuple[float, float] | None
    position: Triple | None
    orientation: tuple[Triple, Triple] | None
    slope: float = 1.0
    intercept: float = 0.0
    thickness: float | None = None
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """One file: whose series it is, and its frames in the order they are stored in."""

    series: str
    number: str
    description: str
    modality: str
    frames: tuple[Frame, ...]


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn whatever pydicom makes of damaged bytes into one sentence, and keep its warnings from the screen."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            yield
    except (MedSAM2Error, MemoryError):
        raise
    except Exception as error:
        raise _damaged(path, "it cannot be parsed") from error
    finally:
        log.setLevel(level)


def read_header(path: Path) -> Header | None:
    """What a file says of its series and frames, without pixels; None for one that is not an image, such as a report.

    Raises VolumeError for a damaged file, or one of a kind whose frames lie nowhere.
    """
    with parsing(path):
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if _is_no_image(data):
            return None
        for keyword in ("SeriesInstanceUID", "Rows", "Columns"):
            if data.get(keyword) is None:
                raise _damaged(path, f"it has no {keyword}")
        return Header(
            str(data.SeriesInstanceUID),
            _text(data, "SeriesNumber"),
            _text(data, "SeriesDescription"),
            _text(data, "Modality"),
            tuple(_frames(data, path)),
        )


def _damaged(path: Path, how: str) -> VolumeError:
    return VolumeError(f"The DICOM file {path.name} is damaged or cut short ({how}): copy or export the series again.")


def _is_no_image(data: Any) -> bool:
    if data.get("Rows") is not None:
        return _text(data, "Modality") in _NO_IMAGES
    kind = str(data.get("SOPClassUID") or data.file_meta.get("MediaStorageSOPClassUID") or "")
    return kind == _DIRECTORY or bool(kind and "Image" not in pydicom.uid.UID(kind).name)


def _text(data: Any, keyword: str) -> str:
    value = data.get(keyword)
    return "" if value is None else " ".join(str(value).split())


def _frames(data: Any, path: Path) -> Iterator[Frame]:
    count = int(data.get("NumberOfFrames") or 1)
    if "MOSAIC" in _text(data, "ImageType"):
        _refuse("tiles many slices into one picture (a Siemens mosaic): convert it, for example with dcm2niix.", path)
    if "PerFrameFunctionalGroupsSequence" in data:
        yield from _grouped_frames(data, path, count)
    elif "GridFrameOffsetVector" in data:
        yield from _dose_frames(data, path)
    elif count == 1:
        yield _frame(path, 0, data, [data])
    else:
        _refuse("has frames without positions of their own: export it as single slices or as NIfTI.", path)


def _refuse(what: str, path: Path) -> NoReturn:
    raise VolumeError(f"The DICOM file {path.name} {what}")


def _grouped_frames(data: Any, path: Path, count: int) -> Iterator[Frame]:
    """The frames of an enhanced file, from what is said of each and of all."""
    groups = data.PerFrameFunctionalGroupsSequence
    if len(groups) != count:
        raise _damaged(path, f"{counted(count, 'frame')}, and {len(groups)} that {are(len(groups))} described")
    shared = [item for group in data.get("SharedFunctionalGroupsSequence") or [] for item in _macros(group)]
    for index, group in enumerate(groups):
        yield _frame(path, index, data, [*_macros(group), *shared, data])


def _macros(group: Any) -> list[Any]:
    """The first item of each sequence of a functional group, which holds what it is about."""
    return [element.value[0] for element in group if element.VR == "SQ" and element.value]


def _dose_frames(data: Any, path: Path) -> Iterator[Frame]:
    """The frames of a dose, which lie along the normal of the first one."""
    first = _frame(path, 0, data, [data])
    offsets = [float(value) for value in data.GridFrameOffsetVector]
    if first.position is None or first.orientation is None or not offsets or offsets[0] != 0:
        _refuse("is a dose whose frames have no positions: export it with offsets that begin at 0.", path)
    normal = cross(*first.orientation)
    for index, offset in enumerate(offsets):
        x, y, z = (start + offset * part for start, part in zip(first.position, normal, strict=True))
        slope = float(data.get("DoseGridScaling") or 1)
        yield Frame(path, index, first.uid, first.shape, first.spacing, (x, y, z), first.orientation, slope)


def cross(a: Sequence[float], b: Sequence[float]) -> Triple:
    """The vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _frame(path: Path, index: int, data: Any, places: Sequence[Any]) -> Frame:
    spacing = _numbers(places, "PixelSpacing", 2, path)
    position = _numbers(places, "ImagePositionPatient", 3, path)
    cosines = _numbers(places, "ImageOrientationPatient", 6, path)
    return Frame(
        path,
        index,
        _text(data, "SOPInstanceUID"),
        (int(data.Rows), int(data.Columns)),
        None if spacing is None else (spacing[0], spacing[1]),
        None if position is None else (position[0], position[1], position[2]),
        None if cosines is None else _unit_vectors(cosines, path),
        _number(places, "RescaleSlope", 1.0, path),
        _number(places, "RescaleIntercept", 0.0, path),
        _number(places, "SpacingBetweenSlices", 0.0, path) or _number(places, "SliceThickness", 0.0, path) or None,
        {"plane": _plane(cosines), **{name: _mark(places, keywords) for name, keywords in _MARKS}},
    )


def _find(places: Sequence[Any], keyword: str) -> Any:
    """The first value that is there and not empty; None if none is."""
    for place in places:
        value = place.get(keyword)
        if value is not None and value != "":
            return value
    return None


def _numbers(places: Sequence[Any], keyword: str, count: int, path: Path) -> list[float] | None:
    value = _find(places, keyword)
    if value is None:
        return None
    numbers = [float(part) for part in (value if isinstance(value, Sequence) else [value])]
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _damaged(path, f"{keyword} is {numbers}")
    return numbers


def _number(places: Sequence[Any], keyword: str, default: float, path: Path) -> float:
    found = _numbers(places, keyword, 1, path)
    return default if found is None else found[0]


def _unit_vectors(cosines: Sequence[float], path: Path) -> tuple[Triple, Triple]:
    row, column = (cosines[0], cosines[1], cosines[2]), (cosines[3], cosines[4], cosines[5])
    across = sum(a * b for a, b in zip(row, column, strict=True))
    if max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(across)) > 1e-3:
        raise _damaged(path, f"ImageOrientationPatient {list(cosines)} is not a pair of unit vectors at right angles")
    return row, column


def _plane(cosines: Sequence[float] | None) -> str:
    """The anatomical plane nearest to a slice's, by which the stacks of a localizer are told apart."""
    if cosines is None:
        return ""
    normal = [abs(part) for part in cross(cosines[:3], cosines[3:])]
    return ("sagittal", "coronal", "axial")[normal.index(max(normal))]


def _mark(places: Sequence[Any], keywords: Sequence[str]) -> str:
    value = next((found for found in (_find(places, keyword) for keyword in keywords) if found is not None), "")
    if isinstance(value, float):
        return f"{value:.12g}"  # milliseconds of hours, too
    return "/".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
