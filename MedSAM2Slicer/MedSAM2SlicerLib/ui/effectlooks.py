"""The effect's icon and cursor, which Slicer asks for before the effect is used."""

from __future__ import annotations

from typing import Any

import qt

from MedSAM2SlicerLib.ui import icons


def icon() -> Any:
    """Return the icon of the effect's button."""
    return icons.icon("SegmentEditorEffect")


def cursor() -> Any:
    """Return a cursor that says where a click goes."""
    return qt.QCursor(qt.Qt.CrossCursor)
