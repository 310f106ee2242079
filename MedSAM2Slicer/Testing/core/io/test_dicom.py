"""DICOM series are what their headers say, or they are refused in one sentence."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import dicomfiles
import numpy as np
import pydicom
import pytest
from dicomfiles import dataset, enhanced, save, save_series
from pydicom.dataelem import DataElement
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, PositronEmissionTomographyImageStorage, RLELossless

from medsam2_core import io
from medsam2_core.errors import VolumeError

ARRAY = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 7)).astype(np.int16)
PLACES = [(0.0, 0.0, 2.5 * k) for k in range(len(ARRAY))]


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(VolumeError) as caught:
        io.read_volume(path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# Places


def tilted(degrees: float) -> tuple[float, ...]:
    angle = math.radians(degrees)
    return (1, 0, 0, 0, math.cos(angle), -math.sin(angle))


def test_a_tilted_gantry_is_named_with_its_angle(tmp_path: Path) -> None:
    text = refusal(save_series(tmp_path, ARRAY, orientation=tilted(20)))
    assert "tilted by 20.0 degrees" in text
    assert "tilted gantry" in text
    assert "--resample" in text


def test_the_same_slices_stacked_along_their_normal_are_no_tilt(tmp_path: Path) -> None:
    normal = np.array([0, math.sin(math.radians(20)), math.cos(math.radians(20))])
    save_series(tmp_path, ARRAY, lambda k: 2.5 * k * normal, orientation=tilted(20))
    geometry = io.read_volume(tmp_path).geometry
    np.testing.assert_allclose(np.array(geometry.direction_lps)[:, 2], normal, atol=1e-6)
    assert geometry.spacing_ijk == pytest.approx((0.7, 0.8, 2.5))


def test_positions_that_are_all_the_same_or_missing(tmp_path: Path) -> None:
    assert "6 or more slices lie in one place" in refusal(save_series(tmp_path / "a", ARRAY, lambda k: (0, 0, 0)))
    missing = save_series(tmp_path / "b", ARRAY, ImagePositionPatient=None, SliceLocation=lambda k: str(2.5 * k))
    assert "6 of 6 DICOM slices have no position" in refusal(missing)
    missing = save_series(tmp_path / "c", ARRAY, PixelSpacing=None)
    assert "have no pixel spacing" in refusal(missing)


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"orientation": lambda k: tilted(3) if k == 2 else tilted(0)}, "different orientations"),
        ({"spacing": lambda k: (0.8, 0.75) if k == 2 else (0.8, 0.7)}, "different pixel spacings"),
    ],
)
def test_a_slice_unlike_the_others_is_named(tmp_path: Path, headers: dict, what: str) -> None:
    text = refusal(save_series(tmp_path, ARRAY, **headers))
    assert f"{what} (1 of 6 differs from most: 002.dcm)" in text


def test_a_slice_of_another_size_is_named(tmp_path: Path) -> None:
    save_series(tmp_path, ARRAY)
    save(dataset(ARRAY[2, :, :-1], PLACES[2]), tmp_path / "002.dcm")
    assert "different sizes (1 of 6 differs from most: 002.dcm)" in refusal(tmp_path)


def test_micro_ct_and_maps_are_held_to_their_own_voxels(tmp_path: Path) -> None:
    for scale in (1e-5, 1e5):
        folder = tmp_path / str(scale)
        save_series(folder, ARRAY, lambda k, s=scale: (0, 0, k * s), spacing=(scale, scale))
        assert io.read_volume(folder).geometry.spacing_ijk == pytest.approx((scale,) * 3)
        (folder / "003.dcm").unlink()
        assert "unevenly spaced" in refusal(folder)


def test_one_slice_has_its_own_thickness_or_none(tmp_path: Path) -> None:
    save(dataset(ARRAY[0]), tmp_path / "a.dcm")
    assert io.read_volume(tmp_path / "a.dcm").geometry.spacing_kji[0] == 2.5
    save(dataset(ARRAY[0], SliceThickness=None), tmp_path / "a.dcm")
    assert "has no thickness" in refusal(tmp_path / "a.dcm")


# Values


def test_each_slice_counts_by_its_own_slope(tmp_path: Path) -> None:
    """As PET scanners write it: the slope is the slice's maximum by the largest number, that of an empty slice 1."""
    true = np.random.default_rng(0).gamma(2, 0.4, (6, 5, 7))
    true[0] = 0
    slopes = [1.0, *(float(dicomfiles.number(part.max() / 32767)) for part in true[1:])]
    stored = np.stack([np.round(part / slope) for part, slope in zip(true, slopes, strict=True)]).astype(np.int16)
    save_series(
        tmp_path,
        stored,
        SOPClassUID=PositronEmissionTomographyImageStorage,
        RescaleSlope=lambda k: dicomfiles.number(slopes[k]),
    )
    np.testing.assert_allclose(io.read_volume(tmp_path).array, true, atol=true.max() / 32767)


def test_types_are_as_wide_as_values_need(tmp_path: Path) -> None:
    stored = np.array([[[0, 65535]], [[1, 2]]], np.uint16)
    array = io.read_volume(save_series(tmp_path, stored, RescaleIntercept="-1024")).array
    assert array.dtype == np.int32
    np.testing.assert_array_equal(array, stored.astype(int) - 1024)


def test_unused_bits_may_hold_an_overlay(tmp_path: Path) -> None:
    stored = (ARRAY & 0xFFF).astype(np.uint16) | 0xA000
    headers = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
    np.testing.assert_array_equal(io.read_volume(save_series(tmp_path, stored, **headers)).array, ARRAY)


def test_padding_gets_the_lowest_value(tmp_path: Path) -> None:
    stored = ARRAY.copy()
    stored[:, 0] = -2000
    unsigned = DataElement("PixelPaddingValue", "US", 63536)  # -2000, as a header without a sign says it
    for index, pixels in enumerate(stored):
        data = dataset(pixels, PLACES[index], RescaleIntercept="-24")
        data.add(unsigned)
        save(data, tmp_path / f"{index}.dcm")
    array = io.read_volume(tmp_path).array
    np.testing.assert_array_equal(array[:, 1:], stored[:, 1:] - 24)
    assert (array[:, 0] == stored[:, 1:].min() - 24).all()


def test_a_table_of_values(tmp_path: Path) -> None:
    meanings = np.array([5, 100, 1000, 60000], "<u2").tobytes()
    table = dicomfiles.item(LUTDescriptor=[4, 10, 16], LUTData=meanings, ModalityLUTType="US")
    stored = np.array([[[9, 10, 11]], [[12, 13, 99]]], np.uint16)
    headers = {"ModalityLUTSequence": [table], "RescaleSlope": None, "RescaleIntercept": None}
    array = io.read_volume(save_series(tmp_path, stored, **headers)).array
    assert array.ravel().tolist() == [5, 5, 100, 1000, 60000, 60000]


def test_values_shown_inverted_keep_their_order(tmp_path: Path) -> None:
    save_series(tmp_path, ARRAY, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(io.read_volume(tmp_path).array, ARRAY)


def test_color_is_refused(tmp_path: Path) -> None:
    colored = np.zeros((5, 7 * 3), np.uint8)
    save(dataset(colored, Columns=7, SamplesPerPixel=3, PhotometricInterpretation="RGB"), tmp_path / "a.dcm")
    assert "is in color (RGB)" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        *((syntax, bits) for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian) for bits in (8, 16, 32)),
        *((RLELossless, bits) for bits in (8, 16)),
    ],
)
def test_every_way_to_store_pixels(tmp_path: Path, syntax: pydicom.uid.UID, bits: int) -> None:
    stored = ARRAY.astype(f"i{bits // 8}")
    for index, pixels in enumerate(stored):
        data = dataset(pixels, PLACES[index], RescaleSlope="0.5")
        path = tmp_path / f"{index}.dcm"
        if syntax == RLELossless:
            data.compress(RLELossless)
        elif syntax == ExplicitVRBigEndian:
            data.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
        data.file_meta.TransferSyntaxUID = syntax
        save(data, path)
    np.testing.assert_allclose(io.read_volume(tmp_path).array, stored * 0.5)


# Every file


def test_numbers_with_a_fraction_are_not_called_damaged(tmp_path: Path) -> None:
    data = dataset(np.zeros((8, 8), np.int16), BitsAllocated=32, PixelData=None)
    data.FloatPixelData = np.zeros((8, 8), np.float32).tobytes()
    with pytest.raises(VolumeError, match=r"a.dcm holds numbers with a fraction: convert it to NIfTI"):
        io.read_volume(save(data, tmp_path / "a.dcm"))


def test_an_empty_or_truncated_file_at_the_end_is_no_shorter_volume(tmp_path: Path) -> None:
    save_series(tmp_path, ARRAY)
    last = tmp_path / "005.dcm"
    whole = last.read_bytes()
    for length in (0, 60, 140, 300, 500, len(whole) - 30, len(whole) - 2):
        last.write_bytes(whole[:length])
        text = refusal(tmp_path)
        assert "005.dcm" in text, length
        assert "damaged" in text or "cut short" in text, length


def test_a_truncated_compressed_file(tmp_path: Path) -> None:
    save_series(tmp_path, ARRAY)
    data = dataset(ARRAY[5], PLACES[5])
    data.compress(RLELossless)
    path = save(data, tmp_path / "005.dcm")
    path.write_bytes(path.read_bytes()[:-40])
    assert "005.dcm" in refusal(tmp_path)


def test_files_without_a_suffix(tmp_path: Path) -> None:
    for index, pixels in enumerate(ARRAY):
        save(dataset(pixels, PLACES[index]), tmp_path / f"{'ABCDEF'[index]}7F")
    (tmp_path / "README").write_text("Exported by a workstation.\n", encoding="utf-8")
    assert io.read_volume(tmp_path).array.shape == ARRAY.shape
    (tmp_path / "FFFF").write_bytes(bytes(3000))
    assert "The file FFFF is not DICOM" in refusal(tmp_path)


def test_other_files_of_a_cd_do_not_disturb(tmp_path: Path) -> None:
    save_series(tmp_path / "DICOM" / "ST0", ARRAY)
    for name in ("autorun.inf", "viewer.exe", "DICOMDIR", ".DS_Store", "report.pdf", "index.html"):
        (tmp_path / name).write_bytes(b"\0\1\2")
    report = dataset(ARRAY[0], series="1.2.9", Modality="SR", SOPClassUID=pydicom.uid.BasicTextSRStorage)
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(report, tmp_path / "DICOM" / "SR" / "000.dcm")
    np.testing.assert_array_equal(io.read_volume(tmp_path).array, ARRAY)
    np.testing.assert_array_equal(io.read_volume(tmp_path / "DICOMDIR").array, ARRAY)


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    save_series(tmp_path, ARRAY)
    shutil.copy(tmp_path / "003.dcm", tmp_path / "copy of 003.dcm")
    np.testing.assert_array_equal(io.read_volume(tmp_path).array, ARRAY)
    other = pydicom.dcmread(tmp_path / "003.dcm")
    other.PixelData = bytes(len(other.PixelData))
    save(other, tmp_path / "copy of 003.dcm")
    assert "2 or more slices lie in one place" in refusal(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_series(tmp_path, ARRAY)
    whole = Path.open

    def refuse(path: Path, *args: object) -> object:  # tests may run as root, whom permissions do not stop
        if path.name == "002.dcm":
            raise PermissionError(13, "Permission denied")
        return whole(path, *args)

    monkeypatch.setattr(Path, "open", refuse)
    assert "002.dcm cannot be read (Permission denied)" in refusal(tmp_path)


# Series


def test_one_of_several_series_is_chosen_by_number_or_uid(tmp_path: Path) -> None:
    save_series(tmp_path / "a", ARRAY, series="1.2.8", SeriesNumber=5, SeriesDescription="lung")
    save_series(tmp_path / "b", ARRAY[:3] * 2, series="1.2.7", SeriesNumber=30)
    text = refusal(tmp_path)
    assert "There are 2 series (1: lung, 6 slices; 2: 1.2.7, 3 slices)" in text
    np.testing.assert_array_equal(io.read_volume(tmp_path, series=1).array, ARRAY)
    np.testing.assert_array_equal(io.read_volume(tmp_path, series="1.2.7").array, ARRAY[:3] * 2)
    assert "No series is '9'" in refusal(tmp_path, series=9)
    assert [one.number for one in io.list_series(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    ("mark", "part"),
    [
        ({"TemporalPositionIdentifier": lambda k: k % 2 + 1}, "phase 2"),
        ({"EchoTime": lambda k: str(10 * (k % 2 + 1))}, "echo time 20"),
        ({"AcquisitionNumber": lambda k: k % 2 + 1}, "acquisition 2"),
        ({"ImageType": lambda k: ["ORIGINAL", "PRIMARY", "MP"[k % 2]]}, "kind ORIGINAL/PRIMARY/P"),
        ({"DiffusionBValue": lambda k: 1000.0 * (k % 2)}, "b-value 1000"),
    ],
)
def test_volumes_in_the_same_place_are_told_apart(tmp_path: Path, mark: dict, part: str) -> None:
    save_series(tmp_path, ARRAY, lambda k: PLACES[k // 2], **mark)
    assert part in refusal(tmp_path)
    chosen = next(one for one in io.list_series(tmp_path) if part.startswith(one.part) and part[-1] == one.part[-1])
    np.testing.assert_array_equal(io.read_volume(tmp_path, series=chosen.number).array, ARRAY[1::2])


def test_the_planes_of_a_localizer_are_told_apart(tmp_path: Path) -> None:
    across = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
    axial = save_series(tmp_path / "a", ARRAY[:3])
    save_series(tmp_path / "b", ARRAY[3:], lambda k: (0, 2.5 * k, 0), orientation=across)
    assert "1: plane axial, 3 slices; 2: plane coronal, 3 slices" in refusal(tmp_path)
    np.testing.assert_array_equal(io.read_volume(tmp_path, series=1).array, io.read_volume(axial).array)


# Enhanced files


def test_frames_are_ordered_by_their_own_positions(tmp_path: Path) -> None:
    for order in (range(6), [3, 1, 4, 0, 5, 2], range(5, -1, -1)):
        path = save(enhanced(ARRAY[list(order)], [PLACES[k] for k in order]), tmp_path / "a.dcm")
        volume = io.read_volume(path)
        np.testing.assert_array_equal(volume.array, ARRAY.astype(int) - 3)
        assert volume.geometry.spacing_ijk == pytest.approx((0.7, 0.8, 2.5))


def test_a_gap_between_frames(tmp_path: Path) -> None:
    kept = [0, 1, 4, 5]
    text = refusal(save(enhanced(ARRAY[kept], [PLACES[k] for k in kept]), tmp_path / "a.dcm"))
    assert "gaps of 2.5 to 7.5 mm" in text


@pytest.mark.parametrize(("mark", "values"), [("TemporalPositionIndex", [1, 2]), ("StackID", ["1", "2"])])
def test_phases_and_stacks_of_one_file_can_be_named(tmp_path: Path, mark: str, values: list) -> None:
    data = enhanced(np.concatenate([ARRAY, -ARRAY]), PLACES + PLACES, **{mark: np.repeat(values, 6).tolist()})
    path = save(data, tmp_path / "a.dcm")
    assert "There are 2 series" in refusal(path)
    np.testing.assert_array_equal(io.read_volume(path, series=2).array, -ARRAY.astype(int) - 3)


def test_frames_that_say_no_place(tmp_path: Path) -> None:
    path = save(dataset(ARRAY, NumberOfFrames=6), tmp_path / "a.dcm")
    assert "frames without positions" in refusal(path)
    path = save(dataset(ARRAY[0], ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), tmp_path / "a.dcm")
    assert "mosaic" in refusal(path)


# On a regular grid


@pytest.mark.parametrize("kept", [range(6), (0, 1, 2, 4, 5)])
def test_masks_come_back_to_tilted_and_uneven_slices(tmp_path: Path, kept: range) -> None:
    array = np.zeros((6, 30, 32), np.int16)
    array[1:5, 12:20, 10:18] = 100
    kept = list(kept)
    save_series(tmp_path, array[kept], lambda n: PLACES[kept[n]], orientation=tilted(20))
    volume = io.read_volume(tmp_path, resample=True)
    assert volume.geometry.shape_kji[0] == 6
    assert volume.stored is not None
    back = volume.stored.labels((volume.array > 50).astype(np.uint8))
    assert (back != (array[kept] > 50)).mean() < 0.01
    center = volume.stored.to_lps([(13.5, 15.5, 2)])
    assert volume.array[tuple(np.round(volume.geometry.lps_to_ijk(center)[0]).astype(int)[::-1])] == 100


def test_a_mask_of_tilted_slices_is_written_where_they_lie(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    folder = save_series(tmp_path / "ct", ARRAY, orientation=tilted(20))
    volume = io.read_volume(folder, resample=True)
    io.write_labelmap(tmp_path / "a.nii.gz", np.ones(volume.array.shape, np.uint8), volume.geometry, like=volume)
    written = nibabel.load(tmp_path / "a.nii.gz")
    assert written.shape == (7, 5, 6)
    for k in range(6):
        np.testing.assert_allclose(written.affine @ (0, 0, k, 1), (0, 0, 2.5 * k, 1), atol=1e-4)
