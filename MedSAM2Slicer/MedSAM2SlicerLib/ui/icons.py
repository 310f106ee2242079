"""The extension's icons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt

_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Icons"


def icon(name: str) -> Any:
    """Return the icon of this name."""
    return qt.QIcon(str(_FOLDER / f"{name}.png"))
