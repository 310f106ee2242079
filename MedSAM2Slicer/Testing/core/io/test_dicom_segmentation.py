"""DICOM segmentations (SEG): what is written is what was drawn, also as other programs and validators see it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicomfiles import enhanced, save, save_series
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes

import open_data
import open_packages
from medsam2_core import io
from medsam2_core.errors import MedSAM2Error, VolumeError
from medsam2_core.image.segments import Segment
from medsam2_core.image.terminology import Code, Terminology, terminology_of
from medsam2_core.io.dicom.naming import _table, terminology_by_name
from medsam2_core.io.volume import Volume
from medsam2_core.notices import InputNotice, told

pytest.importorskip("highdicom", reason="medsam2slicer[dicom] is not installed")

TURNED = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0)
OWN = {"FrameOfReferenceUID": "1.2.3.9", "PatientName": "Müller^Hans", "SpecificCharacterSet": "ISO_IR 100"}
SEGMENTS = [
    Segment("liver", 2, (0.9, 0.1, 0)),
    Segment("Kidney_Left", 7, (0, 0.5, 1)),
    Segment("empty spleen", 9, (0, 0, 1)),
]
SHAPE = (6, 20, 24)
KIDNEY = Terminology(Code("91723000", "SCT", "Anatomical Structure"), Code("64033007", "SCT", "Kidney"))


def drawn() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 3:15, 2:9] = 2
    labels[2, 4:9, 3:5] = 0
    labels[3:, 16:, 20:] = 7
    return labels


@pytest.fixture
def series(tmp_path: Path) -> Volume:
    pixels = np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.int16)
    place = lambda index: (-7.0 + index * 0, 8.0, -30.5 + 2.5 * index)  # noqa: E731
    save_series(tmp_path / "ct", pixels, place, orientation=TURNED, **OWN)
    return io.read_volume(tmp_path / "ct")


def write(path: Path, volume: Volume, labels: np.ndarray, segments: Any = SEGMENTS) -> Path:
    with told(lambda _: None):
        io.write_labelmap(path, labels, volume.geometry, segments, volume, model="starter")
    return path


def test_what_was_written_is_read_again(series: Volume, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", series, drawn())
    for segment in SEGMENTS[:2]:
        np.testing.assert_array_equal(io.read_mask(path, series.geometry, segment.name), drawn() == segment.label)
    with pytest.raises(MedSAM2Error, match="marks no voxel"):
        io.read_mask(path, series.geometry, "empty spleen")
    with pytest.raises(MedSAM2Error, match=r"holds 3 objects .*say which one as a.dcm:NAME"):
        io.read_mask(path, series.geometry)
    with pytest.raises(MedSAM2Error, match="holds no 'lung'"):
        io.read_mask(path, series.geometry, "lung")


def test_a_volume_of_the_same_voxels_in_another_order_takes_the_mask_too(series: Volume, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", series, drawn())
    image = sitk.Flip(sitk.GetImageFromArray(series.array), [True, False, True])
    grid = series.geometry
    first = grid.ijk_to_ras([[23, 0, 5]])[0] * (-1, -1, 1)
    image.SetOrigin(first.tolist())
    image.SetSpacing(grid.spacing_ijk)
    image.SetDirection((np.array(grid.direction_lps) * (-1, 1, -1)).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    found = io.read_mask(path, io.read_volume(tmp_path / "ct.nrrd").geometry, "liver")
    np.testing.assert_array_equal(found[::-1, :, ::-1], drawn() == 2)


def test_on_other_pixels_it_is_refused(series: Volume, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", series, drawn())
    for shift in ((0.4, 0, 0), (0, 0, 100)):
        x, y, z = np.add(series.geometry.origin_lps, shift).tolist()
        grid = io.Geometry(SHAPE, series.geometry.spacing_ijk, (x, y, z), series.geometry.direction_lps)
        with pytest.raises(MedSAM2Error, match="other pixels than those of the volume"):
            io.read_mask(path, grid, "liver")


def test_what_it_says_of_segments_and_sources(series: Volume, tmp_path: Path) -> None:
    marked = [Segment("mine", 2, (0.9, 0.1, 0), KIDNEY), *SEGMENTS[1:]]
    data = pydicom.dcmread(write(tmp_path / "a.dcm", series, drawn(), marked))
    first, second, third = data.SegmentSequence
    assert [item.SegmentLabel for item in data.SegmentSequence] == ["mine", "Kidney_Left", "empty spleen"]
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Kidney"
    kind = second.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning) == ("64033007", "Left")
    assert third.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"  # the table has no such name
    assert first.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "MedSAM-2" in first.SegmentAlgorithmName
    assert "starter" in str(first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters)
    assert len({item.TrackingUID for item in data.SegmentSequence}) == 3
    sources = {pydicom.dcmread(path).SOPInstanceUID for path in sorted((tmp_path / "ct").iterdir())}
    (referenced,) = data.ReferencedSeriesSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == sources
    for group in data.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID in sources
    assert str(data.PatientName) == "Müller^Hans"


def test_an_unknown_name_is_told(series: Volume, tmp_path: Path) -> None:
    with pytest.warns(InputNotice, match="'thing' is in no table of common names"):
        io.write_labelmap(tmp_path / "a.dcm", drawn() // 2, series.geometry,
                          [Segment("liver", 1, (0, 0, 0)), Segment("thing", 3, (0, 0, 0))], series)  # fmt: skip


def test_identifiers_go_by_the_content(series: Volume, tmp_path: Path) -> None:
    def uids(name: str, labels: np.ndarray) -> list[str]:
        data = pydicom.dcmread(write(tmp_path / name, series, labels))
        return [data.SOPInstanceUID, data.SeriesInstanceUID, *(item.TrackingUID for item in data.SegmentSequence)]

    other = drawn()
    other[0, 0, 0] = 2
    assert uids("a.dcm", drawn()) == uids("b.dcm", drawn().astype(np.uint16))
    assert set(uids("a.dcm", drawn())).isdisjoint(uids("c.dcm", other))


def test_tilted_slices_get_their_own_labels(tmp_path: Path) -> None:
    pixels = np.zeros(SHAPE, np.int16)
    save_series(tmp_path / "ct", pixels, lambda index: (0.0, 0.35 * index, 2.5 * index), **OWN)
    volume = io.read_volume(tmp_path / "ct", resample=True)
    labels = np.zeros(volume.geometry.shape_kji, np.uint8)
    labels[2:4, 5:9, 5:9] = 2
    data = pydicom.dcmread(write(tmp_path / "a.dcm", volume, labels, SEGMENTS[:1]))
    assert volume.stored is not None
    found = {
        float(group.PlanePositionSequence[0].ImagePositionPatient[1]): frame
        for group, frame in zip(data.PerFrameFunctionalGroupsSequence, data.pixel_array, strict=True)
    }
    assert sorted(found) == [0.7, 1.05]
    np.testing.assert_array_equal(found[0.7], volume.stored.labels(labels)[2] > 0)
    np.testing.assert_array_equal(found[1.05], volume.stored.labels(labels)[3] > 0)


def test_a_phase_of_an_enhanced_file(tmp_path: Path) -> None:
    pixels = np.zeros((12, 20, 24), np.uint16)
    positions = [(0, 0, 2.5 * (index // 2)) for index in range(12)]
    data = enhanced(pixels, positions, TemporalPositionIndex=[index % 2 + 1 for index in range(12)])
    data.FrameOfReferenceUID = "1.2.3.9"
    save(data, tmp_path / "ct" / "a.dcm")
    volume = io.read_volume(tmp_path / "ct", series=2)
    path = write(tmp_path / "out.dcm", volume, drawn(), SEGMENTS[:2])
    np.testing.assert_array_equal(io.read_mask(path, volume.geometry, "liver"), drawn() == 2)
    numbers = {
        int(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber)
        for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    }
    assert numbers == {4, 6, 8, 10, 12}


def test_as_an_earlier_segmentation(series: Volume, tmp_path: Path) -> None:
    marked = [Segment("mine", 2, (0.9, 0.1, 0), KIDNEY), SEGMENTS[1]]
    path = write(tmp_path / "a.dcm", series, drawn(), marked)
    found = list(io.read_prior(path, series.geometry))
    assert [(one.name, one.color) for one in found] == [("mine", None), ("Kidney_Left", None)]
    assert [one.terminology for one in found] == [KIDNEY, terminology_by_name("left kidney")]
    for one, segment in zip(found, marked, strict=True):
        np.testing.assert_array_equal(one.mask, drawn() == segment.label)
    (one,) = io.read_prior(path, series.geometry, "Kidney_Left")
    assert one.name == "Kidney_Left"
    with pytest.raises(MedSAM2Error, match=r"a.dcm: The file holds no 'lung': give one of mine, Kidney_Left"):
        list(io.read_prior(path, series.geometry, "lung"))
    with pytest.raises(MedSAM2Error, match="cannot be transformed here: save it from Slicer"):
        list(io.read_prior(path, series.geometry, transform=tmp_path / "move.tfm"))
    data = pydicom.dcmread(path)
    data.SegmentSequence[0].SegmentLabel = "Kidney_Left"
    for name in (None, "Kidney_Left"):
        with pytest.raises(MedSAM2Error, match="2 segments are called 'Kidney_Left': rename all but one"):
            list(io.read_prior(save(data, tmp_path / "b.dcm"), series.geometry, name))


def test_refusals(series: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out.dcm"
    other = Volume(series.array, series.geometry, series.path)
    with pytest.raises(VolumeError, match="this image is not one: give the folder of the series"):
        io.check_fits(output, other)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        folder = save_series(tmp_path / keyword, series.array, **{**OWN, keyword: ""})
        with pytest.raises(VolumeError, match=f"000.dcm has no {keyword}.*write the segmentation as .seg.nrrd"):
            io.check_fits(output, io.read_volume(folder))
    with pytest.raises(VolumeError, match="labels without a segment"):
        write(output, series, drawn(), SEGMENTS[:1])
    missing: Any = None
    monkeypatch.setitem(sys.modules, "highdicom", missing)
    with pytest.raises(VolumeError, match=r"out.dcm: .*highdicom.*pip install 'medsam2slicer\[dicom\]'"):
        io.check_output_path(output)
    assert not output.exists()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Volume, np.ndarray, Path]:
    """A CT series, its organs on its grid, and a file of some of them; the identifiers that it lost are made up."""
    try:
        case = open_data.dicom_series()
    except open_packages.OpenDataError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("real")
    for path in case.image.iterdir():
        data = pydicom.dcmread(path)
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
        data.SOPClassUID, data.SOPInstanceUID = (
            data.file_meta.MediaStorageSOPClassUID,
            data.file_meta.MediaStorageSOPInstanceUID,
        )
        save(data, folder / "ct" / path.name)
    volume = io.read_volume(folder / "ct")
    labels = np.ascontiguousarray(io.read_labelmap(case.labels)[:, ::-1])
    labels = np.where(np.isin(labels, (5, 6, 52)), labels, 0).astype(np.uint8)
    segments = [Segment("liver", 5, (0.9, 0.1, 0)), Segment("stomach", 6, (0, 1, 0)), Segment("aorta", 52, (0, 0, 1))]
    return volume, labels, write(folder / "out.dcm", volume, labels, segments)


def test_a_real_series(real: tuple[Volume, np.ndarray, Path]) -> None:
    volume, labels, path = real
    for name, label in (("liver", 5), ("stomach", 6), ("aorta", 52)):
        assert (labels == label).any()
        np.testing.assert_array_equal(io.read_mask(path, volume.geometry, name), labels == label)


def test_a_validator_finds_no_error(real: tuple[Volume, np.ndarray, Path]) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy of Debian's dicom3tools is not installed")
    done = subprocess.run([program, str(real[2])], capture_output=True, encoding="utf-8", check=False)
    assert "Segmentation" in done.stderr.split("\n")
    assert [line for line in done.stderr.split("\n") if line.startswith("Error")] == []


def test_the_library_of_slicer_reads_the_same(real: tuple[Volume, np.ndarray, Path], tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("segimage2itkimage")
    if not program.exists():
        pytest.skip("dcmqi is not installed")
    volume, labels, path = real
    command = [program, "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run(list(map(str, command)), capture_output=True, check=True)
    for number, label in enumerate((5, 6, 52), 1):
        found = io.read_volume(tmp_path / f"{number}.nrrd")
        assert found.geometry.same_grid(volume.geometry)
        np.testing.assert_array_equal(found.array > 0, labels == label)


def test_the_table_says_what_the_standard_says() -> None:
    known = {(value, meaning.lower()) for items in concepts["SCT"].values() for value, (meaning, _) in items.items()}
    for name, found in _table().items():
        assert (found.kind.value, found.kind.meaning.lower()) in known, name
        assert (found.category.value, found.category.meaning.lower()) in known, name
    assert len(_table()) > 100


def test_names() -> None:
    assert codes.SCT.Liver.value == terminology_by_name("Liver").kind.value  # type: ignore[union-attr]
    right = terminology_by_name("lung_lower_lobe_right")
    assert right is None  # words in another order than any name of the table
    right = terminology_by_name("right_lung")
    assert right is not None
    assert (right.kind.meaning, right.modifier.meaning) == ("Lung", "Right")  # type: ignore[union-attr]
    assert terminology_by_name("left or right lung") is None
    assert terminology_by_name("") is None


def test_terminology_of_slicer_is_kept(tmp_path: Path) -> None:
    known = Terminology(
        Code("49755003", "SCT", "Morphologically Altered Structure"),
        Code("4147007", "SCT", "Mass"),
        None,
        Code("64033007", "SCT", "Kidney"),
        Code("7771000", "SCT", "Left"),
    )
    assert terminology_of(f"Segmentation.Status:inprogress|{known.tag}|") == known
    for text in ("", "TerminologyEntry:", "TerminologyEntry:a~b~c~d~e~f~g", known.tag.replace("SCT^4147007", "^")):
        assert terminology_of(text) is None
    labels = np.ones((2, 3, 4), np.uint8)
    grid = io.Geometry((2, 3, 4), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    io.write_labelmap(tmp_path / "a.seg.nrrd", labels, grid, [Segment("mass", 1, (0, 0, 0), known)])
    assert io.read_terminology(tmp_path / "a.seg.nrrd") == known
    assert io.read_segments(tmp_path / "a.seg.nrrd")[1][0].terminology == known
    assert io.read_terminology(tmp_path / "a.seg.nrrd", "other") is None
