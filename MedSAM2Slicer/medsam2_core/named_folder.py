"""Folders that a user names in the environment."""

from __future__ import annotations

import os
from pathlib import Path

from medsam2_core.errors import MedSAM2Error


def named_folder(variable: str, refusal: type[MedSAM2Error]) -> Path | None:
    """The folder that a variable of the environment names, which may not be there yet; None if it names none.

    Raises the `refusal` for the home folder of a user that this computer does not know.
    """
    name = os.environ.get(variable)
    try:
        return Path(name).expanduser() if name else None
    except RuntimeError as error:
        raise refusal(
            f"{variable} is {name!r}, and there is no such home folder: set it to a folder's full path."
        ) from error
