"""Where the environment says that image features are to be kept. It imports no PyTorch, unlike `feature_folder`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from medsam2_core.errors import VolumeError
from medsam2_core.named_folder import named_folder

FOLDER_VARIABLE = "MEDSAM2_FEATURES"
"""Names the folder in the environment, since Slicer, scripts and cohorts are to share it."""

SUFFIX = ".features"

LIMIT_VARIABLE = "MEDSAM2_FEATURES_GB"
_DEFAULT_GB = 10.0  # 2,400 slices of sam2.1_hiera_tiny at 512 pixels


def feature_place() -> tuple[Path, int] | None:
    """The folder that the environment names, and the bytes it may hold; None if it names none.

    Raises VolumeError for a limit that is not a number, or the home folder of nobody.
    """
    folder = named_folder(FOLDER_VARIABLE, VolumeError)
    return None if folder is None else (folder, _limit())


def forget_features(folder: Path) -> None:
    """Delete the image features in a folder and nothing else; what cannot be deleted stays."""
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):
            path.unlink()


def _limit() -> int:
    text = os.environ.get(LIMIT_VARIABLE)
    refusal = VolumeError(f"{LIMIT_VARIABLE} is {text!r}: give a number of gigabytes, such as 20.")
    try:
        limit = int(float(text or _DEFAULT_GB) * 1e9)
    except (ValueError, OverflowError) as error:
        raise refusal from error
    if limit < 0:
        raise refusal
    return limit
