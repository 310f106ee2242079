"""DICOM segmentations as results and as prompts of commands."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import dicomfiles
import numpy as np
import pydicom
import pytest

from medsam2_core import io
from medsam2_core.image.segments import Segment
from medsam2_core.image.terminology import Code, Terminology

pytest.importorskip("highdicom", reason="medsam2slicer[dicom] is not installed")

ARRAY = np.random.default_rng(0).integers(-20, 20, (6, 30, 32)).astype(np.int16)
ARRAY[1:5, 12:22, 10:22] += 100
OWN = {"FrameOfReferenceUID": "1.2.3.9", "PatientName": "A^B"}
BOX = "9,11,23,23@2"
MASS = Terminology(Code("49755003", "SCT", "Morphologically Altered Structure"), Code("4147007", "SCT", "Mass"))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return dicomfiles.save_series(tmp_path / "ct", ARRAY, **OWN)


def test_dicom_out_and_in_again(run, capsys, series: Path, checkpoint: Path) -> None:
    common = (series, "--model", checkpoint, "--quiet")
    for output in ("a.dcm", "a.nii.gz"):
        assert run("propagate", *common, "--object", "liver", "--box", BOX, "--output", output) == 0
    grid = io.read_volume(series).geometry
    mask = io.read_mask("a.dcm", grid, "liver")
    np.testing.assert_array_equal(mask, io.read_mask("a.nii.gz", grid))
    assert run("propagate", *common, "--mask", "a.dcm:liver", "--every", "3", "--output", "b.dcm") == 0
    assert pydicom.dcmread("b.dcm").SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    assert capsys.readouterr().err == ""


def test_an_object_is_what_the_segmentation_of_its_mask_says(run, series: Path, checkpoint: Path) -> None:
    volume = io.read_volume(series)
    segments = [Segment("thing", 1, (1, 0, 0), MASS)]
    io.write_labelmap("prior.seg.nrrd", (ARRAY > 60).astype(np.uint8), volume.geometry, segments)
    words = ("--mask", "prior.seg.nrrd:thing", "--model", checkpoint, "--quiet")
    assert run("propagate", series, *words, "--output", "a.dcm") == 0
    (segment,) = pydicom.dcmread("a.dcm").SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Mass"
    assert run("propagate", series, *words, "--output", "a.seg.nrrd") == 0
    assert io.read_segments("a.seg.nrrd")[1][0].terminology == MASS


def test_only_of_a_dicom_series(run, capsys, ct: Path, checkpoint: Path) -> None:
    words = ("--box", "8,8,36,30@5", "--model", checkpoint)
    assert run("propagate", ct, *words, "--output", "a.dcm") == 2
    assert "a.dcm: A DICOM segmentation refers to the slices that it was drawn on" in capsys.readouterr().err
    assert list(Path.cwd().iterdir()) == []


def test_no_slice_of_the_series_is_replaced(run, capsys, series: Path, checkpoint: Path) -> None:
    files = sorted(series.iterdir())
    before = [path.read_bytes() for path in files]
    common = ("propagate", series, "--model", checkpoint, "--box", BOX)
    for words in (("--output", files[2]), ("--output", "a.nii.gz", "--sheet", files[2])):
        assert run(*common, *words) == 2
        assert f"{files[2]}: The output would replace an input: give it another name." in capsys.readouterr().err
    assert [path.read_bytes() for path in files] == before


def test_a_cohort_writes_dicom_of_what_is_accepted(run, capsys, ct: Path, series: Path, checkpoint: Path) -> None:
    rows = [("case", "image", "object", "box"), ("p1", series, "liver", BOX), ("p2", ct, "x", "8,8,36,30@5")]
    with Path("cohort.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    words = ("batch", "cohort.csv", "--output", "out", "--model", checkpoint, "--dicom", "--quiet")
    assert run(*words) == 3
    assert "p2: " in (said := capsys.readouterr().err)
    assert "This is not a DICOM series" in said
    copy, grid = Path("out/p1/segmentation.dcm"), io.read_volume(series).geometry
    np.testing.assert_array_equal(io.read_mask(copy, grid), io.read_mask("out/p1/segmentation.seg.nrrd", grid, "liver"))
    written = copy.stat().st_mtime_ns
    assert run(*words) == 3
    assert copy.stat().st_mtime_ns == written
    corrected = np.zeros(ARRAY.shape, np.uint8)
    corrected[2, 3:5, 6:9] = 1
    time.sleep(0.01)
    io.write_labelmap("out/p1/segmentation.seg.nrrd", corrected, grid, [Segment("liver", 1, (1, 0, 0))])
    assert run(*words) == 3
    np.testing.assert_array_equal(io.read_mask(copy, grid), corrected > 0)
