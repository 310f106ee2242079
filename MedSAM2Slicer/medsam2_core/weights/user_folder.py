"""Where this platform keeps a user's data."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_folder() -> Path:
    """The user's folder for downloaded models: `MEDSAM2_HOME`, else the platform's place for user data."""
    home = os.environ.get("MEDSAM2_HOME")
    return Path(home).expanduser() if home else _user_data_folder() / "medsam2"


def _user_data_folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    data = os.environ.get("XDG_DATA_HOME")
    return Path(data) if data else Path.home() / ".local" / "share"
