"""The extension's icons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import qt

_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Icons"


def showIcons(ui: Any, files: Mapping[str, str]) -> None:
    """Give buttons their icons; `files` are the icons' names by the buttons'."""
    for name, file in files.items():
        getattr(ui, name).icon = icon(file)


def icon(name: str) -> Any:
    """Return the icon of this name."""
    return qt.QIcon(str(_FOLDER / f"{name}.png"))
