"""Stored numbers as the values they mean, in a type that holds them."""

from __future__ import annotations

import numpy as np

from medsam2_core.arrays import Array

_KINDS = (np.int16, np.int32, np.int64)
_LARGEST_STORED = 2**32
_LARGEST_WHOLE = 2.0**30  # so that no product with a stored number leaves int64


def scaled(stored: Array, slope: float, intercept: float) -> Array:
    """`slope` * stored + `intercept`: whole numbers stay whole."""
    whole = stored.dtype.kind in "iu" and _is_whole(slope) and _is_whole(intercept)
    if whole and stored.min() >= -_LARGEST_STORED and stored.max() <= _LARGEST_STORED:
        return stored.astype(np.int64) * int(slope) + int(intercept)
    return stored.astype(np.float64) * slope + intercept


def narrowed(values: Array) -> Array:
    """The same values in the smallest type that holds them; of fractions float32 unless it lost some of the range."""
    lowest, highest = values.min(), values.max()
    if values.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            fits = max(-lowest, highest) <= min(1000 * (highest - lowest), np.finfo(np.float32).max)
        return values.astype(np.float32) if fits or lowest == highest == 0 else values
    kind = next(kind for kind in _KINDS if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max)
    return values.astype(kind)


def _is_whole(number: float) -> bool:
    return number.is_integer() and abs(number) < _LARGEST_WHOLE
