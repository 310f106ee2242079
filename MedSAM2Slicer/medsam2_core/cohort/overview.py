"""Pictures of a case: the three planes through its objects, and a small one for the report, with outlines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Array, block_of
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.outline import resized
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import PLANES
from medsam2_core.image.window import Window
from medsam2_core.io.png import palette_png

_GRAYS = 32  # with the colors of outlines they make a palette; more would make the files larger, not clearer
_COLORS = 128
_SIDE = 384  # pixels of a plane in the overview
_SMALL = 96
_MARGIN = 0.35  # of the object's size, around it in the small picture

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Drawing:
    """What is drawn: a volume and its label map (k, j, i) on a grid, the window, and the segments of the labels.

    Of a volume in color (k, j, i, 3) the brightness is drawn.
    """

    volume: Array
    labelmap: Array
    geometry: Geometry
    window: Window
    segments: Sequence[Segment]

    def overview(self) -> bytes:
        """A PNG file with the axial, coronal and sagittal plane through the middle of what was found."""
        center = self._center()
        planes = [self._plane(plane, center, _SIDE) for plane in reversed(PLANES)]
        height = max(len(plane) for plane in planes)
        padded = [np.pad(plane, ((0, height - len(plane)), (0, 2))) for plane in planes]
        return palette_png(np.hstack(padded), self._palette())

    def thumbnail(self, axis: int) -> bytes:
        """A small PNG file of the slice along `axis` on which most was found, near the objects."""
        areas = (self.labelmap > 0).sum(axis=tuple(other for other in range(3) if other != axis))
        index = int(areas.argmax()) if areas.any() else self.labelmap.shape[axis] // 2
        return palette_png(self._slice(axis, index, _SMALL, close=True), self._palette())

    def _center(self) -> list[int]:
        """The voxel (k, j, i) of the middle of what was found, else of the volume."""
        found = self.labelmap > 0
        if not found.any():
            return [size // 2 for size in found.shape]
        along = (found.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
        return [int((counts * np.arange(len(counts))).sum() / counts.sum()) for counts in along]

    def _plane(self, plane: str, center: Sequence[int], side: int) -> Levels:
        axis = self.geometry.anatomical_axis(plane)
        return self._slice(axis, center[axis], side, close=False)

    def _slice(self, axis: int, index: int, side: int, *, close: bool) -> Levels:
        """A slice as readers hang it, its longer side `side` pixels, as places in the palette."""
        orientation = SliceOrientation.upright(self.geometry, axis)
        labels = orientation.turn(self.labelmap)[index]
        image = np.ascontiguousarray(orientation.turn(self.volume)[index])
        image = self.window.to_uint8(image if image.ndim == 2 else image.mean(axis=-1))
        _, *spacing = orientation.turn_spacing(self.geometry.spacing_kji)
        frame = _near(labels > 0, spacing) if close and labels.any() else tuple(slice(0, size) for size in labels.shape)
        labels, image = labels[frame], image[frame]
        size = np.array(labels.shape) * spacing
        rows, columns = (max(1, round(side * one / size.max())) for one in size)
        picture, drawn = (resized(pixels, (rows, columns)).astype(np.int64) for pixels in (image, labels))
        return _outlined((picture * _GRAYS // 256).astype(np.uint8), drawn)

    def _palette(self) -> list[tuple[int, int, int]]:
        """Grays, then at `_COLORS` and a label, modulo as many as are left, the color of a segment."""
        grays = [(round(level * 255 / (_GRAYS - 1)),) * 3 for level in range(_GRAYS)]
        colors = [(255, 176, 0)] * (256 - _COLORS)
        for segment in self.segments:
            red, green, blue = (round(part * 255) for part in segment.color)
            colors[segment.label % len(colors)] = (red, green, blue)
        return [*((r, g, b) for r, g, b in grays), *[(0, 0, 0)] * (_COLORS - _GRAYS), *colors]


def _near(mask: npt.NDArray[np.bool_], spacing: Sequence[float]) -> tuple[slice, ...]:
    """A square around a mask of a slice, with some room, as far as there are pixels."""
    low, high = np.array([(side.start, side.stop - 1) for side in block_of(mask)]).T
    half = ((high - low + 1) * spacing).max() * (0.5 + _MARGIN) / np.array(spacing)
    middle = (low + high) / 2
    return tuple(
        slice(max(0, math.floor(at - reach)), min(size, math.ceil(at + reach) + 1))
        for at, reach, size in zip(middle, half, mask.shape, strict=True)
    )


def _outlined(picture: Levels, labels: Array) -> Levels:
    """A picture in gray with the rims of labels in their places of the palette."""
    padded = np.pad(labels, 1, mode="edge")
    inner = np.ones(labels.shape, bool)
    for shift in ((0, 1), (2, 1), (1, 0), (1, 2)):
        inner &= padded[shift[0] : shift[0] + len(labels), shift[1] : shift[1] + labels.shape[1]] == labels
    rim = (labels > 0) & ~inner
    return np.where(rim, _COLORS + labels % (256 - _COLORS), picture).astype(np.uint8)
