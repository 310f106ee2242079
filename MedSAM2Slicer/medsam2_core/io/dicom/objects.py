"""Objects out of DICOM: the segments of a segmentation (SEG) and the contours of a structure set (RTSTRUCT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from medsam2_core.arrays import Mask
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.terminology import Terminology
from medsam2_core.io.dicom.contours import contour_names, fill_contours
from medsam2_core.io.dicom.headers import parsing
from medsam2_core.io.dicom.segments import fill_segment, segment_names, segment_terminology


class DicomObjects:
    """The objects of a file: `names` by their numbers. Raises VolumeError for one that holds none."""

    def __init__(self, path: Path) -> None:
        with parsing(path):
            self._data = pydicom.dcmread(path, force=True)
            modality = str(self._data.get("Modality") or "")
            if modality not in _KINDS:
                raise VolumeError(
                    f"This DICOM file is of the kind {modality or 'unknown'}, which holds no objects: give a "
                    "segmentation (SEG), a structure set (RTSTRUCT), or a label map."
                )
            self._kind = _KINDS[modality]
            self.names: Mapping[int, str] = self._kind.names(self._data)
        self._path = path

    def mask(self, number: int, geometry: Geometry) -> Mask:
        """The voxels (k, j, i) of an object on a grid. Raises PromptError where it lies on another one."""
        with parsing(self._path):
            return self._kind.fill(self._data, number, geometry)

    def terminology(self, number: int) -> Terminology | None:
        """What an object is in codes; None where that is not said."""
        with parsing(self._path):
            return self._kind.terminology(self._data, number)


@dataclass(frozen=True)
class _Kind:
    """How a kind of file is read, of which pydicom made a data set."""

    names: Callable[[Any], dict[int, str]]
    fill: Callable[[Any, int, Geometry], Mask]
    terminology: Callable[[Any, int], Terminology | None]


_KINDS = {
    "SEG": _Kind(segment_names, fill_segment, segment_terminology),
    "RTSTRUCT": _Kind(contour_names, fill_contours, lambda *_: None),
}
