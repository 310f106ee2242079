"""MedSAM-2 for volumes and image sets: sessions, memory banks and models, with torch and numpy alone.

>>> import medsam2_core as m2
>>> session = m2.VolumeSession(m2.load_model("starter"), volume_kji, spacing=(2.5, 0.7, 0.7))
>>> session.add_box(1, slice_index=57, box_xyxy=(120, 200, 260, 330))
>>> for step in session.propagate():
...     print(step.slice_index, step.confidence[1])
>>> labelmap_kji = session.labelmap()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medsam2_core.api import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the public names when one is first used: torch takes a second, and `medsam2 --help` does not need it."""
    if name.startswith("_"):
        raise AttributeError(f"module 'medsam2_core' has no attribute '{name}'")
    return getattr(importlib.import_module("medsam2_core.api"), name)
