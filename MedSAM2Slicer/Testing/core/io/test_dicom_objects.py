"""Masks out of DICOM as other programs write it: segmentations of each kind, and structure sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dicomfiles import dataset, item, number, save
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from medsam2_core import io
from medsam2_core.errors import MedSAM2Error, VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.notices import InputNotice
from medsam2_core.training.cases import read_case

GRID = Geometry((4, 10, 12), (0.7, 0.8, 2.5), (-5, 6, 7), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
SEG, LABELMAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"


def segmentation(frames: np.ndarray, slices: Sequence[int], kind: str, numbers: Sequence[int] = ()) -> Dataset:
    """A segmentation of frames (n, rows, columns) on slices of the grid."""
    data = dataset(frames, None, None, Modality="SEG", SOPClassUID=LABELMAP if kind == "LABELMAP" else SEG)
    data.SegmentationType, data.NumberOfFrames = kind, len(frames)
    data.MaximumFractionalValue = 200
    data.SegmentSequence = [item(SegmentNumber=n, SegmentLabel=f"object {n}") for n in (1, 2)]
    shared = Dataset()
    shared.PixelMeasuresSequence = [item(PixelSpacing=["0.8", "0.7"], SliceThickness="2.5")]
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = []
    for place, index in enumerate(slices):
        frame = Dataset()
        frame.PlanePositionSequence = [item(ImagePositionPatient=["-5", "6", number(7 + 2.5 * index)])]
        if numbers:
            frame.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=numbers[place])]
        data.PerFrameFunctionalGroupsSequence.append(frame)
    return data


def structures(**contours: Sequence[Sequence[tuple[float, float, float]]]) -> Dataset:
    """A structure set: by their names, contours of points i, j, k on the grid."""
    data = Dataset()
    whole = dataset(np.zeros((1, 1), np.uint16), None, None, SOPClassUID=RTStructureSetStorage, Modality="RTSTRUCT")
    data.file_meta = whole.file_meta
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality"):
        setattr(data, keyword, whole.get(keyword))
    named = list(enumerate(contours.items(), 1))
    data.StructureSetROISequence = [item(ROINumber=n, ROIName=name) for n, (name, _) in named]
    data.ROIContourSequence = []
    for n, (_, parts) in named:
        lps = [(np.array(part) * GRID.spacing_ijk + GRID.origin_lps).ravel() for part in parts]
        drawn = [item(ContourGeometricType="CLOSED_PLANAR", ContourData=list(map(number, part))) for part in lps]
        data.ROIContourSequence.append(item(ReferencedROINumber=n, **({"ContourSequence": drawn} if drawn else {})))
    return data


def square(k: float, first: float, last: float) -> list[tuple[float, float, float]]:
    return [(first, first, k), (last, first, k), (last, last, k), (first, last, k)]


def test_a_labelmap_segmentation(tmp_path: Path) -> None:
    frames = np.zeros((2, 10, 12), np.uint8)
    frames[0, 2:5, 3:6], frames[1, 1:3, 1:3] = 2, 1
    path = save(segmentation(frames, (3, 0), "LABELMAP"), tmp_path / "a.dcm")
    found = io.read_mask(path, GRID, "object 2")
    assert found[3, 2:5, 3:6].all()
    assert found.sum() == 9
    assert io.read_mask(path, GRID, "object 1")[0, 1:3, 1:3].sum() == 4


def test_a_fractional_segmentation_counts_from_a_half(tmp_path: Path) -> None:
    frames = np.zeros((2, 10, 12), np.uint8)
    frames[0, 0, :4] = (99, 100, 101, 200)
    frames[1] = 200
    path = save(segmentation(frames, (1, 1), "FRACTIONAL", (1, 2)), tmp_path / "a.dcm")
    found = io.read_mask(path, GRID, "object 1")
    assert found[1, 0, :5].tolist() == [False, True, True, True, False]
    assert found.sum() == 3


def test_contours_are_filled_and_holes_are_not(tmp_path: Path) -> None:
    drawn = structures(organ=[square(1, 1.5, 8.5), square(1, 3.5, 5.5), square(2, 2, 4)], other=[square(0, 0, 9)])
    path = save(drawn, tmp_path / "a.dcm")
    expected = np.zeros(GRID.shape_kji, bool)
    expected[1, 2:9, 2:9] = True
    expected[1, 4:6, 4:6] = False
    expected[2, 2:4, 2:4] = True  # centers on an edge count at one side
    np.testing.assert_array_equal(io.read_mask(path, GRID, "organ"), expected)


def test_contours_of_two_planes_near_one_slice_are_joined(tmp_path: Path) -> None:
    path = save(structures(organ=[square(0.8, 1.5, 5.5), square(1.2, 1.5, 5.5)]), tmp_path / "a.dcm")
    assert io.read_mask(path, GRID).sum() == 16


def test_contours_that_hold_no_voxel_are_told(tmp_path: Path) -> None:
    drawn = structures(organ=[square(index, 1.5, 5.5) for index in (0, 1, 2)])
    drawn.StructureSetROISequence[0].ROIName = " organ"
    contours = drawn.ROIContourSequence[0].ContourSequence
    contours[1].ContourGeometricType, contours[2].ContourData = "OPEN_PLANAR", None
    with pytest.warns(InputNotice, match="2 of 3 contours of 'organ' left out"):
        assert io.read_mask(save(drawn, tmp_path / "a.dcm"), GRID, "organ").sum() == 16
    del drawn.ROIContourSequence
    with pytest.raises(MedSAM2Error, match="holds no 'organ', since it marks nothing"):
        io.read_mask(save(drawn, tmp_path / "b.dcm"), GRID, "organ")


def test_contours_of_sagittal_slices(tmp_path: Path) -> None:
    contour = [(4.0, 1.5, 0.5), (4.0, 5.5, 0.5), (4.0, 5.5, 2.5), (4.0, 1.5, 2.5)]
    found = io.read_mask(save(structures(organ=[contour]), tmp_path / "a.dcm"), GRID)
    assert found[1:3, 2:6, 4].all()
    assert found.sum() == 8


@pytest.mark.parametrize(
    ("contour", "problem"),
    [
        (square(9, 1, 4), r"outside the volume, which has .*, or across its slices: give"),
        ([(1, 1, 0), (9, 1, 1), (9, 9, 2), (1, 9, 3)], r"outside the volume, which has .*, or across its slices: give"),
    ],
)
def test_contours_that_lie_elsewhere(
    contour: Sequence[tuple[float, float, float]], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(MedSAM2Error, match=problem):
        io.read_mask(save(structures(organ=[contour]), tmp_path / "a.dcm"), GRID)


def test_what_holds_no_objects(tmp_path: Path) -> None:
    path = save(dataset(np.zeros((4, 4), np.uint16)), tmp_path / "ct.dcm")
    with pytest.raises(VolumeError, match=r"ct.dcm: .*is of the kind CT, which holds no objects"):
        io.read_mask(path, GRID)
    path = save(structures(empty=[]), tmp_path / "none.dcm")
    with pytest.raises(MedSAM2Error, match="holds no 'x', since it marks nothing"):
        io.read_mask(path, GRID, "x")
    damaged = segmentation(np.zeros((2, 10, 12), np.uint8), (0,), "BINARY", (1,))
    with pytest.raises(VolumeError, match="is damaged or cut short"):
        io.read_mask(save(damaged, tmp_path / "bad.dcm"), GRID, "object 1")


def test_all_objects_of_a_file_as_a_label_map(tmp_path: Path) -> None:
    path = save(structures(organ=[square(1, 1.5, 5.5)], other=[square(2, 2, 4)]), tmp_path / "a.dcm")
    labels, segments = io.read_segments(path, GRID)
    assert {segment.label: segment.name for segment in segments} == {1: "organ", 2: "other"}
    for segment in segments:
        np.testing.assert_array_equal(labels == segment.label, io.read_mask(path, GRID, segment.name))
    with pytest.raises(VolumeError, match="give it together with its volume"):
        io.read_segments(path)
    overlap = save(structures(organ=[square(1, 1.5, 5.5)], other=[square(1, 2, 4)]), tmp_path / "b.dcm")
    with pytest.raises(VolumeError, match="'organ' and 'other' overlap"):
        io.read_segments(overlap, GRID)


def test_labels_to_measure_with(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "image.nii.gz", np.zeros(GRID.shape_kji, np.uint8), GRID)
    path = save(structures(organ=[square(1, 1.5, 5.5)]), tmp_path / "labels.dcm")
    case = read_case(tmp_path)
    assert case.names == {1: "organ"}
    assert (case.labels > 0).sum() == io.read_mask(path, GRID).sum() == 16
