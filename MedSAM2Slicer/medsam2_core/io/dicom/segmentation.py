"""Label maps as DICOM segmentations (SEG, binary) of the slices that they were drawn on.

The package highdicom writes them; it is imported when the first one is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import pydicom

from medsam2_core.arrays import Array
from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Segment
from medsam2_core.image.terminology import Code, Terminology
from medsam2_core.io.dicom.grid import Slices
from medsam2_core.io.dicom.headers import parsing
from medsam2_core.io.dicom.naming import UNKNOWN, terminology_by_name
from medsam2_core.notices import tell
from medsam2_core.version import package_version

_PRODUCT = "MedSAM2Slicer"
_SERIES_NUMBER = 300  # far from what scanners count
_LONGEST = 64  # letters of a LO, DICOM's kind of short text
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
_METHOD = Code("123110", "DCM", "Artificial Intelligence")  # pydicom's own table of codes takes 53 ms to import
_ELSEWHERE = "write the segmentation as .seg.nrrd instead"


def require_highdicom() -> Any:
    """The package highdicom. Raises VolumeError where it is not installed."""
    try:
        import highdicom
    except ImportError as error:
        raise VolumeError(
            "The package highdicom, which writes DICOM segmentations, is not installed here: run "
            "`pip install 'medsam2slicer[dicom]'`."
        ) from error
    return highdicom


def check_slices(slices: Slices) -> None:
    """Raise VolumeError unless a segmentation of these slices can be written: all is tried but the file."""
    labelmap = np.zeros((len(slices.frames), *slices.shape), np.uint8)
    labelmap[0, 0, 0] = 1
    _segmentation(labelmap, [Segment("liver", 1, (0, 0, 0))], slices, "")


def write_segmentation(
    file: IO[bytes], labelmap: Array, segments: Sequence[Segment], slices: Slices, model: str
) -> None:
    """Write a label map (k, j, i), whose k-th slice lies on the k-th of `slices`; `model` drew it.

    Each of its labels has a segment; those of segments are renumbered from 1, as DICOM has it. Identifiers depend on
    the content, so what is written again is known to be the same. Raises VolumeError, OSError.
    """
    for segment in segments:
        if segment.terminology is None and terminology_by_name(segment.name) is None:
            tell(
                f"{segment.name!r} is in no table of common names, so DICOM is told that it is tissue: choose its "
                "terminology in Slicer, and give the segmentation as --mask."
            )
    _segmentation(labelmap, segments, slices, model).save_as(file, enforce_file_format=True)


def _segmentation(labelmap: Array, segments: Sequence[Segment], slices: Slices, model: str) -> Any:
    highdicom = require_highdicom()
    sources = _sources(slices)
    uid = _Identifiers(labelmap, segments, [str(one.SOPInstanceUID) for one in sources], model)
    try:
        made = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=_numbered(labelmap, segments),
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(highdicom, number, segment, uid, model) for number, segment in enumerate(segments, 1)
            ],
            series_instance_uid=uid("series"),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            manufacturer=f"{_PRODUCT} contributors",
            manufacturer_model_name=_PRODUCT,
            software_versions=package_version(),
            device_serial_number="0",
            content_label="SEGMENTATION",
            content_description="Drawn with MedSAM-2 from prompts; not for clinical use",
            series_description=f"Segmentation by {_PRODUCT}",
            specific_character_set="ISO_IR 192",
            pixel_measures=_measures(highdicom, slices),
            omit_empty_frames=True,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise VolumeError(f"The headers of the series allow no DICOM segmentation ({error}): {_ELSEWHERE}.") from error
    _refer_to_frames(made, _indices(slices))
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid("dimensions")
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid("dimensions")
    return made


class _Identifiers:
    """UIDs that are the same for the same content."""

    def __init__(self, labelmap: Array, segments: Sequence[Segment], sources: Sequence[str], model: str) -> None:
        told = [f"{one.name} {one.label} {one.hex_color} {one.terminology}" for one in segments]
        self._facts = [*sources, model, package_version(), *told, *map(_digest, labelmap)]

    def __call__(self, what: str) -> str:
        """The UID of a part of the content."""
        return str(pydicom.uid.generate_uid(entropy_srcs=[what, *self._facts]))


def _digest(part: Array) -> str:
    return hashlib.sha256(part.astype("<u2").tobytes()).hexdigest()


def _sources(slices: Slices) -> list[Any]:
    """The headers of the slices' files, each once, fit to be referred to. Raises VolumeError."""
    paths = list(dict.fromkeys(frame.path for frame in slices.frames))
    found: list[Any] = []
    for path in paths:
        with parsing(path):
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            data.decode()
        missing = [keyword for keyword in _NEEDED if not data.get(keyword)]
        if missing:
            raise VolumeError(
                f"The DICOM file {path.name} has no {missing[0]}, which a segmentation needs: {_ELSEWHERE}."
            )
        for keyword in _MAY_BE_EMPTY:
            setattr(data, keyword, data.get(keyword) or "")
        if "ImageOrientationPatient" in data:  # equal but for rounding, and highdicom takes none of that
            data.ImageOrientationPatient = found[0].ImageOrientationPatient if found else data.ImageOrientationPatient
        found.append(data)
    if len(found) not in (1, len(slices.frames)):
        raise VolumeError(f"The series has several files of many slices each: {_ELSEWHERE}.")
    if "PerFrameFunctionalGroupsSequence" in found[0]:
        _only(found[0], _indices(slices))
    return found


def _indices(slices: Slices) -> list[int]:
    return [frame.index for frame in slices.frames]


def _only(data: Any, indices: Sequence[int]) -> None:
    """Leave in the header of an enhanced file these of its frames, in this order."""
    groups = data.PerFrameFunctionalGroupsSequence
    data.PerFrameFunctionalGroupsSequence = [groups[index] for index in indices]
    data.NumberOfFrames = len(indices)


def _refer_to_frames(made: Any, indices: Sequence[int]) -> None:
    """Undo for the frames of the source, which a segmentation refers to by number, what `_only` did."""
    items = [
        source
        for group in made.PerFrameFunctionalGroupsSequence
        for source in group.DerivationImageSequence[0].SourceImageSequence
        if "ReferencedFrameNumber" in source
    ]
    for source in {id(item): item for item in items}.values():  # segments share those of a slice
        source.ReferencedFrameNumber = indices[int(source.ReferencedFrameNumber) - 1] + 1


def _numbered(labelmap: Array, segments: Sequence[Segment]) -> Array:
    """The label map with the numbers of the segments, from 1, in place of their labels."""
    numbers = np.zeros(max(int(labelmap.max()), *(segment.label for segment in segments)) + 1, np.uint16)
    numbers[[segment.label for segment in segments]] = np.arange(1, len(segments) + 1)
    renumbered: Array = numbers[labelmap]
    return renumbered


def _measures(highdicom: Any, slices: Slices) -> Any:
    _, step = slices.line
    apart = float(np.linalg.norm(step))
    return highdicom.PixelMeasuresSequence(
        pixel_spacing=slices.spacing,
        slice_thickness=slices.frames[0].thickness or apart,
        spacing_between_slices=apart,
    )


def _description(highdicom: Any, number: int, segment: Segment, uid: _Identifiers, model: str) -> Any:
    known = segment.terminology or terminology_by_name(segment.name) or UNKNOWN
    parameters = {"Model": model} if model else None
    version = package_version()
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:_LONGEST],
        segmented_property_category=_coded(highdicom, known.category),
        segmented_property_type=_coded(highdicom, known.kind),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            f"MedSAM-2 ({_PRODUCT})",
            _coded(highdicom, _METHOD),
            version,
            parameters=parameters,
        ),
        tracking_uid=uid(f"segment {number}"),
        tracking_id=segment.name[:_LONGEST],
        anatomic_regions=[_coded(highdicom, known.region)] if known.region else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * part) for part in segment.color)),
    )
    _add_modifiers(highdicom, described, known)
    return described


def _add_modifiers(highdicom: Any, described: Any, known: Terminology) -> None:
    if known.modifier is not None:
        kind = described.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(highdicom, known.modifier)]
    if known.region_modifier is not None:
        region = described.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [_coded(highdicom, known.region_modifier)]


def _coded(highdicom: Any, code: Code) -> Any:
    return highdicom.sr.CodedConcept(code.value, code.scheme, code.meaning[:_LONGEST])
