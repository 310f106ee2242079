"""Kinds of arrays that many files share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Bytes = npt.NDArray[np.uint8]

Mask = npt.NDArray[np.bool_]
"""Pixels (rows, columns) or voxels (k, j, i) that belong to an object."""

Block = tuple[slice, slice, slice]
"""A box of voxels: where it is along k, j, i."""
