"""Where a volume's voxels lie in the patient: pure arithmetic between voxel, LPS and RAS coordinates."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medsam2_core.errors import VolumeError

Float = npt.NDArray[np.float64]
Triple = tuple[float, float, float]

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])
_ORTHONORMAL_TOLERANCE = 1e-3  # NIfTI's 32-bit quaternions and hand-typed cosines stay well below
_GRID_TOLERANCE = 0.1  # voxels
_RAS_AXIS = {"sagittal": 0, "coronal": 1, "axial": 2}  # the anatomical axis a plane's slices are stacked along

SHEARED = (
    "The volume's axes are not at right angles (a sheared or tilted grid): "
    "resample it to a regular grid first, for example in Slicer with Resample Scalar/Vector/DWI Volume."
)


@dataclass(frozen=True)
class Geometry:
    """The grid of a 3D volume.

    shape_kji: voxels along the array's axes. spacing_ijk: mm along i, j, k. origin_lps: mm, the center of voxel
    (0, 0, 0). direction_lps: rows of a 3x3 matrix whose columns are the unit vectors of i, j, k; either handedness.
    Raises VolumeError for an empty grid, spacing that is not above 0, or axes that are not at right angles.
    """

    shape_kji: tuple[int, int, int]
    spacing_ijk: Triple
    origin_lps: Triple
    direction_lps: tuple[Triple, Triple, Triple]

    def __post_init__(self) -> None:
        if min(self.shape_kji) < 1:
            raise VolumeError(f"The volume is empty ({size_text(self.shape_kji)} voxels): export it again.")
        if not (np.all(np.isfinite(self.spacing_ijk)) and min(self.spacing_ijk) > 0):
            raise VolumeError(f"The voxel spacing {self.spacing_ijk} mm is not above 0: correct the file's header.")
        if not np.all(np.isfinite(self.origin_lps)):
            raise VolumeError(f"The origin {self.origin_lps} is not finite: correct the file's header.")
        if not _orthonormal(self.direction_lps):
            raise VolumeError(SHEARED)

    @property
    def spacing_kji(self) -> Triple:
        """Spacing in mm along the array's axes."""
        i, j, k = self.spacing_ijk
        return k, j, i

    @property
    def affine_ijk_to_ras(self) -> Float:
        """The 4x4 matrix that takes voxel (i, j, k, 1) to RAS mm."""
        affine = np.eye(4)
        affine[:3, :3] = _RAS_FROM_LPS @ self.columns_lps
        affine[:3, 3] = _RAS_FROM_LPS @ np.asarray(self.origin_lps)
        return affine

    def ijk_to_ras(self, points: npt.ArrayLike) -> Float:
        """Voxel points (n, 3) as (i, j, k), fractions allowed, in RAS mm (n, 3)."""
        affine = self.affine_ijk_to_ras
        ras: Float = _points(points) @ affine[:3, :3].T + affine[:3, 3]
        return ras

    def ras_to_ijk(self, points: npt.ArrayLike) -> Float:
        """RAS points (n, 3) in mm as fractional voxels (i, j, k), not clipped to the grid."""
        return self.lps_to_ijk(_points(points) @ _RAS_FROM_LPS)

    def lps_to_ijk(self, points: npt.ArrayLike) -> Float:
        """LPS points (n, 3) in mm as fractional voxels (i, j, k), not clipped to the grid."""
        inverse = np.linalg.inv(self.columns_lps)
        ijk: Float = (_points(points) - np.asarray(self.origin_lps)) @ inverse.T
        return ijk

    def anatomical_axis(self, plane: str) -> int:
        """The array axis (0, 1, 2 for k, j, i) along which the slices of `plane` are stacked.

        `plane` is "axial", "coronal" or "sagittal", else VolumeError. The three planes always get three
        different axes, those whose directions together lie closest to S, A and R.
        """
        if plane not in _RAS_AXIS:
            raise VolumeError(f"Unknown plane {plane!r}: choose one of axial, coronal, sagittal.")
        # Rounding keeps a grid turned by 45 degrees from being decided by noise: the first candidate, i-j-k, wins.
        cosines = np.abs(np.asarray(self.direction_lps)).round(6)
        best = max(
            itertools.permutations(range(3)), key=lambda columns: float(cosines[range(3), columns].sum().round(5))
        )
        return 2 - best[_RAS_AXIS[plane]]

    def same_grid(self, other: Geometry) -> bool:
        """Whether both grids have the same shape and corners that agree within a tenth of a voxel."""
        return self.shape_kji == other.shape_kji and self.largest_shift(other) <= _GRID_TOLERANCE

    def largest_shift(self, other: Geometry) -> float:
        """How far, in voxels of this grid along one of its axes, a corner lies from where `other` has it."""
        k, j, i = self.shape_kji
        corners = np.array(list(itertools.product((0, i - 1), (0, j - 1), (0, k - 1))), dtype=np.float64)
        return float(np.abs(self.ras_to_ijk(other.ijk_to_ras(corners)) - corners).max())

    def part(self, start_kji: npt.ArrayLike, shape_kji: tuple[int, int, int]) -> Geometry:
        """The grid of a box of its voxels: the first one, and how many along the array's axes."""
        x, y, z = (self.ijk_to_ras([np.asarray(start_kji)[::-1]]) @ _RAS_FROM_LPS)[0].tolist()
        return replace(self, shape_kji=shape_kji, origin_lps=(x, y, z))

    @property
    def columns_lps(self) -> Float:
        """The vectors (as columns) from a voxel to the next along i, j, k, LPS mm."""
        columns: Float = np.asarray(self.direction_lps) * np.asarray(self.spacing_ijk)
        return columns

    def describe(self) -> str:
        """Size, spacing and origin in one phrase, for messages, and the axes where they are not L, P and S."""
        spacing = " x ".join(f"{value:.4g}" for value in self.spacing_ijk)
        axes = np.asarray(self.direction_lps).T
        turned = "" if np.array_equal(axes, np.eye(3)) else f" along {', '.join(_vector(axis) for axis in axes)}"
        return f"{size_text(self.shape_kji[::-1])} voxels of {spacing} mm from {_vector(self.origin_lps)} LPS{turned}"


def grid_from_affine(shape_kji: tuple[int, int, int], affine_ijk_to_ras: Float) -> Geometry:
    """The grid that a 4x4 matrix from voxels (i, j, k) to RAS mm describes. Raises VolumeError if there is none."""
    return grid_from_columns(
        shape_kji, _RAS_FROM_LPS @ affine_ijk_to_ras[:3, :3], _RAS_FROM_LPS @ affine_ijk_to_ras[:3, 3]
    )


def grid_from_columns(shape_kji: tuple[int, int, int], columns: Float, origin: Float) -> Geometry:
    """The grid whose voxel (i, j, k) lies at origin + columns @ (i, j, k), LPS mm. VolumeError if there is none."""
    spacing = np.linalg.norm(columns, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.nan_to_num(columns / spacing).tolist()
    (i, j, k), (x, y, z) = spacing.tolist(), origin.tolist()
    return Geometry(shape_kji, (i, j, k), (x, y, z), (_triple(rows[0]), _triple(rows[1]), _triple(rows[2])))


def quaternion(turn: Float) -> tuple[float, float, float]:
    """Parts b, c, d of the quaternion of a rotation (3, 3) whose part a is not negative."""
    left, _, right = np.linalg.svd(turn)  # the nearest one that is a rotation
    m = left @ right
    # The eigenvector of the largest eigenvalue, which is steady for any angle (Bar-Itzhack 2000).
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    b, c, d, a = np.linalg.eigh(k)[1][:, -1]
    sign = -1.0 if a < 0 else 1.0
    return float(b * sign), float(c * sign), float(d * sign)


def _triple(values: list[float]) -> Triple:
    return values[0], values[1], values[2]


def _points(points: npt.ArrayLike) -> Float:
    return np.asarray(points, dtype=np.float64).reshape(-1, 3)


def _orthonormal(direction: tuple[Triple, Triple, Triple]) -> bool:
    matrix = np.asarray(direction)
    return bool(np.all(np.abs(matrix.T @ matrix - np.eye(3)) <= _ORTHONORMAL_TOLERANCE))


def _vector(values: Iterable[float]) -> str:
    return f"({', '.join(f'{value:.5g}' for value in values)})"


def require_axis(axis: int) -> None:
    """Raise VolumeError unless a volume has this array axis."""
    if axis not in (0, 1, 2):
        raise VolumeError(f"Axis {axis} does not exist: give 0, 1 or 2 (k, j or i of the array).")


def size_text(shape: tuple[int, ...]) -> str:
    """A size in words: "512 x 512 x 133"."""
    return " x ".join(str(size) for size in shape)
