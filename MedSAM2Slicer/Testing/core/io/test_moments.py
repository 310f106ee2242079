"""Volumes of several moments: in one file, in one DICOM series, in a file each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from medsam2_core.errors import VolumeError
from medsam2_core.io.moments import read_moments
from medsam2_core.io.volume import list_series, read_volume

MOMENTS = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 5, 6)).astype(np.int16)  # t, k, j, i


def test_a_4d_nifti_file_lies_where_its_volumes_do(tmp_path: Path) -> None:
    affine = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]])
    nibabel.Nifti1Image(MOMENTS.transpose(3, 2, 1, 0), affine).to_filename(tmp_path / "4d.nii.gz")
    nibabel.Nifti1Image(MOMENTS[1].transpose(2, 1, 0), affine).to_filename(tmp_path / "3d.nii")
    found, alone = read_moments([tmp_path / "4d.nii.gz"]), read_volume(tmp_path / "3d.nii")
    assert np.array_equal(np.stack([volume.array for volume in found]), MOMENTS)
    assert all(volume.geometry == alone.geometry for volume in found)
    with pytest.raises(VolumeError, match="4 dimensions"):
        read_volume(tmp_path / "4d.nii.gz")
    with pytest.raises(VolumeError, match="This is one volume"):
        read_moments([tmp_path / "3d.nii"])


def test_the_phases_of_a_dicom_series_are_moments(tmp_path: Path) -> None:
    uid = generate_uid()
    for moment, volume in enumerate(MOMENTS):
        for k, pixels in enumerate(volume):
            write_slice(tmp_path / f"{moment}-{k}.dcm", pixels, uid, moment, k)
    found = read_moments([tmp_path])
    assert np.array_equal(np.stack([volume.array for volume in found]), MOMENTS)
    assert found[0].geometry.spacing_ijk == (0.75, 0.5, 2.0)
    other = generate_uid()
    for k in range(2):
        write_slice(tmp_path / f"other-{k}.dcm", MOMENTS[0, k], other, 0, k)
    with pytest.raises(VolumeError, match="4 DICOM series here differ in size: choose those of one with --series"):
        read_moments([tmp_path])
    assert len(read_moments([tmp_path], series=uid)) == 3


def write_slice(path: Path, pixels: np.ndarray, series: str, moment: int, k: int) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.TemporalPositionIdentifier = series, moment + 1
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelData = 16, 16, 15, pixels.tobytes()
    data.PixelSpacing, data.ImageOrientationPatient = [0.5, 0.75], [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [0, 0, 2.0 * k]
    pydicom.dcmwrite(path, data, enforce_file_format=True)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("TemporalPositionIdentifier", (9, 10, 100)),
        ("NominalPercentageOfCardiacPhase", (5.0, 35.0, 100.0)),
        ("FrameReferenceTime", (999999.5, 1234567.0, 1234568.0)),
        ("EchoTime", ("4.6", "9.2", "13.8")),
        ("AcquisitionNumber", (2, 10, 11)),
        ("TriggerTime", ("0.0", "95", "1020.5")),
        ("AcquisitionTime", ("095959.9", "100000", "100000.5")),
        ("AcquisitionDateTime", ("20200101095959.123456", "20200101095959.123457", "20200101100000")),
    ],
)
def test_phases_come_in_the_order_of_their_marks_whatever_the_files_are_called(
    tmp_path: Path, keyword: str, values: tuple[Any, ...]
) -> None:
    uid = generate_uid()
    for moment, name in enumerate("bca"):
        for k, pixels in enumerate(MOMENTS[moment]):
            path = tmp_path / f"{name}{k}.dcm"
            write_slice(path, pixels, uid, 0, k)
            data = pydicom.dcmread(path)
            setattr(data, keyword, values[moment])
            data.save_as(path)
    found = read_moments([tmp_path])
    assert np.array_equal(np.stack([volume.array for volume in found]), MOMENTS)
    listed = [float(one.part.rpartition(" ")[2]) for one in list_series(tmp_path)]
    assert listed == [float(value) for value in values]


def test_series_that_are_no_moments(tmp_path: Path) -> None:
    for k in (0, 1, 3):
        write_slice(tmp_path / f"{k}.dcm", MOMENTS[0, 0], generate_uid(entropy_srcs=["one"]), 0, k)
    with pytest.raises(VolumeError, match="^" + re.escape(f"{tmp_path}: Slices are missing")):
        read_moments([tmp_path])
    with pytest.raises(VolumeError, match=r"No series is '9'; there is 1 series \(1: "):
        read_moments([tmp_path], "9")
    cine = pydicom.dcmread(tmp_path / "0.dcm")
    del cine.ImagePositionPatient
    cine.Modality, cine.NumberOfFrames, cine.PixelData = "US", 2, 2 * cine.PixelData
    cine.save_as(tmp_path / "cine.dcm")
    with pytest.raises(VolumeError, match=r"^[^ ]*cine.dcm: This is a cine, .*: give it to medsam2 propagate"):
        read_moments([tmp_path / "cine.dcm"])


def test_volumes_on_several_grids_are_no_moments(tmp_path: Path) -> None:
    for name, array in (("a", MOMENTS[0]), ("b", MOMENTS[1]), ("c", MOMENTS[0, :3])):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nrrd"))
    found = read_moments([tmp_path / "b.nrrd", tmp_path / "a.nrrd"])
    assert np.array_equal(np.stack([volume.array for volume in found]), MOMENTS[[1, 0]])
    with pytest.raises(VolumeError, match=r"c\.nrrd: Its grid has .* resample all to one grid.* Slicer.* reference"):
        read_moments([tmp_path / "a.nrrd", tmp_path / "c.nrrd"])
    with pytest.raises(VolumeError, match="holds no moments"):
        read_moments([tmp_path / "a.nrrd"])
