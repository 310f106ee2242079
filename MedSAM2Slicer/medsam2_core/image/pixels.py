"""Stacks of slices: a volume cut along an axis, or a set of unrelated images, ready for the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medsam2_core.errors import VolumeError
from medsam2_core.image.window import Window


class PixelStack(Protocol):
    """Slices by index; one channel, uint8 until the model sees them. `ordered` says that neighbors are alike."""

    ordered: bool

    def __len__(self) -> int:
        """How many slices there are."""

    def shape(self, index: int) -> tuple[int, int]:
        """Rows and columns of a slice."""

    def spacing(self, index: int) -> tuple[float, float]:
        """Row and column spacing in mm."""

    def image(self, index: int) -> Tensor:
        """Return a slice (rows, columns), float32 in [0, 1]."""


class VolumeStack:
    """The slices of a volume (k, j, i) along array axis 0, 1 or 2; rows and columns are the other two in order.

    A uint8 volume in the window 0 to 255 is what the model sees already: it is used in place, without a copy.
    """

    ordered = True

    def __init__(
        self, volume: npt.NDArray[Any], spacing_kji: tuple[float, float, float], axis: int, window: Window
    ) -> None:
        if volume.ndim != 3 or 0 in volume.shape:
            raise VolumeError(f"A volume of shape {volume.shape} cannot be segmented: give one with three dimensions.")
        if axis not in (0, 1, 2):
            raise VolumeError(f"Axis {axis} does not exist: give 0, 1 or 2 (k, j or i of the array).")
        row_axis, column_axis = (a for a in range(3) if a != axis)
        grey = volume if volume.dtype == np.uint8 and window.keeps_uint8 else window.to_uint8(volume)
        self._grey = np.moveaxis(grey, axis, 0)
        self._spacing = (float(spacing_kji[row_axis]), float(spacing_kji[column_axis]))

    def __len__(self) -> int:
        return len(self._grey)

    def shape(self, index: int) -> tuple[int, int]:
        return self._grey.shape[1], self._grey.shape[2]

    def spacing(self, index: int) -> tuple[float, float]:
        return self._spacing

    def image(self, index: int) -> Tensor:
        # A copy, since torch takes no negative strides, and numpy calls those of length 1 contiguous.
        return torch.from_numpy(self._grey[index].copy()).float() / 255


class ImageStack:
    """Unrelated images (rows, columns), each with a window of its own. Pixels count as 1 mm."""

    ordered = False

    def __init__(self, images: Sequence[npt.NDArray[Any]], window: Window | None) -> None:
        if not images:
            raise VolumeError("The image set is empty: give at least two images.")
        for number, image in enumerate(images):
            if image.ndim != 2 or 0 in image.shape:
                raise VolumeError(f"Image {number} has shape {image.shape}: give gray images (rows, columns).")
        self._grey = [(window or Window.auto(image)).to_uint8(image) for image in images]

    def __len__(self) -> int:
        return len(self._grey)

    def shape(self, index: int) -> tuple[int, int]:
        rows, columns = self._grey[index].shape
        return rows, columns

    def spacing(self, index: int) -> tuple[float, float]:
        return 1.0, 1.0

    def image(self, index: int) -> Tensor:
        return torch.from_numpy(self._grey[index]).float() / 255
