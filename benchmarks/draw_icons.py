"""Make the extension's PNG icons from their SVG sources, and the thumbnail of the sample CT.

    python benchmarks/draw_icons.py     needs PySide6_Essentials and, as matplotlib does, Pillow

The SVG files in `MedSAM2Slicer/Resources/Icons` are drawn by hand for this project; edit those, then run this. Slicer's
Extensions Manager and module list want PNG. The thumbnail is a slice of LIDC-IDRI-0001 (CC BY 3.0).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image
from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

from open_data import chest_ct

ICONS = Path(__file__).resolve().parent.parent / "MedSAM2Slicer" / "Resources" / "Icons"
SIZE = 128
THUMBNAIL = ICONS / "MedSAM2ChestCT.png"
THUMBNAIL_SIZE = (260, 260)
SLICE = 50  # lungs, heart and liver
LOWEST_HU, HIGHEST_HU = -160, 240


def main() -> None:
    """Write every PNG."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    application = QGuiApplication([])
    for source in sorted(ICONS.glob("*.svg")):
        draw(source, source.with_suffix(".png"))
    del application
    draw_thumbnail(THUMBNAIL)


def draw(source: Path, target: Path) -> None:
    """Draw an SVG file as a square PNG with a transparent background."""
    image = QImage(SIZE, SIZE, QImage.Format.Format_ARGB32)
    image.fill(0)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    QSvgRenderer(str(source)).render(painter)
    painter.end()
    if not image.save(str(target)):
        raise OSError(f"{target} cannot be written: check the folder.")
    print(target)


def draw_thumbnail(target: Path) -> None:
    """Draw one slice of the sample CT, patient's front up."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(chest_ct().ct)), "LPS")
    gray = np.clip((sitk.GetArrayFromImage(image)[SLICE] - LOWEST_HU) / (HIGHEST_HU - LOWEST_HU), 0, 1)
    picture = Image.fromarray((gray * 255).astype(np.uint8)).resize(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
    picture.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
