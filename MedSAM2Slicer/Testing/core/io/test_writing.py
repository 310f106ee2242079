"""Writing label maps and Slicer segmentations."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import open_data
from medsam2_core import io
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft, write_file
from medsam2_core.image.geometry import Geometry
from medsam2_core.io import Segment

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".seg.nrrd")
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
GRID = Geometry((3, 4, 5), (0.5, 1.5, 2.5), (-7.0, 8.0, 9.0), IDENTITY)
LABELS = np.zeros((3, 4, 5), np.uint8)
LABELS[1, 2, 3] = 1
LABELS[2, 0, 0] = 2
SEGMENTS = (Segment("Leber (rechts) äöü 肝臓", 1, (0.8, 0.25, 0.1)), Segment("a:=b\nc", 2, (0.0, 1.0, 0.5)))


def text_of(caught: pytest.ExceptionInfo[VolumeError], path: Path) -> str:
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("highest", "dtype"), [(255, "uint8"), (256, "uint16"), (65535, "uint16")])
def test_the_smallest_type_that_holds_the_labels(tmp_path: Path, suffix: str, highest: int, dtype: str) -> None:
    labels = LABELS.astype(np.int64)
    labels[0, 0, 0] = highest
    segments = (*SEGMENTS, Segment("high", highest, (1, 1, 1)))
    io.write_labelmap(tmp_path / f"a{suffix}", labels, GRID, segments)
    found = io.read_labelmap(tmp_path / f"a{suffix}", GRID)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, labels)


@settings(max_examples=40)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    signs=st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    suffix=st.sampled_from(SUFFIXES),
    seed=st.integers(0, 99),
)
def test_labels_and_oblique_grids_survive(
    tmp_path: Path, angles: tuple, signs: tuple, shape: tuple[int, int, int], suffix: str, seed: int
) -> None:
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * signs
    grid = Geometry(shape, (0.7, 1.3, 2.9), (-100.5, 33.25, 712.125), tuple(map(tuple, direction.tolist())))
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    io.write_labelmap(path, labels, grid, SEGMENTS)
    volume = io.read_volume(path)
    np.testing.assert_array_equal(volume.array, labels)
    np.testing.assert_allclose(volume.geometry.affine_ijk_to_ras, grid.affine_ijk_to_ras, atol=2e-4)
    assert not list(tmp_path.glob(".medsam2-*"))


def test_masks_of_booleans_can_be_written(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "a.nii", LABELS > 0, GRID)
    np.testing.assert_array_equal(io.read_mask(tmp_path / "a.nii", GRID), LABELS > 0)


def test_an_existing_file_is_replaced_and_a_link_kept(tmp_path: Path) -> None:
    target = tmp_path / "real.nii"
    io.write_labelmap(target, LABELS, GRID)
    link = tmp_path / "link.nii"
    link.symlink_to(target)
    io.write_labelmap(link, LABELS * 3, GRID)
    assert link.is_symlink()
    assert io.read_labelmap(target).max() == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.nii", "real.nii"]


def test_the_extension_may_be_in_capitals(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "A.NII.GZ", LABELS, GRID)
    np.testing.assert_array_equal(io.read_labelmap(tmp_path / "A.NII.GZ"), LABELS)


# Slicer segmentations


def test_a_segmentation_keeps_names_colors_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    io.write_labelmap(path, LABELS, GRID, SEGMENTS)
    labels, segments = io.read_segments(path, GRID)
    np.testing.assert_array_equal(labels, LABELS)
    assert segments == SEGMENTS


def test_the_header_is_what_slicer_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    io.write_labelmap(path, LABELS, GRID, SEGMENTS)
    header = path.read_bytes().split(b"\n\n")[0].decode().splitlines()
    for line in (
        "type: unsigned char",
        "space: left-posterior-superior",
        "encoding: gzip",
        "space directions: (0.5,0,0) (0,1.5,0) (0,0,2.5)",
        "Segment0_ID:=Segment_1",
        "Segment0_Name:=Leber (rechts) äöü 肝臓",
        "Segment0_Color:=0.8 0.25 0.1",
        "Segment1_LabelValue:=2",
        "Segment1_Layer:=0",
        "Segment1_Extent:=0 4 0 3 0 2",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ):
        assert line in header


def test_the_reference_grid_is_written_like_slicers_own(slicer_segmentation: open_data.Labeled, tmp_path: Path) -> None:
    geometry = io.read_volume(slicer_segmentation.image).geometry
    labels, segments = io.read_segments(slicer_segmentation.labels, geometry)
    path = tmp_path / "a.seg.nrrd"
    io.write_labelmap(path, labels, geometry, segments)
    grids = [reference_grid(slicer_segmentation.labels), reference_grid(path)]
    np.testing.assert_allclose(grids[1], grids[0], rtol=1e-9)


def reference_grid(path: Path) -> list[float]:
    parameters = sitk.ReadImage(str(path)).GetMetaData("Segmentation_ConversionParameters").split("&")
    grid = next(text for text in parameters if text.startswith("Reference image geometry|"))
    return [float(number) for number in grid.split("|")[1].split(";") if number]


def test_slicers_own_segmentation(slicer_segmentation: open_data.Labeled, tmp_path: Path) -> None:
    geometry = io.read_volume(slicer_segmentation.image).geometry
    labels, segments = io.read_segments(slicer_segmentation.labels, geometry)
    assert [(item.label, item.name) for item in segments][4:] == [(5, "right lung"), (6, "left lung"), (7, "tissue")]
    assert segments[0].color == (0.992157, 0.909804, 0.619608)
    assert set(np.unique(labels)) == set(range(8))
    io.write_labelmap(tmp_path / "again.seg.nrrd", labels, geometry, segments)
    again = io.read_segments(tmp_path / "again.seg.nrrd", geometry)
    np.testing.assert_array_equal(again[0], labels)
    assert again[1] == segments


def layered(path: Path, *layers: np.ndarray, **metadata: str) -> Path:
    image = sitk.GetImageFromArray(np.stack(layers, axis=-1), isVector=True)
    for index in range(len(layers)):
        image.SetMetaData(f"Segment{index}_ID", f"S{index}")
        image.SetMetaData(f"Segment{index}_Name", f"name {index}")
    for key, value in metadata.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def test_layers_that_do_not_overlap_are_merged(tmp_path: Path) -> None:
    first, second = (LABELS == 1).astype(np.uint8), (LABELS == 2).astype(np.uint8)
    labels, segments = io.read_segments(layered(tmp_path / "a.seg.nrrd", first, second))  # both have label 1
    assert [(item.name, item.label) for item in segments] == [("name 0", 1), ("name 1", 2)]
    np.testing.assert_array_equal(labels, LABELS)


def test_segments_that_overlap_are_refused_by_name(tmp_path: Path) -> None:
    path = layered(tmp_path / "a.seg.nrrd", np.ones((3, 4, 5), np.uint8), LABELS)
    with pytest.raises(
        VolumeError, match=r"'name 0' and 'name 1' overlap, .* save one of them to a file of its own"
    ) as e:
        io.read_segments(path)
    text_of(e, path)


@pytest.mark.parametrize(
    ("metadata", "advice"),
    [
        ({"Segment0_LabelValue": "one"}, "'name 0' has a damaged entry .*: save the segmentation again"),
        ({"Segment1_Layer": "2"}, "'name 1' has no image data: save the segmentation again"),
        ({"Segment1_LabelValue": "0"}, "has label 0: use a label from 1 to 65535"),
        ({"Segment1_Color": "2 0 0"}, "give red, green, blue from 0 to 1"),
    ],
)
def test_a_damaged_segmentation(tmp_path: Path, metadata: dict[str, str], advice: str) -> None:
    path = layered(tmp_path / "a.seg.nrrd", LABELS, LABELS * 0, **metadata)
    with pytest.raises(VolumeError, match=advice) as e:
        io.read_segments(path)
    text_of(e, path)


def test_a_label_map_is_no_segmentation(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "a.nrrd", LABELS, GRID)
    with pytest.raises(VolumeError, match="names no segments: save it from Slicer as a segmentation"):
        io.read_segments(tmp_path / "a.nrrd")


def test_a_segmentation_that_slicer_cropped_is_put_in_its_place(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "a.seg.nrrd", LABELS, GRID, SEGMENTS)
    larger = GRID.part((-1, 0, -2), (5, 4, 8))
    found, _ = io.read_segments(tmp_path / "a.seg.nrrd", larger)
    np.testing.assert_array_equal(found, np.pad(LABELS, ((1, 1), (0, 0), (2, 1))))


def test_a_segmentation_of_another_grid_is_refused(tmp_path: Path) -> None:
    io.write_labelmap(tmp_path / "a.seg.nrrd", LABELS, GRID, SEGMENTS)
    other = Geometry((3, 4, 4), GRID.spacing_ijk, GRID.origin_lps, IDENTITY)
    with pytest.raises(VolumeError, match=r"5 x 4 x 3 voxels .* the volume has 4 x 4 x 3 voxels"):
        io.read_segments(tmp_path / "a.seg.nrrd", other)


# Refusals leave nothing behind


@pytest.mark.parametrize(
    ("labels", "segments", "advice"),
    [
        (LABELS[:2], SEGMENTS, r"shape \(2, 4, 5\) but the volume \(3, 4, 5\)"),
        (LABELS.astype(np.float32), SEGMENTS, "float32: convert it to integers"),
        (LABELS.astype(np.int16) - 1, SEGMENTS, "from -1 to 1: use 0 to 65535"),
        (LABELS.astype(np.int32) * 40000, SEGMENTS, "from 0 to 80000: use 0 to 65535"),
        (LABELS, SEGMENTS[:1], r"without a segment \(2\): pass a Segment for each"),
        (LABELS, (*SEGMENTS, Segment("b", 1, (0, 0, 0))), "and 'b' share label 1: give each its own label"),
    ],
)
def test_labels_that_cannot_be_written(tmp_path: Path, labels: np.ndarray, segments: tuple, advice: str) -> None:
    path = tmp_path / "a.seg.nrrd"
    with pytest.raises(VolumeError, match=advice) as e:
        io.write_labelmap(path, labels, GRID, segments)
    text_of(e, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a.png", "a.seg", "a.gz"])
def test_an_unknown_extension_lists_the_choices(tmp_path: Path, name: str) -> None:
    for action in (io.check_output_path, lambda path: io.write_labelmap(path, LABELS, GRID)):
        with pytest.raises(VolumeError, match=r"one of \.seg\.nrrd, \.nii\.gz, \.nii, \.nrrd, \.mha"):
            action(tmp_path / name)


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(VolumeError, match="give the name of a file in it"):
        io.check_output_path(tmp_path / "folder.nii")
    with pytest.raises(VolumeError, match="does not exist: create it or choose another"):
        io.check_output_path(tmp_path / "none" / "a.nii")


def test_a_folder_that_may_not_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def refuse(path: Path, *words: object, **options: bool) -> os.stat_result:
        if path.name == "a.nii":
            raise PermissionError(13, "Permission denied")
        return stat(path, *words, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(VolumeError, match=r"cannot be written \(Permission denied\): change its permissions"):
        io.check_output_path(tmp_path / "a.nii")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX pipes")
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: socket.socket(socket.AF_UNIX).bind(str(path))])
def test_what_is_no_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make, link: bool) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make("pipe.nii")
    kind = Path("pipe.nii").stat().st_mode
    if link:
        Path("a.nii").symlink_to("pipe.nii")
    path = Path("a.nii" if link else "pipe.nii")
    writes = lambda path: io.write_labelmap(path, LABELS, GRID), lambda path: write_file(path, b"text")
    for action in (io.check_output_path, Draft, *writes):
        with pytest.raises(VolumeError, match="a pipe, socket or device: give the name of a file"):
            action(path)
    assert Path("pipe.nii").stat().st_mode == kind
    assert len(list(tmp_path.iterdir())) == 1 + link


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # tests may run as root, whom permissions do not stop
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(VolumeError, match=r"cannot be written \(Permission denied\): change its permissions"):
        io.check_output_path(tmp_path / "a.nii")


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    io.check_output_path(tmp_path / "a.seg.nrrd")
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
import numpy as np
from medsam2_core import io
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
segments = [io.Segment(str(label), label, (1, 0, 0)) for label in range(1, 255)]
# The limit falls into the header's last buffer, then into the voxels.
for limit, shape in ((60, (3, 4, 5)), (20_000, (20, 64, 64))):
    noise = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    grid = Geometry(shape, (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    for path in sys.argv[1:]:
        try:
            io.write_labelmap(path, noise, grid, segments)
        except VolumeError as error:
            print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_keeps_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    paths = [tmp_path / f"a{suffix}" for suffix in SUFFIXES]
    for path in paths:
        path.write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, *map(str, paths)]
    environment = {**os.environ, "PYTHONPATH": str(Path(io.__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment)
    reason = "There is not enough space to write it (File too large): free some disk space or choose another folder."
    assert done.stdout.splitlines() == [f"{path}: {reason}" for path in paths] * 2
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert {path.read_bytes() for path in paths} == {b"old"}


def test_what_interrupts_the_reserving_is_not_its_own_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_file: object, _size: int) -> None:
        raise MemoryError

    monkeypatch.setattr("medsam2_core.files.draft.reserve_space", interrupted)
    with pytest.raises(MemoryError) as caught:
        Draft(tmp_path / "a.nii", 1)
    assert caught.value.__cause__ is None  # else whoever follows the causes of an error goes round for ever
    assert not list(tmp_path.iterdir())
