"""Reading volumes, masks and label maps."""

from __future__ import annotations

import gzip
import itertools
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

import open_data
from medsam2_core import io
from medsam2_core.errors import PromptError, VolumeError

ARRAY = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)


def save(path: Path, array: np.ndarray = ARRAY, *, vector: bool = False, **geometry: object) -> Path:
    image = sitk.GetImageFromArray(array, isVector=vector)
    for name, value in geometry.items():
        getattr(image, f"Set{name.title()}")(value)
    sitk.WriteImage(image, str(path))
    return path


def refusal(read: Callable[..., object], path: Path, *args: object) -> str:
    """The message of the refusal, which must be one line that starts with the file."""
    with pytest.raises((VolumeError, PromptError)) as caught:
        read(path, *args)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    assert "\n" not in text
    assert "itk::" not in text
    return text.removeprefix(f"{path}: ")


# Volumes


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_every_format_and_type_keeps_values_and_grid(tmp_path: Path, suffix: str, dtype: str) -> None:
    path = save(tmp_path / f"a{suffix}", ARRAY.astype(dtype), spacing=(0.5, 1.5, 2.5), origin=(-7.0, 8.0, 9.0))
    volume = io.read_volume(path)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.geometry.spacing_kji == (2.5, 1.5, 0.5)
    assert volume.geometry.origin_lps == (-7.0, 8.0, 9.0)
    assert volume.path == path


def axis_aligned() -> list[list[float]]:
    """All 48 ways to lay the voxel axes along the body's, both handednesses."""
    orders, signs = itertools.permutations(range(3)), list(itertools.product((-1.0, 1.0), repeat=3))
    return [(np.eye(3)[:, order] * sign).ravel().tolist() for order in orders for sign in signs]


@settings(max_examples=48)
@given(direction=st.sampled_from(axis_aligned()), suffix=st.sampled_from((".nii", ".nrrd", ".mha")))
def test_a_marked_voxel_is_found_where_it_lies_for_any_axes(
    tmp_path: Path, direction: list[float], suffix: str
) -> None:
    array = np.zeros((3, 4, 5), np.int16)
    array[2, 1, 3] = 1
    path = save(tmp_path / f"a{suffix}", array, direction=direction, spacing=(1, 2, 3), origin=(5, -6, 7))
    volume = io.read_volume(path)
    k, j, i = np.argwhere(volume.array == 1)[0]
    lps = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((3, 1, 2))
    np.testing.assert_allclose(volume.geometry.ijk_to_ras([(i, j, k)])[0], np.multiply(lps, (-1, -1, 1)), atol=1e-5)
    assert (k, j, i) == (2, 1, 3)


def test_left_handed_chest_ct(chest_ct: open_data.ChestCT) -> None:
    volume = io.read_volume(chest_ct.ct)
    assert volume.array.shape == (133, 512, 512)
    assert volume.geometry.spacing_kji == (2.5, 0.703125, 0.703125)
    # Left, anterior, superior: i runs to the left, against R, which makes the grid left-handed.
    assert np.sign(np.diag(volume.geometry.affine_ijk_to_ras)[:3]).tolist() == [-1, 1, 1]
    liver = next(label for label, name in chest_ct.structures.items() if name == "liver")
    spleen = next(label for label, name in chest_ct.structures.items() if name == "spleen")
    labels = io.read_labelmap(chest_ct.mask, volume.geometry)
    right = [
        volume.geometry.ijk_to_ras(np.argwhere(labels == label)[:, ::-1])[:, 0].mean() for label in (liver, spleen)
    ]
    assert right[0] > right[1]  # the liver is on the patient's right


def test_jpeg_2000_series_runs_from_feet_to_head(dicom_series: open_data.Labeled) -> None:
    volume = io.read_volume(dicom_series.image)
    assert volume.array.shape == (20, 512, 512)
    assert volume.geometry.spacing_kji == (2.0, 0.9765625, 0.9765625)
    assert volume.geometry.affine_ijk_to_ras[2, 2] == 2.0
    assert volume.array.min() < -900
    assert volume.array.max() > 200
    # The NIfTI of the same series was made by other software: its rows are flipped but cover the same box.
    labels = io.read_volume(dicom_series.labels).geometry
    ends = volume.geometry.ijk_to_ras([(0, 0, 0), (511, 511, 19)])
    np.testing.assert_allclose(np.sort(labels.ijk_to_ras([(0, 0, 0), (511, 511, 19)]), axis=0), np.sort(ends, axis=0))


def test_one_dicom_file_is_a_volume_of_one_slice(dicom_series: open_data.Labeled, tmp_path: Path) -> None:
    file = min(dicom_series.image.iterdir())
    shutil.copy(file, tmp_path)
    assert io.read_volume(file).array.shape == (1, 512, 512)
    assert io.read_volume(tmp_path).array.shape == (1, 512, 512)


def test_one_slice_volume(tmp_path: Path) -> None:
    assert io.read_volume(save(tmp_path / "a.nrrd", ARRAY[:1])).array.shape == (1, 4, 5)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_single_time_step_is_3d(tmp_path: Path, suffix: str) -> None:
    volume = io.read_volume(save(tmp_path / f"a{suffix}", ARRAY[np.newaxis], spacing=(2, 3, 4, 1)))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.geometry.spacing_kji == (4, 3, 2)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_some_nan_and_inf_are_kept(tmp_path: Path, suffix: str) -> None:
    array = np.full((2, 3, 4), np.nan, np.float32)
    array[0, 0, :2] = (np.inf, 1)
    np.testing.assert_array_equal(io.read_volume(save(tmp_path / f"a{suffix}", array)).array, array)


def test_some_nan_and_inf_are_fine_in_nifti(tmp_path: Path) -> None:
    array = np.full((2, 3, 4), np.nan, np.float32)
    array[0, 0, :2] = (np.inf, 1)
    assert io.read_volume(save(tmp_path / "a.nii.gz", array)).array[0, 0, 1] == 1


def test_a_compressed_nifti_is_not_mixed_up_with_its_namesake(tmp_path: Path) -> None:
    save(tmp_path / "a.nii", ARRAY + 100)
    np.testing.assert_array_equal(io.read_volume(save(tmp_path / "a.nii.gz")).array, ARRAY)
    np.testing.assert_array_equal(io.read_volume(tmp_path / "a.nii").array, ARRAY + 100)


def test_a_scaled_nifti_is_complete(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii")
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, 0.5, -3.0)  # slope and intercept turn int16 into float
    path.write_bytes(data)
    np.testing.assert_allclose(io.read_volume(path).array, ARRAY * 0.5 - 3)


def test_a_nifti_compressed_in_several_parts_is_complete(tmp_path: Path) -> None:
    data = save(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    np.testing.assert_array_equal(io.read_volume(path).array, ARRAY)


# Refusals


def test_a_missing_file(tmp_path: Path) -> None:
    assert "check the path" in refusal(io.read_volume, tmp_path / "none.nii")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.txt", "a"])
@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_no_image(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "copy it again, check its permissions, or export it" in refusal(io.read_volume, tmp_path / name)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_file_cut_short(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (8, 32, 32)).astype(np.int16)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "incomplete" in refusal(io.read_volume, path)


@pytest.mark.parametrize(
    ("shape", "sizes"), [((4, 5), "2 dimensions (5 x 4)"), ((2, 3, 4, 5), "4 dimensions (5 x 4 x 3 x 2)")]
)
def test_other_than_3d(tmp_path: Path, shape: tuple[int, ...], sizes: str) -> None:
    path = save(tmp_path / "a.nrrd", np.zeros(shape, np.uint8))
    assert refusal(io.read_volume, path) == f"The image has {sizes}: give one 3D volume."


@pytest.mark.parametrize("components", [2, 3])
def test_color_and_vectors(tmp_path: Path, components: int) -> None:
    path = save(tmp_path / "a.nrrd", np.zeros((3, 4, 5, components), np.uint8), vector=True)
    assert "convert color, vector or complex data to one scalar volume" in refusal(io.read_volume, path)


def test_complex_voxels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mha", ARRAY.astype(np.complex64))
    assert "convert color, vector or complex data" in refusal(io.read_volume, path)


def test_an_empty_volume(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mha")
    path.write_bytes(path.read_bytes().replace(b"DimSize = 5 4 3", b"DimSize = 5 0 3"))
    assert "empty" in refusal(io.read_volume, path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_finite_voxel(tmp_path: Path, suffix: str, value: float) -> None:
    path = save(tmp_path / f"a{suffix}", np.full((2, 3, 4), value, np.float32))
    text = refusal(io.read_volume, path)
    assert "All voxels are NaN or infinite" in text
    assert "export it again" in text


def sheared_nifti(path: Path) -> Path:
    data = bytearray(save(path).read_bytes())
    struct.pack_into("<2h", data, 252, 0, 1)  # no quaternion, but a matrix
    struct.pack_into("<12f", data, 280, 1, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    path.write_bytes(data)
    return path


def sheared_nrrd(path: Path) -> Path:
    path.write_bytes(save(path).read_bytes().replace(b"(1,0,0) (0,1,0)", b"(1,0,0) (.3,1,0)"))
    return path


@pytest.mark.parametrize(("shear", "name"), [(sheared_nifti, "a.nii"), (sheared_nrrd, "a.nrrd")])
def test_a_sheared_grid(tmp_path: Path, shear: Callable[[Path], Path], name: str) -> None:
    text = refusal(io.read_volume, shear(tmp_path / name))
    assert "not at right angles" in text
    assert "resample it to a regular grid" in text


# DICOM folders


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM", encoding="utf-8")
    assert "give an image file or a folder of DICOM slices" in refusal(io.read_volume, tmp_path)


def dicom_slice(path: Path, series: str, z: float) -> None:
    image = sitk.GetImageFromArray(np.full((1, 4, 5), 7, np.int16))
    tags = {"0020|000e": series, "0020|0032": f"0\\0\\{z}", "0020|0037": "1\\0\\0\\0\\1\\0", "0020|000d": "1.2.3"}
    tags |= {"0008|0060": "CT", "0020|0013": str(int(z))}
    for tag, value in tags.items():
        image.SetMetaData(tag, value)
    image.SetOrigin((0, 0, z))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)


def test_a_folder_of_two_series_lists_both(tmp_path: Path) -> None:
    for index, series in enumerate(["1.2.3.4", "1.2.3.4", "1.2.3.5"]):
        dicom_slice(tmp_path / f"{index}.dcm", series, index)
    text = refusal(io.read_volume, tmp_path)
    assert "There are 2 series (1: 1.2.3.4, 2 slices; 2: 1.2.3.5, 1 slice)" in text
    assert "choose one with --series and its number" in text


def test_slices_are_sorted_by_position_not_by_name(tmp_path: Path) -> None:
    for name, z in (("a", 4), ("b", 0), ("c", 2)):
        dicom_slice(tmp_path / f"{name}.dcm", "1.2.3.4", z)
    geometry = io.read_volume(tmp_path).geometry
    assert (geometry.origin_lps[2], geometry.spacing_kji[0], geometry.shape_kji) == (0, 2, (3, 4, 5))


def test_a_series_with_a_missing_slice(dicom_series: open_data.Labeled, tmp_path: Path) -> None:
    for index, file in enumerate(sorted(dicom_series.image.iterdir())):
        if index not in (5, 6):
            shutil.copy(file, tmp_path)
    text = refusal(io.read_volume, tmp_path)
    assert "missing, duplicated, shifted or unevenly spaced (gaps of 2 to 6 mm)" in text
    assert "export the series again" in text


def test_slices_off_by_rounding_are_even(tmp_path: Path) -> None:
    for index, z in enumerate((0, 2.004, 4, 6.003)):
        dicom_slice(tmp_path / f"{index}.dcm", "1.2.3.4", z)
    assert io.read_volume(tmp_path).geometry.spacing_kji[0] == pytest.approx(2, abs=0.01)


def test_itk_prints_nothing_and_is_left_as_it_was(
    dicom_series: open_data.Labeled, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in sorted(dicom_series.image.iterdir())[:6:3]:
        shutil.copy(file, tmp_path)
    shutil.copy(sorted(dicom_series.image.iterdir())[4], tmp_path)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    refusal(io.read_volume, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown


# Masks and label maps


def test_a_mask_is_true_where_not_zero(tmp_path: Path) -> None:
    geometry = io.read_volume(save(tmp_path / "ct.nii")).geometry
    values = np.zeros((3, 4, 5), np.float32)
    values[1, 2, :3] = (2, 2, np.nan)
    mask = io.read_mask(save(tmp_path / "mask.nii.gz", values), geometry)
    assert mask.dtype == bool
    assert np.argwhere(mask).tolist() == [[1, 2, 0], [1, 2, 1]]


def test_an_empty_mask(tmp_path: Path) -> None:
    geometry = io.read_volume(save(tmp_path / "ct.nii")).geometry
    path = save(tmp_path / "mask.nii", np.zeros((3, 4, 5), np.uint8))
    assert "paint the object on at least one slice" in refusal(io.read_mask, path, geometry)


def test_a_mask_or_label_map_of_another_grid_names_both_sizes(tmp_path: Path) -> None:
    geometry = io.read_volume(save(tmp_path / "ct.nii")).geometry
    other = save(tmp_path / "other.nii", ARRAY[:2])
    with pytest.raises(PromptError):
        io.read_mask(other, geometry)
    for read in (io.read_mask, io.read_labelmap):
        text = refusal(read, other, geometry)
        assert "has 5 x 4 x 2 voxels" in text
        assert "the volume has 5 x 4 x 3 voxels" in text
        assert "resample it to the volume's grid" in text


def test_a_flipped_label_map_is_refused(dicom_series: open_data.Labeled) -> None:
    geometry = io.read_volume(dicom_series.image).geometry
    assert "from (-249.51, 61.512, -804.5) LPS" in refusal(io.read_labelmap, dicom_series.labels, geometry)


def test_label_maps_stored_as_floats_are_whole_numbers(tmp_path: Path) -> None:
    labels = io.read_labelmap(save(tmp_path / "a.nii", ARRAY.astype(np.float32)))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, ARRAY)


@pytest.mark.parametrize(("value", "advice"), [(0.5, "fractional"), (np.nan, "NaN"), (1e12, "too large")])
def test_a_label_map_that_is_none(tmp_path: Path, value: float, advice: str) -> None:
    path = save(tmp_path / "a.nrrd", np.full((2, 3, 4), value, np.float32))
    text = refusal(io.read_labelmap, path)
    assert advice in text
    assert "give a label map" in text
