"""`medsam2 info` on every kind of file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import open_data
from medsam2_core import io


def shown(run, capsys, path: object) -> dict[str, str]:
    assert run("info", path) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == str(path)
    return {line[:15].strip(): line[15:] for line in rest}


def test_an_image(run, capsys, ct: Path) -> None:
    found = shown(run, capsys, ct)
    assert found["size"] == "48 x 40 x 10 voxels (i, j, k) of int16"
    assert found["spacing"] == "0.8 x 1.25 x 2.5 mm"
    assert found["orientation"] == "RPS (i to the right, j to the back, k to the head)"
    assert found["--axis 0"] == "axial, 10 slices along k"
    assert found["--axis 1"] == "coronal, 40 slices along j"
    assert found["--axis 2"] == "sagittal, 48 slices along i"
    assert found["window"].startswith("percentiles 0.5-99.5, ")


def test_the_axes_are_those_of_propagate(run, capsys, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8))
    image.SetDirection((0, 0, 1, -1, 0, 0, 0, -1, 0))  # i to the front, j to the feet, k to the left
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    found = shown(run, capsys, tmp_path / "a.nrrd")
    assert found["orientation"].startswith("AIL ")
    assert [found[f"--axis {axis}"].split(",")[0] for axis in range(3)] == ["sagittal", "axial", "coronal"]


def test_values_that_are_not_finite(run, capsys, tmp_path: Path) -> None:
    array = np.array([[[np.nan, 1, 2], [3, np.inf, 4]]], np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "a.nrrd"))
    assert shown(run, capsys, tmp_path / "a.nrrd")["values"] == "1 to 4, and 2 voxels that are NaN or infinite"


def test_a_dicom_series(run, capsys, dicom_series: open_data.Labeled) -> None:
    assert shown(run, capsys, dicom_series.image)["orientation"].startswith("LPS ")


def test_the_chest_ct_is_left_anterior_superior(run, capsys, chest_ct: open_data.ChestCT) -> None:
    found = shown(run, capsys, chest_ct.ct)
    assert found["orientation"].startswith("LAS ")
    assert found["window"].startswith("abdomen, -160 to 240")


def test_a_segmentation(run, capsys, slicer_segmentation: open_data.Labeled) -> None:
    assert shown(run, capsys, slicer_segmentation.labels)["label 5"] == "right lung, 3198.1 mL"


def test_a_segmentation_in_layers_has_no_single_grid_to_measure(run, capsys, tmp_path: Path) -> None:
    layers = np.zeros((3, 4, 5, 2), np.uint8)
    layers[0, 0, :3, 0] = layers[1, 0, :2, 1] = 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for index in range(2):
        image.SetMetaData(f"Segment{index}_ID", f"S{index}")
        image.SetMetaData(f"Segment{index}_Name", f"name {index}")
    image.SetSpacing((1, 2, 500))
    sitk.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    assert shown(run, capsys, tmp_path / "a.seg.nrrd") == {"label 1": "name 0, 3 voxels", "label 2": "name 1, 2 voxels"}


def test_a_checkpoint(run, capsys, checkpoint: Path) -> None:
    found = shown(run, capsys, checkpoint)
    assert found["model"].startswith("starter, 5.")
    assert found["image size"] == "64 pixels"
    assert len(found["sha256"]) == 64
    assert found["catalog"] == "not a published file"


def test_a_report(run, capsys, ct: Path, checkpoint: Path) -> None:
    words = ("--object", "ball", "--box", "8,8,36,30@5", "--point", "20,20,5")
    assert run("propagate", ct, "--output", "a.nrrd", "--model", checkpoint, "--report", "r.json", *words) == 0
    capsys.readouterr()
    volume = json.loads(Path("r.json").read_text(encoding="utf-8"))["objects"][0]["volume_ml"]
    found = shown(run, capsys, "r.json")
    assert found["object"] == f"ball, {volume:.1f} mL; prompts: box, points"
    assert found["slices"] == "0 up to but not including 10 along axis 0"
    assert found["model"] == "random.pt"
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    report["settings"]["plane"] = [[1, 0, 0, 0], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]]
    Path("r.json").write_text(json.dumps(report), encoding="utf-8")
    assert shown(run, capsys, "r.json")["slices"] == "0 up to but not including 10 of an oblique view"


@pytest.mark.parametrize("name", ["no.nrrd", "no.pt", "no.json", "bad.pt", "bad.json", "bad.nrrd", "bad.seg.nrrd"])
def test_what_cannot_be_read_is_one_sentence(run, capsys, name: str) -> None:
    if name.startswith("bad"):
        Path(name).write_bytes(b"not what it says")
    assert run("info", name) == 2
    out, err = capsys.readouterr()
    assert name in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


def test_a_file_from_propagate(run, capsys, ct: Path) -> None:
    labels = np.zeros((10, 40, 48), np.uint8)
    labels[:2] = 3
    io.write_labelmap("a.seg.nrrd", labels, io.read_volume(ct).geometry, [io.Segment("ball", 3, (1, 0, 0))])
    assert shown(run, capsys, "a.seg.nrrd") == {"label 3": "ball, 9.6 mL"}
