"""PNG files of our own, as others read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from medsam2_core.io.png import palette_png


def test_colors_of_a_palette_are_read_by_others(tmp_path: Path) -> None:
    places = np.arange(12, dtype=np.uint8).reshape(3, 4)
    palette = [(place, 0, 255 - place) for place in range(12)]
    path = tmp_path / "a.png"
    path.write_bytes(palette_png(places, palette))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), np.array(palette)[places])
