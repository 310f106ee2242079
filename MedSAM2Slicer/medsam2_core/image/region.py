"""Field of view: which part of a slice the model sees, and the way there and back.

In-slice points are (x, y) in pixels, pixel centers at integers. A region covers whole pixels and may reach beyond the
slice, where the model sees black.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from medsam2_core.arrays import Mask, block_of
from medsam2_core.errors import PromptError

OUTSIDE_LOGIT = -1024.0
"""Mask logit of pixels the model did not see."""


Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, both corners included."""


@dataclass(frozen=True)
class Region:
    """The pixels x0 <= x < x0 + width, y0 <= y < y0 + height of a slice, shown to the model as a square image."""

    x0: int
    y0: int
    width: int
    height: int

    @staticmethod
    def whole(rows: int, columns: int) -> Region:
        """The whole slice, stretched to a square as SAM 2 does."""
        return Region(0, 0, columns, rows)

    @staticmethod
    def of_box(box: Box) -> Region:
        """The pixels of a box of whole numbers."""
        x0, y0, x1, y1 = (int(edge) for edge in box)
        return Region(x0, y0, x1 - x0 + 1, y1 - y0 + 1)

    @staticmethod
    def around_all(regions: Collection[Region], rows: int, columns: int) -> Region:
        """What any of some regions covers of a slice, as one rectangle within it; an empty one if there are none."""
        x0 = max(min((one.x0 for one in regions), default=0), 0)
        y0 = max(min((one.y0 for one in regions), default=0), 0)
        right = min(max((one.x0 + one.width for one in regions), default=0), columns)
        bottom = min(max((one.y0 + one.height for one in regions), default=0), rows)
        return Region(x0, y0, right - x0, bottom - y0)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of a region that lies within its slice."""
        return slice(self.y0, self.y0 + self.height), slice(self.x0, self.x0 + self.width)

    def within(self, outer: Region) -> Region:
        """The same pixels, counted from the corner of another region."""
        return Region(self.x0 - outer.x0, self.y0 - outer.y0, self.width, self.height)

    def points_to_model(self, points: Tensor, image_size: int) -> Tensor:
        """Slice points (N, 2) in pixels of the model's image; SAM 2's own rule, which scales pixel indexes."""
        offset, extent = points.new_tensor([self.x0, self.y0]), points.new_tensor([self.width, self.height])
        return (points - offset) * image_size / extent

    def cut(self, image: Tensor, size: int) -> Tensor:
        """Show (..., rows, columns) as (..., size, size), smoothed where it shrinks."""
        rows, columns = image.shape[-2:]
        right, bottom = self.x0 + self.width - columns, self.y0 + self.height - rows
        cut = F.pad(image, (-self.x0, right, -self.y0, bottom))
        flat = cut.reshape(1, -1, self.height, self.width)
        shown = F.interpolate(flat, (size, size), mode="bilinear", antialias=True)
        return shown.reshape(*image.shape[:-2], size, size)

    def paste(self, logits: Tensor, rows: int, columns: int) -> Tensor:
        """Spread the model's mask logits (h, w) over the slice (rows, columns); unseen pixels get `OUTSIDE_LOGIT`."""
        seen = F.interpolate(logits[None, None], (self.height, self.width), mode="bilinear")[0, 0]
        left, top = -self.x0, -self.y0
        right, bottom = columns - self.x0 - self.width, rows - self.y0 - self.height
        return F.pad(seen, (-left, right, -top, bottom), value=OUTSIDE_LOGIT)


@dataclass(frozen=True)
class WholeView:
    """The model always sees the whole slice, as published."""

    name = "whole"

    def around(
        self,
        box: Box | None,
        rows: int,
        columns: int,
        spacing: tuple[float, float],
        last: Region | None = None,
        encoded: Sequence[Region] = (),
    ) -> Region:
        """See `ZoomView.around`."""
        return Region.whole(rows, columns)


@dataclass(frozen=True)
class ZoomView:
    """The model sees a square, in mm, around the object, so that a small lesion still is many of its pixels wide.

    `factor` sides of the object's box make the square's side. A square serves until the object comes within `margin`
    of its edge or no longer fills a `sparse` part of it: a view that is still lets memories of one place meet. One that
    the slice was encoded in already serves longer, so that corrections seldom wait for the image encoder: 4.6 views in
    place of 6.4 for the 21 masks of one, Dice 0.714 and 0.717 after it (30 structures of a training CT).
    """

    name = "zoom"
    factor: float = 2.0
    smallest: int = 32  # pixels
    margin: float = 0.1
    sparse: float = 0.3
    encoded_margin: float = 0.03
    encoded_sparse: float = 0.2

    def around(
        self,
        box: Box | None,
        rows: int,
        columns: int,
        spacing: tuple[float, float],
        last: Region | None = None,
        encoded: Sequence[Region] = (),
    ) -> Region:
        """Region for an object with this box (None: not seen) on a slice of rows x columns pixels of `spacing` mm.

        That is the first of those the slice is `encoded` in, or else the `last` one looked at, if they serve; else a
        new one around the box. Without any and without a box it is the whole slice.
        """
        for region in encoded:
            if self._serves(region, box, self.encoded_margin, self.encoded_sparse):
                return region
        if last is not None and self._serves(last, box, self.margin, self.sparse):
            return last
        if box is None:
            return Region.whole(rows, columns)
        row_mm, column_mm = spacing
        x0, y0, x1, y1 = box
        longest = max((x1 - x0 + 1) * column_mm, (y1 - y0 + 1) * row_mm)
        side = max(self.factor * longest, self.smallest * min(row_mm, column_mm))
        width, height = max(round(side / column_mm), 2), max(round(side / row_mm), 2)
        return Region(round((x0 + x1 + 1 - width) / 2), round((y0 + y1 + 1 - height) / 2), width, height)

    def _serves(self, region: Region, box: Box | None, margin: float, sparse: float) -> bool:
        if box is None:
            return True
        x0, y0, x1, y1 = box
        left, right = (x0 - region.x0) / region.width, (x1 + 1 - region.x0) / region.width
        top, bottom = (y0 - region.y0) / region.height, (y1 + 1 - region.y0) / region.height
        inside = min(left, top) >= margin and max(right, bottom) <= 1 - margin
        smallest = max(region.width, region.height) <= self.smallest
        return inside and (smallest or max(right - left, bottom - top) >= sparse)


FieldOfView = WholeView | ZoomView
_VIEWS: dict[str, FieldOfView] = {"whole": WholeView(), "zoom": ZoomView()}


def view_called(name: str) -> FieldOfView:
    """Return the field of view called whole or zoom. Raises PromptError for other names."""
    if name not in _VIEWS:
        raise PromptError(f"Field of view '{name}' is unknown: choose auto, whole or zoom.")
    return _VIEWS[name]


def mask_box(mask: Mask) -> Box | None:
    """Smallest box around the true pixels of (rows, columns), or None if there are none."""
    rows, columns = block_of(mask)
    if not rows.stop:
        return None
    return float(columns.start), float(rows.start), float(columns.stop - 1), float(rows.stop - 1)
