"""A slice as the model sees it, as a small picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import qt


def pixmap(pixels: npt.NDArray[np.uint8]) -> qt.QPixmap:
    """Return pixels (rows, columns), or (rows, columns, 3) in color, as a pixmap."""
    # PythonQt cannot make a QImage from bytes; a PGM or PPM file in memory is what every Qt reads.
    rows, columns = pixels.shape[:2]
    kind = b"P5" if pixels.ndim == 2 else b"P6"
    data = b"%s %d %d 255\n" % (kind, columns, rows) + np.ascontiguousarray(pixels).tobytes()
    picture = qt.QPixmap()
    picture.loadFromData(data)
    return picture


def show(label: Any, pixels: npt.NDArray[np.uint8], side: int) -> None:
    """Show pixels on a label, at most `side` wide and high."""
    label.setPixmap(pixmap(pixels).scaled(side, side, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
