"""`medsam2 sequence`: volumes of several moments in, a segmentation of each and a curve out."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core import io, load_model
from medsam2_core.run.curve import ejection_fraction

OUT = Path("out")
BOX = ("--box", "8,8,36,30@5")


@pytest.fixture
def four_d(ct: Path) -> Path:
    """The ball in three moments, which moves by a voxel each."""
    volume = io.read_volume(ct)
    moments = np.stack([np.roll(volume.array, step, axis=2) for step in range(3)])
    affine = volume.geometry.affine_ijk_to_ras
    nibabel.Nifti1Image(moments.transpose(3, 2, 1, 0).astype(np.int16), affine).to_filename("heart.nii.gz")
    return Path("heart.nii.gz")


def rows() -> list[dict[str, str]]:
    with (OUT / "volumes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_4d_file(run, capsys, four_d: Path, ct: Path, checkpoint: Path) -> None:
    code = run(
        "sequence", four_d, "--output", OUT, "--model", checkpoint, "--at", "1", "--object", "ball", *BOX,
        "--object", "spot", "--point", "20,20,5", "--full", "0", "--empty", "2",
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0
    assert "3/3" in err
    assert "ejection fraction" in out
    assert [(row["frame"], row["object"]) for row in rows()] == [
        (str(frame), name) for frame in range(3) for name in ("ball", "spot")
    ]
    for frame in range(3):
        geometry = io.read_volume(ct).geometry
        labels, segments = io.read_segments(OUT / f"frame_00{frame}.seg.nrrd", geometry)
        assert [segment.name for segment in segments] == ["ball", "spot"]
        of_frame = {row["object"]: float(row["volume_ml"]) for row in rows() if row["frame"] == str(frame)}
        for segment in segments:
            assert of_frame[segment.name] == pytest.approx((labels == segment.label).sum() * 0.0025, abs=1e-4)
    lines = re.findall(r'<polyline points="([^"]+)"', (OUT / "volumes.svg").read_text(encoding="utf-8"))
    assert [len(line.split()) for line in lines] == [3, 3]


def test_frames_of_an_earlier_longer_run_are_gone_and_other_files_stay(run, four_d: Path, checkpoint: Path) -> None:
    command = ("--output", OUT, "--model", checkpoint, "--quiet", *BOX)
    assert run("sequence", four_d, *command) == 0
    (OUT / "frame_007.seg.nrrd").write_bytes(b"mine")
    volume = nibabel.load(four_d)
    nibabel.Nifti1Image(np.asarray(volume.dataobj)[..., :2], volume.affine).to_filename("short.nii")
    assert run("sequence", "short.nii", *command) == 0
    assert [row["frame"] for row in rows()] == ["0", "1"]
    assert sorted(path.name for path in OUT.glob("frame_*")) == [f"frame_00{n}.seg.nrrd" for n in (0, 1, 7)]


def test_a_volume_for_each_moment_gives_the_same(run, four_d: Path, checkpoint: Path) -> None:
    command = ("--model", checkpoint, "--quiet", *BOX)
    assert run("sequence", four_d, "--output", OUT, *command) == 0
    volume = nibabel.load(four_d)
    for step in range(3):
        one = nibabel.Nifti1Image(np.asarray(volume.dataobj)[..., step], volume.affine)
        one.to_filename(f"{step}.nii")
    assert run("sequence", "0.nii", "1.nii", "2.nii", "--output", "b", *command) == 0
    assert (OUT / "volumes.csv").read_bytes() == Path("b/volumes.csv").read_bytes()


@pytest.mark.parametrize(
    "words",
    [("--range", "4:7"), ("--direction", "forward"), ("--threshold", "0.9"), ("--largest", "slice")],
)
def test_the_settings_of_a_run_hold_in_every_frame(run, ct: Path, four_d: Path, checkpoint: Path, words) -> None:
    command = (*BOX, "--model", checkpoint, "--quiet", "--stop-absent", "0")
    assert run("propagate", ct, "--output", "usual.seg.nrrd", *command) == 0
    assert run("propagate", ct, "--output", "one.seg.nrrd", *command, *words) == 0
    assert run("sequence", four_d, "--output", OUT, *command, *words) == 0
    geometry = io.read_volume(ct).geometry
    usual, one, first = (io.read_segments(path, geometry)[0] for path in (
        Path("usual.seg.nrrd"), Path("one.seg.nrrd"), OUT / "frame_000.seg.nrrd",
    ))  # fmt: skip
    assert (one != usual).any()
    np.testing.assert_array_equal(first, one)


def test_precision_reaches_the_model(run, four_d: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("medsam2_core.load_model", lambda *given: asked.append(given[-1]) or load_model(*given))
    for precision in ("float32", "bfloat16"):
        words = (*BOX, "--model", checkpoint, "--quiet", "--precision", precision)
        assert run("sequence", four_d, "--output", OUT, *words) == 0
    assert asked == ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("4D", "--at", "3"), "--at 3: There is no such frame: give one from 0 to 2"),
        (("4D", "--full", "1"), "give both --full and --empty"),
        (("CT",), "This is one volume: give it to medsam2 propagate"),
        (("CT", "other.nrrd"), "resample all to one grid"),
        (("other.nrrd",), "This holds no moments"),
        (("4D", "--output", "4D"), "This is a file: give --output the name of a folder"),
    ],
)
def test_refusals(run, capsys, four_d: Path, ct: Path, words: tuple[str, ...], says: str) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), "other.nrrd")
    names = {"4D": four_d, "CT": "ct.nii.gz"}
    sitk.WriteImage(sitk.ReadImage(str(ct)), "ct.nii.gz")
    output = () if "--output" in words else ("--output", OUT)
    assert run("sequence", *(names.get(word, word) for word in words), *output, "--quiet", *BOX) == 2
    assert says in capsys.readouterr().err


def test_the_ejection_fraction() -> None:
    assert ejection_fraction(120, 48) == pytest.approx(60)
    assert ejection_fraction(0, 0) == 0
