"""Where this platform keeps a user's data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from medsam2_core.errors import WeightsError


def user_folder() -> Path:
    """The user's folder for downloaded models: `MEDSAM2_HOME`, else the platform's place for user data."""
    chosen = os.environ.get("MEDSAM2_HOME")
    if not chosen:
        return _user_data_folder() / "medsam2"
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise WeightsError(
            f"MEDSAM2_HOME is {chosen!r}, and there is no such home folder: set it to a folder's full path."
        ) from error


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
