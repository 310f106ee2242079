"""`medsam2 propagate` through moments and colors, and the page of a propagation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from medsam2_core import io

OUT = Path("out.seg.nrrd")
REPORT = Path("run.json")
BOX = "8,8,36,30@5"


def test_a_page_shows_every_slice(run, ct: Path, checkpoint: Path) -> None:
    command = ("propagate", ct, "--output", OUT, "--model", checkpoint, "--quiet", "--box", BOX, "--report", REPORT)
    assert run(*command, "--sheet", "s.html") == 0
    page = Path("s.html").read_text(encoding="utf-8")
    slices = json.loads(REPORT.read_text(encoding="utf-8"))["objects"][0]["slices"]
    shown = [int(index) for index in re.findall(r"<figcaption>slice (\d+)<br>", page)]
    assert sorted(shown) == [facts["slice_index"] for facts in slices]
    confidence = {facts["slice_index"]: facts["confidence"] for facts in slices}
    assert [confidence[index] for index in shown] == sorted(confidence.values())
    assert page.count('<span class="mark">prompt</span>') == 1
    assert run(*command, "--sheet", "none/s.html") == 2


def test_a_cine_in_color(run, capsys, checkpoint: Path) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    data.NumberOfFrames, data.Rows, data.Columns, data.SamplesPerPixel = pixels.shape
    data.PhotometricInterpretation, data.PixelRepresentation, data.PlanarConfiguration = "RGB", 0, 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelData = 8, 8, 7, pixels.tobytes()
    data.save_as("cine.dcm", enforce_file_format=True)
    options = ("--model", checkpoint, "--box", "8,8,36,30@2", "--quiet")
    assert run("propagate", "cine.dcm", "--output", OUT, *options) == 0
    assert "It is a cine: slices are its 6 frames" in capsys.readouterr().err
    assert io.read_labelmap(OUT).shape == (6, 40, 48)
    image = sitk.GetImageFromArray(pixels, isVector=True)
    sitk.WriteImage(image, "color.nrrd")
    assert run("propagate", "color.nrrd", "--output", "b.seg.nrrd", *options) == 0
    assert np.array_equal(io.read_labelmap("b.seg.nrrd"), io.read_labelmap(OUT))
    assert run("propagate", "cine.dcm", "--output", OUT, *options, "--window", "lung") == 2
    assert "An image in color has no window: omit --window" in capsys.readouterr().err
    assert run("info", "cine.dcm") == 0
    assert "48 x 40 x 6 voxels (i, j, k) of uint8 RGB" in capsys.readouterr().out
