"""Stacks of slices: a volume cut along an axis, or a set of unrelated images, ready for the model."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import require_axis
from medsam2_core.image.orientation import Hanging
from medsam2_core.image.window import AS_GIVEN, Window

CPU = torch.device("cpu")
_LEAST_MM, _MOST_MM = 1e-9, 1e9  # beyond these areas, and distances in slices, overflow


class PixelStack(Protocol):
    """Slices by index, gray or in color, uint8 until the model sees them. `ordered` says that neighbors are alike."""

    ordered: bool

    def __len__(self) -> int:
        """How many slices there are."""

    def shape(self, index: int) -> tuple[int, int]:
        """Rows and columns of a slice."""

    def spacing(self, index: int) -> tuple[float, float]:
        """Row and column spacing in mm."""

    def image(self, index: int, device: torch.device = CPU) -> Tensor:
        """Return a slice (rows, columns), or in color (3, rows, columns), float32 in [0, 1], on a device.

        A byte a pixel goes there.
        """


class VolumeStack:
    """The slices of a volume (k, j, i) along array axis 0, 1 or 2; rows and columns are the other two in order.

    A fourth axis of length 3 holds red, green and blue as uint8, which no window applies to. A uint8 volume in the
    window 0 to 255 is what the model sees already: it is used in place, without a copy.
    Raises VolumeError for an array that is not a volume, and for a spacing (mm along k, j, i) that cannot be.
    """

    ordered = True

    def __init__(
        self, volume: npt.NDArray[Any], spacing_kji: tuple[float, float, float], axis: int, window: Window
    ) -> None:
        in_color = is_color(volume, 4)
        if (volume.ndim != 3 and not in_color) or 0 in volume.shape:
            raise VolumeError(f"A volume of shape {volume.shape} cannot be segmented: give one with three dimensions.")
        require_axis(axis)
        row_axis, column_axis = (a for a in range(3) if a != axis)
        seen = in_color or (volume.dtype == np.uint8 and window.keeps_uint8)
        self._pixels = np.moveaxis(volume if seen else window.to_uint8(volume), axis, 0)
        mm = checked_spacing(spacing_kji, 3)
        self._spacing, self.slice_mm = (mm[row_axis], mm[column_axis]), mm[axis]
        """The way from slice to slice."""

    def across(self, axis: int, hanging: Hanging) -> VolumeStack:
        """The same voxels, not copied, as slices along the rows (1) or columns (2) of these."""
        planes = hanging.turn(np.moveaxis(self._pixels, axis, 0), 1)
        left = self.slice_mm, self._spacing[2 - axis]
        mm = self._spacing[axis - 1], *(left[::-1] if hanging.swap else left)
        return VolumeStack(planes, mm, 0, AS_GIVEN)

    def __len__(self) -> int:
        return len(self._pixels)

    def shape(self, index: int) -> tuple[int, int]:
        return self._pixels.shape[1], self._pixels.shape[2]

    def spacing(self, index: int) -> tuple[float, float]:
        return self._spacing

    def image(self, index: int, device: torch.device = CPU) -> Tensor:
        return _as_seen(self._pixels[index], device)

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """What the model sees of a slice, (rows, columns) or (rows, columns, 3)."""
        slice_: npt.NDArray[np.uint8] = self._pixels[index]
        return slice_


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image without its pixels.

    `key` is the same for images whose pixels the model sees as the same, and for no others. `spacing` is mm between
    rows and between columns; None counts as 1 mm. Raises VolumeError for a spacing that cannot be.
    """

    shape: tuple[int, int]
    window: Window
    key: str
    spacing: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.spacing is not None:
            checked_spacing(self.spacing, 2)

    @staticmethod
    def of(
        image: npt.ArrayLike, window: Window | str | None = None, spacing: tuple[float, float] | None = None
    ) -> ImageFacts:
        """Look at an image (rows, columns), or (rows, columns, 3) as uint8 RGB, in a window (see `Window.of`).

        Raises VolumeError for anything but an image with finite values.
        """
        image = as_pixels(image)
        if not (image.ndim == 2 or is_color(image, 3)) or 0 in image.shape:
            raise VolumeError(f"It has shape {image.shape}: give images (rows, columns), or RGB (rows, columns, 3).")
        chosen = AS_GIVEN if image.ndim == 3 else Window.of(window, image)
        pixels = _windowed(image, chosen)
        digest = hashlib.sha256(repr(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).data)
        return ImageFacts((image.shape[0], image.shape[1]), chosen, digest.hexdigest(), spacing)


@runtime_checkable
class Images(Protocol):
    """Images by index: a list of them, or what reads them from files."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> npt.ArrayLike:
        """The pixels of one."""


class ImageStack:
    """Unrelated images, gray or in color, each with a window and a spacing of its own.

    `images` may read its items from files: at most `max_bytes` of pixels are kept, the others are taken from there
    again. Raises VolumeError for an array that is not an image.
    """

    ordered = False

    def __init__(
        self,
        images: Images,
        window: Window | str | None = None,
        facts: Sequence[ImageFacts] | None = None,
        max_bytes: int = 1 << 28,
    ) -> None:
        if not isinstance(images, Images):
            raise VolumeError("The image set is not a list of images: give one of arrays (rows, columns).")
        if not len(images):
            raise VolumeError("The image set is empty: give at least two images.")
        self._images, self._max_bytes = images, max_bytes
        self.facts = tuple(_look_at(images, window) if facts is None else facts)
        self._kept: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.facts)

    def shape(self, index: int) -> tuple[int, int]:
        return self.facts[index].shape

    def spacing(self, index: int) -> tuple[float, float]:
        return self.facts[index].spacing or (1.0, 1.0)

    def image(self, index: int, device: torch.device = CPU) -> Tensor:
        return _as_seen(self.pixels(index), device)

    def pixels(self, index: int) -> npt.NDArray[np.uint8]:
        """What the model sees of an image, (rows, columns) or (rows, columns, 3)."""
        if index not in self._kept:
            self._kept[index] = _windowed(as_pixels(self._images[index]), self.facts[index].window)
        self._kept.move_to_end(index)
        while len(self._kept) > 1 and sum(one.nbytes for one in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)
        return self._kept[index]


def checked_spacing(spacing: Sequence[float], axes: int) -> tuple[float, ...]:
    """A spacing in mm, as numbers. Raises VolumeError unless it has one for each axis, finite and above 0."""
    try:
        mm = tuple(float(one) for one in spacing)
    except (TypeError, ValueError):
        mm = ()
    if len(mm) != axes or not all(_LEAST_MM <= one <= _MOST_MM for one in mm):
        raise VolumeError(
            f"The spacing {spacing!r} cannot be used: give {axes} numbers of mm, each above 0, "
            f"from {_LEAST_MM:g} to {_MOST_MM:g}."
        )
    return mm


def as_pixels(pixels: npt.ArrayLike) -> npt.NDArray[Any]:
    """Pixels or voxels as an array, without a copy if they are one. Raises VolumeError if they are not real numbers."""
    try:
        array = np.asarray(pixels)
        if array.dtype.kind in "biuf":
            return array
    except (TypeError, ValueError):
        pass  # such as lists of unequal lengths: refused like anything else that is not an array
    raise VolumeError("This is not an array of real numbers: give one, or lists of equal lengths.")


def is_color(pixels: npt.NDArray[Any], dimensions: int) -> bool:
    """Whether an array's last axis, of as many, holds red, green and blue."""
    return pixels.ndim == dimensions and pixels.shape[-1] == 3 and pixels.dtype == np.uint8


def _look_at(images: Images, window: Window | str | None) -> Iterator[ImageFacts]:
    number = 0
    try:
        for number in range(len(images)):
            yield ImageFacts.of(images[number], window)
    except VolumeError as error:
        raise VolumeError(f"Image {number}: {error}") from error


def _windowed(image: npt.NDArray[Any], window: Window) -> npt.NDArray[np.uint8]:
    return image if image.ndim == 3 else window.to_uint8(image)


def _as_seen(pixels: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """Pixels (rows, columns) as they are, (rows, columns, 3) with the colors first; float32 in [0, 1]."""
    # A copy, since torch takes no negative strides, and numpy calls those of length 1 contiguous.
    image = torch.from_numpy(pixels.copy()).to(device).float() / 255
    return image if image.ndim == 2 else image.permute(2, 0, 1)
