"""The effect's icon and cursor, which Slicer asks for before the effect is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

_ICON = Path(__file__).resolve().parents[2] / "Resources" / "Icons" / "SegmentEditorEffect.png"


def icon() -> Any:
    """Return the icon of the effect's button."""
    return qt.QIcon(str(_ICON))


def cursor() -> Any:
    """Return a cursor that says where a click goes."""
    return qt.QCursor(qt.Qt.CrossCursor)
