"""Volumes of one place at several moments: a 4D NIfTI file, the DICOM phases of a folder, or a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medsam2_core.errors import VolumeError
from medsam2_core.io.dicom.picture import is_cine
from medsam2_core.io.dicom.series import Series, choose, find_series
from medsam2_core.io.nifti import is_nifti, read_nifti
from medsam2_core.io.volume import Volume, is_dicom_path, naming, read_series, read_volume


def read_moments(paths: Sequence[Path], series: str | None = None) -> list[Volume]:
    """Read the volumes in the order of their moments.

    `series` is the number or UID of the DICOM series that is meant, of which all phases are taken. Raises VolumeError
    for what cannot be read, a single volume, or volumes that are not on one grid.
    """
    found = _in_one(paths[0], series) if len(paths) == 1 else [read_volume(path, series) for path in paths]
    if len(found) < 2:
        raise VolumeError(f"{paths[0]}: This is one volume: give it to medsam2 propagate, or give more of them.")
    for volume in found[1:]:
        if not volume.geometry.same_grid(found[0].geometry):
            raise VolumeError(
                f"{volume.path}: Its grid has {volume.geometry.describe()} but that of the first volume "
                f"{found[0].geometry.describe()}: resample all to one grid, for example in Slicer with Resample "
                "Scalar/Vector/DWI Volume and the first volume as its reference."
            )
    return found


def _in_one(path: Path, series: str | None) -> list[Volume]:
    """The volumes of one file or folder."""
    with naming(path):
        if not is_dicom_path(path):
            if not is_nifti(path):
                raise VolumeError("This holds no moments: give a 4D NIfTI file, a DICOM folder, or one file for each.")
            array, grid, forms = read_nifti(path, moments=True)
            return [Volume(moment, grid, path, forms) for moment in array]
        if is_cine(path, colors=True):
            raise VolumeError("This is a cine, whose frames are slices here: give it to medsam2 propagate.")
        found = find_series(path)
        phases = _phases(found, series)
    return [replace(read_series(path, found, one.number), path=path / one.part) for one in phases]


def _phases(found: Sequence[Series], series: str | None) -> list[Series]:
    """The volumes of the DICOM series that is meant, or of all. Raises VolumeError."""
    chosen = [one for one in found if series is None or series in (one.uid, str(one.number))]
    uids = {one.uid for one in chosen or [choose(found, series)]}
    phases = [one for one in found if one.uid in uids]
    if series is None and len({_size(one) for one in phases}) > 1:
        raise VolumeError(
            f"The {len(found)} DICOM series here differ in size: choose those of one with --series and its number or "
            "UID (medsam2 info lists them)."
        )
    return phases


def _size(series: Series) -> tuple[int, tuple[int, int]]:
    return len(series.frames), series.frames[0].shape
