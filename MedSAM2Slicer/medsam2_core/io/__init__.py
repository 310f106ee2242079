"""Read volumes, masks and segmentations, write label maps.

Arrays are (k, j, i). Every error is one sentence that starts with the file and says what to do. Formats have rooms of
their own: `dicom`, `nifti`, `itk` (everything else SimpleITK reads) and `formats` (what is written).
"""

from __future__ import annotations

from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.io.dicom.series import Series
from medsam2_core.io.labels import holds_segments, read_labelmap, read_mask, read_segments, read_terminology
from medsam2_core.io.priors import PriorObject, read_prior
from medsam2_core.io.volume import Volume, list_series, read_grid, read_series, read_slices, read_volume
from medsam2_core.io.writing import check_fits, check_output_path, open_draft, write_dicom, write_labelmap

__all__ = [
    "Geometry",
    "PriorObject",
    "Segment",
    "Series",
    "Volume",
    "check_fits",
    "check_output_path",
    "holds_segments",
    "list_series",
    "open_draft",
    "read_grid",
    "read_labelmap",
    "read_mask",
    "read_prior",
    "read_segments",
    "read_series",
    "read_slices",
    "read_terminology",
    "read_volume",
    "write_dicom",
    "write_labelmap",
]
