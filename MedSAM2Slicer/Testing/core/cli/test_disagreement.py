"""`--disagreement`: where three axes disagree, as an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medsam2_core import io

OUT, REPORT = Path("out.seg.nrrd"), Path("run.json")


def test_where_three_axes_disagree_is_written_as_an_image(run, ct: Path, checkpoint: Path, capsys) -> None:
    command = ("propagate", ct, "--output", OUT, "--model", checkpoint, "--report", REPORT, "--box", "8,8,36,30@5")
    image = Path("d.nii.gz")
    assert run(*command, "--directions", "three", "--disagreement", image, "--threshold", "0.9") == 0
    assert capsys.readouterr().out.endswith(f"Written: {OUT} and {REPORT} and {image}\n")
    percent = io.read_labelmap(image, io.read_volume(ct).geometry)
    assert set(np.unique(percent)) == {0, 33, 67}
    (item,) = json.loads(REPORT.read_text(encoding="utf-8"))["objects"]
    for one in item["slices"]:
        assert percent[one["slice_index"]].any() == (one.get("disagreement", 0.0) > 0)
    first = image.read_bytes()
    assert run(*command, "--directions", "three", "--disagreement", image, "--quiet") == 0
    assert image.read_bytes() == first
    image.unlink()
    assert run(*command, "--disagreement", image) == 2
    assert "give --directions three" in capsys.readouterr().err
    assert run(*command, "--directions", "three", "--disagreement", "d.seg.nrrd") == 2
    assert "is an image" in capsys.readouterr().err
    assert not image.exists()
