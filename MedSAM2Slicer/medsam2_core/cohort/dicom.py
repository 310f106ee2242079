"""Segmentations of a cohort as DICOM, beside the others: of what was drawn, or accepted since."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from medsam2_core.cohort.acceptance import SEGMENTATION
from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.results import Results
from medsam2_core.errors import MedSAM2Error
from medsam2_core.io import read_segments, read_slices, write_dicom
from medsam2_core.io.dicom.grid import regular_geometry

COPY = "segmentation.dcm"


def write_copies(results: Results, cases: Sequence[Case], say: Callable[[Case, str], None]) -> int:
    """Write the segmentation of each case that is done as DICOM, unless it is there already; returns how many failed.

    `say` is told why one could not be written.
    """
    failed = 0
    for case in cases:
        noted = results.done(case)
        if noted is None:
            continue
        try:
            _write_copy(case, results.folder / case.name, str(noted["model"]))
        except MedSAM2Error as error:
            failed += 1
            say(case, str(error))
    return failed


def _write_copy(case: Case, folder: Path, model: str) -> None:
    """Write that of a case, with the date of what it is a copy of. Raises VolumeError."""
    source, copy = folder / SEGMENTATION, folder / COPY
    date = source.stat().st_mtime_ns
    if copy.exists() and copy.stat().st_mtime_ns == date:
        return
    options = case.options
    slices = read_slices(case.image, options.series)
    labelmap, segments = read_segments(source, None if options.resample else regular_geometry(slices))
    write_dicom(copy, labelmap, segments, slices, model)
    os.utime(copy, ns=(date, date))
