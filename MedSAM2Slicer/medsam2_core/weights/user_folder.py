"""Where this platform keeps a user's data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from medsam2_core.errors import WeightsError
from medsam2_core.named_folder import named_folder


def user_folder() -> Path:
    """The user's folder for downloaded models: `MEDSAM2_HOME`, else the platform's place for user data."""
    return named_folder("MEDSAM2_HOME", WeightsError) or _user_data_folder() / "medsam2"


def home_folder() -> Path:
    """The user's home folder; the root of the disk for a user without one, as containers have them."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(Path.cwd().anchor)


def _user_data_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else home_folder() / "AppData" / "Local"
    if sys.platform == "darwin":
        return home_folder() / "Library" / "Application Support"
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data) if data else home_folder() / ".local" / "share"
