"""A slice as the model sees it, as a small picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import qt


def pixmap(grey: npt.NDArray[np.uint8]) -> qt.QPixmap:
    """Return `grey` (rows, columns) as a pixmap."""
    # PythonQt cannot make a QImage from bytes; a PGM file in memory is what every Qt reads.
    rows, columns = grey.shape
    data = b"P5 %d %d 255\n" % (columns, rows) + np.ascontiguousarray(grey).tobytes()
    picture = qt.QPixmap()
    picture.loadFromData(data)
    return picture


def show(label: Any, grey: npt.NDArray[np.uint8], side: int) -> None:
    """Show `grey` on a label, at most `side` pixels wide and high."""
    label.setPixmap(pixmap(grey).scaled(side, side, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
