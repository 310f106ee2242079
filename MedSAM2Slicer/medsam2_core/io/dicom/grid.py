"""Slices held against a regular grid: accepted only where every one lies where the grid says, else refused by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float, Geometry, grid_from_columns
from medsam2_core.io.dicom.headers import Frame, cross

_LARGEST_ERROR_MM = 0.01
_LARGEST_ERROR = 0.05  # of the smallest spacing, for voxels that are smaller than usual
_SMALLEST_TILT = 5e-4  # radians; what rounding of positions and of unit vectors can make
_RESAMPLE = (
    "use `medsam2 propagate --resample` (resample=True in Python), which works on a regular grid and brings the mask "
    "back to these"
)


@dataclass(frozen=True)
class Slices:
    """Frames in order along their normal, of one shape, spacing and orientation; `positions` (n, 3) in LPS mm."""

    frames: tuple[Frame, ...]
    positions: Float
    row: Float  # unit vector along a row (but for rounding), so the direction of i
    column: Float  # of j
    spacing: tuple[float, float]  # between rows, between columns

    @property
    def normal(self) -> Float:
        """Unit vector from slice to slice."""
        normal = np.cross(self.row, self.column)
        unit: Float = normal / np.linalg.norm(normal)
        return unit

    @property
    def heights(self) -> Float:
        """Where the slices lie along the normal, ascending, mm."""
        heights: Float = self.positions @ self.normal
        return heights

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frames[0].shape

    @property
    def line(self) -> tuple[Float, Float]:
        """The straight line nearest to all slices: where it has the first one, and the step to the next, LPS mm.

        Raises VolumeError for a single slice without thickness.
        """
        step = _step(self)
        origin: Float = (self.positions - np.arange(len(self.frames))[:, None] * step).mean(axis=0)
        return origin, step

    @property
    def columns(self) -> Float:
        """The vectors (as columns) from a pixel to the next along i and j, and along the line of slices, LPS mm."""
        _, step = self.line
        return np.column_stack([self.row * self.spacing[1], self.column * self.spacing[0], step])

    @property
    def deviation(self) -> float:
        """How far, in mm, a slice lies from where the line has it, at most."""
        origin, step = self.line
        on_line = origin + np.arange(len(self.frames))[:, None] * step
        return float(np.linalg.norm(self.positions - on_line, axis=1).max())

    def tolerance(self, step: float) -> float:
        """How far, in mm, a slice may lie from where a grid of that step says."""
        return min(_LARGEST_ERROR_MM, _LARGEST_ERROR * min(*self.spacing, step))


def arrange(frames: Sequence[Frame]) -> Slices:
    """Sort frames along their normal.

    Raises VolumeError unless all say where they lie and have one size, spacing and orientation, and no two one place.
    """
    for what, value in (("position", "position"), ("orientation", "orientation"), ("pixel spacing", "spacing")):
        missing = sum(getattr(frame, value) is None for frame in frames)
        if missing:
            raise VolumeError(
                f"{missing} of {counted(len(frames), 'DICOM slice')} {'has' if missing == 1 else 'have'} no {what}, so "
                "the place in the patient is not known: "
                "export the series again from where it was made, not as screen captures or from an anonymizer."
            )
    _require_equal("sizes", frames, [frame.shape for frame in frames])
    found = _arranged(frames)
    if not min(found.spacing) > 0:
        raise VolumeError(f"The pixel spacing is {found.spacing} mm, which is not above 0: export the series again.")
    rows, columns = found.shape
    reach = np.array([columns * found.spacing[1]] * 3 + [rows * found.spacing[0]] * 3)
    limit = min(_LARGEST_ERROR_MM, _LARGEST_ERROR * min(found.spacing))
    _require_equal("orientations", frames, [np.array(frame.orientation).ravel() for frame in frames], limit / reach)
    spans = [np.multiply(frame.spacing, found.shape) for frame in frames]  # type: ignore[arg-type]
    _require_equal("pixel spacings", frames, spans, limit)
    _require_apart(found)
    return found


def step_mm(frames: Sequence[Frame]) -> float | None:
    """What most slices lie apart, or how thick the only one is, mm; None where that is not said."""
    placed = [frame for frame in frames if frame.position is not None and frame.orientation is not None]
    if len(placed) < 2:
        return placed[0].thickness if placed else None
    slices = _arranged(placed)
    return float(np.median(np.diff(slices.heights)))


def regular_geometry(slices: Slices) -> Geometry:
    """The grid the slices lie on. Raises VolumeError, with the tilt or the gaps, if they lie on none."""
    origin, step = slices.line
    size = float(np.linalg.norm(step))
    tilt = math.acos(min(1.0, float(step / size @ slices.normal)))
    if tilt > _SMALLEST_TILT:
        _refuse_tilt(tilt)
    if slices.deviation > slices.tolerance(size):
        _refuse_uneven(slices)
    return grid_from_columns((len(slices.frames), *slices.shape), slices.columns, origin)


def _step(slices: Slices) -> Float:
    """From slice to slice, LPS mm; for a single slice its thickness."""
    count = len(slices.frames)
    if count == 1:
        thickness = slices.frames[0].thickness
        if thickness is None or thickness == 0:
            raise VolumeError("The only slice has no thickness, so its volume is not known: give the whole series.")
        return slices.normal * abs(thickness)
    places = np.arange(count) - (count - 1) / 2
    step: Float = places @ slices.positions / (places @ places)
    return step


def _arranged(frames: Sequence[Frame]) -> Slices:
    row, column = np.array(frames[0].orientation)  # not made longer or shorter: they are what the headers reckon with
    positions = np.array([frame.position for frame in frames])
    order = np.argsort(positions @ np.asarray(cross(row, column)), kind="stable")
    spacing = frames[0].spacing or (1.0, 1.0)
    return Slices(tuple(frames[place] for place in order), positions[order], row, column, spacing)


def _require_equal(what: str, frames: Sequence[Frame], values: Sequence[object], limit: object = 0) -> None:
    array = np.asarray(values, dtype=np.float64)
    differing = np.flatnonzero((np.abs(array - np.median(array, axis=0)) > limit).any(axis=1))
    if differing.size:
        names = ", ".join(frames[place].path.name for place in differing[:3])
        differ = "differs" if len(differing) == 1 else "differ"
        raise VolumeError(
            f"The slices have different {what} ({len(differing)} of {len(frames)} {differ} from most: {names}): give a "
            "folder without those, or export the series again."
        )


def _require_apart(slices: Slices) -> None:
    gaps = np.diff(slices.heights)
    if not gaps.size:
        return
    same = np.flatnonzero(gaps <= _LARGEST_ERROR * np.median(gaps))
    if same.size:
        one, other = slices.frames[same[0]], slices.frames[same[0] + 1]
        raise VolumeError(
            f"{same.size + 1} or more slices lie in one place (such as {_name(one)} and {_name(other)}), so the series "
            "holds duplicate slices or several volumes that nothing tells apart: export each volume by itself."
        )


def _name(frame: Frame) -> str:
    return f"{frame.path.name}" + (f" frame {frame.index + 1}" if frame.index else "")


def _refuse_tilt(tilt: float) -> None:
    raise VolumeError(
        f"The slices are tilted by {math.degrees(tilt):.1f} degrees relative to the direction they are stacked in (a "
        f"tilted gantry, or slices shifted sideways), which no grid with right angles can hold: {_RESAMPLE} slices."
    )


def _refuse_uneven(slices: Slices) -> None:
    gaps = np.linalg.norm(np.diff(slices.positions, axis=0), axis=1)
    raise VolumeError(
        f"Slices are missing, duplicated, shifted or unevenly spaced (gaps of {gaps.min():.4g} to {gaps.max():.4g} "
        f"mm): export the series again, or {_RESAMPLE} slices."
    )
