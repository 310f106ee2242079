"""The outline of a mask as the path of an SVG drawing, along the edges of its pixels."""

from __future__ import annotations

import numpy as np

from medsam2_core.arrays import Array, Mask
from medsam2_core.image.components import row_runs


def svg_path(mask: Mask) -> str:
    """Lines around the true pixels of a mask (rows, columns), x to the right and y down from its upper left corner."""
    padded = np.pad(mask, 1).astype(np.int8)
    across = [f"M{x} {y}h{length}" for y, x, length in _lines(np.diff(padded, axis=0)[:, 1:-1] != 0)]
    down = [f"M{x} {y}v{length}" for x, y, length in _lines((np.diff(padded, axis=1)[1:-1] != 0).T)]
    return "".join(across + down)


def resized(pixels: Array, shape: tuple[int, int]) -> Array:
    """Pixels (rows, columns) at another size: each is what lies at its center."""
    places = [((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, pixels.shape, strict=True)]
    return pixels[np.ix_(*places)]


def _lines(edges: Mask) -> list[list[int]]:
    """Line, start and length of each run of edges along the second axis."""
    line, begin, end = row_runs(edges)
    found: list[list[int]] = np.stack([line, begin, end - begin], axis=1).tolist()
    return found
