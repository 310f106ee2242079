"""Intensity windows: which values of a volume the model sees as black and white."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Array
from medsam2_core.errors import VolumeError

# Level and width in HU, as radiology workstations ship them.
CT_PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (40, 400),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "brain": (40, 80),
    "mediastinum": (50, 350),
    "liver": (60, 160),
    "angio": (300, 600),
}

_SLAB_VOXELS = 1 << 20  # 8 MB of float64 at a time
_SAMPLE_VOXELS = 1 << 22  # enough for a 0.5 % tail to a fraction of a percent
_BEYOND = 1e30  # numbers in the record of a run are smaller
_LARGEST = 1e29  # limit that is found in voxels, so that there is room to widen it

_CT_AIR = -500.0
_CT_LOWEST = -1100.0  # no tissue and no air lies below; only padding does
_CT_RANGE = (-10_000.0, 40_000.0)  # from odd padding values to metal on the extended scale
_CT_AIR_SHARE = 0.01
_CT_STRAY_SHARE = 0.02  # resampling smears padding into a few values that no tissue has


@dataclass(frozen=True)
class Window:
    """A linear map of intensities (HU for CT, else the file's own unit): `lower` is black, `upper` white.

    Raises VolumeError unless both limits are numbers that a record can hold and `lower` is the smaller.
    """

    lower: float
    upper: float
    name: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.upper - self.lower) and self.lower < self.upper):
            raise VolumeError(
                f"Window {self.name!r} goes from {self.lower:g} to {self.upper:g}: "
                "give finite limits with the lower one first (a width above 0)."
            )
        if max(abs(self.lower), abs(self.upper)) >= _BEYOND:
            raise VolumeError(
                f"Window {self.name!r} goes from {self.lower:g} to {self.upper:g}: "
                f"give limits within {-_LARGEST:g} and {_LARGEST:g}, or rescale the volume."
            )

    @classmethod
    def ct(cls, name: str) -> Window:
        """The CT preset `name` (a key of `CT_PRESETS`), in HU; VolumeError names the choices."""
        if name not in CT_PRESETS:
            raise VolumeError(f"Unknown CT window {name!r}: choose one of {', '.join(CT_PRESETS)}.")
        level, width = CT_PRESETS[name]
        return cls(level - width / 2, level + width / 2, name)

    @classmethod
    def level_width(cls, level: float, width: float) -> Window:
        """The window of `width` centered at `level`, both in the volume's unit."""
        return cls(level - width / 2, level + width / 2, f"{level:g}/{width:g}")

    @classmethod
    def percentiles(cls, volume: Array, low: float = 0.5, high: float = 99.5) -> Window:
        """The window between two percentiles (0 to 100) of the finite voxels of `volume` (any shape).

        A volume of one value gets a window of width 1 around it. Large volumes are sampled on a regular grid.
        Raises VolumeError if no voxel is finite or the percentiles are not 0 <= low < high <= 100.
        """
        return _percentile_window(_finite_sample(volume), low, high)

    @classmethod
    def auto(cls, volume: Array) -> Window:
        """The abdomen preset for data that looks like CT in HU, else percentiles of what is not background.

        Background is the lowest value, which is what scanners and registration pad with.
        Raises VolumeError if no voxel is finite.
        """
        values = _finite_sample(volume)
        if _looks_like_ct(values):
            return cls.ct("abdomen")
        foreground = values[values > values.min()]
        return _percentile_window(foreground if foreground.size else values, 0.5, 99.5)

    @classmethod
    def of(cls, window: Window | str | None, volume: Array) -> Window:
        """A window as it is, one that `parse` reads, or for None that of `auto`. Raises VolumeError for others."""
        if isinstance(window, Window):
            return window
        if window is None or isinstance(window, str):
            return cls.parse("auto" if window is None else window, volume)
        raise VolumeError(f"{window!r} is not a window: give a Window, or a text such as 'lung' or '40/400'.")

    @classmethod
    def parse(cls, text: str, volume: Array) -> Window:
        """The window a user wrote: a CT preset's name, "level/width" or "auto" (which looks at `volume`).

        Raises VolumeError, with the choices, for anything else.
        """
        wanted = text.strip().lower()
        if wanted == "auto":
            return cls.auto(volume)
        if wanted in CT_PRESETS:
            return cls.ct(wanted)
        level, slash, width = wanted.partition("/")
        if slash:
            try:
                return cls.level_width(float(level), float(width))
            except ValueError:
                pass  # not two numbers: answered below like any other unknown text
        raise VolumeError(
            f"Unknown window {text!r}: write auto, a level and width such as 40/400, or one of {', '.join(CT_PRESETS)}."
        )

    @property
    def keeps_uint8(self) -> bool:
        """Whether `to_uint8` leaves values of uint8 as they are."""
        return self.lower == 0 and self.upper == 255

    def to_uint8(self, volume: Array) -> npt.NDArray[np.uint8]:
        """`volume` (any shape and real type, left as it is) mapped to 0..255 and rounded, in a new array.

        NaN and -inf become 0, +inf 255. Works slab by slab, so memory beyond the result stays at a few megabytes.
        """
        result = np.empty(np.shape(volume), dtype=np.uint8)
        for _ in self.fill_uint8(volume, result):
            pass
        return result

    def fill_uint8(self, volume: Array, result: npt.NDArray[np.uint8]) -> Iterator[int]:
        """As `to_uint8`, into `result`, a slab at a time: gives how many rows of the first axis are done."""
        source, gray = np.atleast_1d(volume), np.atleast_1d(result)
        table = self._table(source)
        for rows in slabs(source):
            gray[rows] = self._gray(source[rows]) if table is None else table[source[rows].view(f"u{source.itemsize}")]
            yield rows.stop

    def _table(self, source: Array) -> npt.NDArray[np.uint8] | None:
        """The gray of every value that short integers can have, by their bits: 5 times as fast for a CT."""
        unsigned = f"u{source.itemsize}"
        values = 1 << (8 * source.itemsize)
        if source.dtype.kind not in "iu" or values > 1 << 16 or source.size < values or not source.dtype.isnative:
            return None
        return self._gray(np.arange(values, dtype=unsigned).view(source.dtype))

    def _gray(self, slab: Array) -> npt.NDArray[np.uint8]:
        with np.errstate(over="ignore"):  # a finite value far outside may overflow to inf, which clips as it should
            gray = (slab.astype(np.float64) - self.lower) / (self.upper - self.lower)
        np.clip(gray, 0.0, 1.0, out=gray)
        gray[np.isnan(gray)] = 0.0
        gray *= 255.0
        return np.rint(gray, out=gray).astype(np.uint8)


AS_GIVEN = Window(0, 255, "as given")
"""For a volume that a window was applied to already."""


def slabs(volume: Array) -> Iterator[slice]:
    """Give slices along the first axis that hold about a million voxels each."""
    row_voxels = max(1, math.prod(volume.shape[1:]))
    step = max(1, _SLAB_VOXELS // row_voxels)
    for start in range(0, volume.shape[0], step):
        yield slice(start, min(start + step, volume.shape[0]))


def _finite_sample(volume: Array) -> npt.NDArray[np.float64]:
    """The finite values of `volume`, flat; of a large volume those on a regular grid."""
    volume = np.asarray(volume)
    step = max(1, math.ceil((volume.size / _SAMPLE_VOXELS) ** (1 / max(1, volume.ndim))))
    values = volume[(slice(None, None, step),) * volume.ndim].astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size and step > 1:  # a grid can miss a small object in a volume of NaN
        values = volume[np.isfinite(volume)].astype(np.float64)
    if not values.size:
        raise VolumeError("The volume holds no finite voxel value: check that it was exported completely.")
    return values


def _percentile_window(values: npt.NDArray[np.float64], low: float, high: float) -> Window:
    if not 0 <= low < high <= 100:
        raise VolumeError(f"Percentiles {low:g} and {high:g} make no window: give 0 <= low < high <= 100.")
    limits = np.clip(np.percentile(values, [low, high]), -_LARGEST, _LARGEST)
    lower, upper = _widened(float(limits[0]), float(limits[1]))
    return Window(lower, upper, f"percentiles {low:g}-{high:g}")


def _widened(lower: float, upper: float) -> tuple[float, float]:
    """The limits, or width 1 (more for huge values, where 1 is below rounding) around them if they coincide."""
    magnitude = max(abs(lower), abs(upper))
    if upper - lower > max(1e-6 * magnitude, 1e-30):
        return lower, upper
    middle, half = lower / 2 + upper / 2, max(0.5, 1e-6 * magnitude)
    return middle - half, middle + half


def _looks_like_ct(values: npt.NDArray[np.float64]) -> bool:
    """Whether the values are HU: much air, and below air nothing but one padding value."""
    lowest, highest = float(values.min()), float(values.max())
    if lowest < _CT_RANGE[0] or highest > _CT_RANGE[1]:
        return False
    air = np.mean(values <= _CT_AIR)
    stray = np.mean((values < _CT_LOWEST) & (values > lowest))
    return bool(air >= _CT_AIR_SHARE and stray <= _CT_STRAY_SHARE)
