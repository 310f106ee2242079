"""Where links lead; those that lead back to themselves lead nowhere, which Python tells differently by its version."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from medsam2_core.errors import VolumeError


def real_path(path: Path) -> Path:
    """The absolute path that a path's links lead to, which need not exist. Raises VolumeError for links in a circle."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise VolumeError(f"{path}: This is a link that leads back to itself: give another path.") from error
        return Path(os.path.realpath(path))
