"""The outline of a mask as the path of an SVG drawing, along the edges of its pixels."""

from __future__ import annotations

import numpy as np

from medsam2_core.arrays import Array, Mask


def svg_path(mask: Mask) -> str:
    """Lines around the true pixels of a mask (rows, columns), x to the right and y down from its upper left corner."""
    padded = np.pad(mask, 1).astype(np.int8)
    across = [f"M{x} {y}h{length}" for y, x, length in _runs(np.diff(padded, axis=0)[:, 1:-1] != 0)]
    down = [f"M{x} {y}v{length}" for x, y, length in _runs((np.diff(padded, axis=1)[1:-1] != 0).T)]
    return "".join(across + down)


def thumbnail(mask: Mask, shape: tuple[int, int]) -> Mask:
    """A mask at another size (rows, columns): each pixel is what lies at its center."""
    places = [((np.arange(size) + 0.5) * old / size).astype(int) for size, old in zip(shape, mask.shape, strict=True)]
    small: Mask = mask[np.ix_(*places)]
    return small


def _runs(edges: Mask) -> list[list[int]]:
    """Line, start and length of each run of true values along the second axis."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    line, start = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    found: Array = np.stack([line, start, end - start], axis=1)
    runs: list[list[int]] = found.tolist()
    return runs
