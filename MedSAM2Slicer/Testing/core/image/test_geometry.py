"""Voxel, LPS and RAS coordinates."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def geometry(direction: np.ndarray, shape=(5, 6, 7), spacing=(0.7, 1.5, 3.0), origin=(-10.0, 20.0, 30.0)) -> Geometry:
    rows = tuple(tuple(row) for row in np.asarray(direction, dtype=float).tolist())
    return Geometry(shape, spacing, origin, rows)


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    angles = draw(st.tuples(*[st.floats(-180, 180)] * 3))
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    order = draw(st.permutations(range(3)))
    direction = (Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * signs)[:, order]
    spacing = draw(st.tuples(*[st.floats(0.1, 10)] * 3))
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    shape = draw(st.tuples(*[st.integers(1, 20)] * 3))
    return geometry(direction, shape, spacing, origin)


POINTS = st.lists(st.tuples(*[st.floats(-100, 100)] * 3), min_size=1, max_size=5)


@given(geometries(), POINTS)
def test_voxels_and_ras_are_inverse(grid: Geometry, points: list[tuple[float, float, float]]) -> None:
    np.testing.assert_allclose(grid.ras_to_ijk(grid.ijk_to_ras(points)), points, atol=1e-8)


@given(geometries(), POINTS)
def test_lps_agrees_with_simpleitk(grid: Geometry, points: list[tuple[float, float, float]]) -> None:
    image = sitk.Image(grid.shape_kji[::-1], sitk.sitkUInt8)
    image.SetSpacing(grid.spacing_ijk)
    image.SetOrigin(grid.origin_lps)
    image.SetDirection(np.ravel(grid.direction_lps).tolist())
    lps = np.array([image.TransformContinuousIndexToPhysicalPoint(point) for point in points])
    np.testing.assert_allclose(grid.ijk_to_ras(points), lps * [-1, -1, 1], atol=1e-8)
    np.testing.assert_allclose(grid.lps_to_ijk(lps), points, atol=1e-8)


@given(geometries())
def test_the_affine_places_the_first_voxel_and_the_steps(grid: Geometry) -> None:
    affine = grid.affine_ijk_to_ras
    np.testing.assert_allclose(affine[:3, 3], np.multiply(grid.origin_lps, (-1, -1, 1)))
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), grid.spacing_ijk)
    assert affine[3].tolist() == [0, 0, 0, 1]


@given(geometries())
def test_planes_always_get_three_different_axes(grid: Geometry) -> None:
    axes = [grid.anatomical_axis(plane) for plane in ("axial", "coronal", "sagittal")]
    assert sorted(axes) == [0, 1, 2]
    cosines = np.abs(np.asarray(grid.direction_lps))  # [LPS axis, ijk axis]
    chosen = sum(cosines[world, 2 - axis] for world, axis in zip((2, 1, 0), axes, strict=True))
    best = max(cosines[range(3), order].sum() for order in itertools.permutations(range(3)))
    assert chosen == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("columns", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((-1, 1), repeat=3)))
def test_planes_of_every_axis_aligned_grid(columns: tuple[int, ...], signs: tuple[int, ...]) -> None:
    grid = geometry(np.eye(3)[:, columns] * signs)  # voxel axis a runs along the anatomical axis columns[a]
    for plane, world in (("sagittal", 0), ("coronal", 1), ("axial", 2)):
        assert grid.anatomical_axis(plane) == 2 - columns.index(world)


@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
def test_a_grid_turned_by_half_a_right_angle_is_decided_without_noise(noise: float) -> None:
    grid = geometry(Rotation.from_euler("x", 45 + noise, degrees=True).as_matrix())
    assert [grid.anatomical_axis(plane) for plane in ("axial", "coronal", "sagittal")] == [0, 1, 2]


def test_an_unknown_plane_lists_the_choices() -> None:
    with pytest.raises(VolumeError, match="choose one of axial, coronal, sagittal"):
        geometry(np.eye(3)).anatomical_axis("transverse")


def test_spacing_in_array_order() -> None:
    assert geometry(np.eye(3)).spacing_kji == (3.0, 1.5, 0.7)


def test_same_grid_allows_rounding_but_no_flip_shift_or_other_size() -> None:
    grid = geometry(np.eye(3))
    assert grid.same_grid(dataclasses.replace(grid, origin_lps=(-10.01, 20.0, 30.0)))
    assert not grid.same_grid(dataclasses.replace(grid, origin_lps=(-10.3, 20.0, 30.0)))
    assert not grid.same_grid(dataclasses.replace(grid, spacing_ijk=(0.8, 1.5, 3.0)))
    assert not grid.same_grid(dataclasses.replace(grid, shape_kji=(5, 6, 8)))
    assert not grid.same_grid(geometry(np.diag([1, -1, 1])))


def test_the_description_names_size_spacing_and_origin() -> None:
    assert geometry(np.eye(3)).describe() == "7 x 6 x 5 voxels of 0.7 x 1.5 x 3 mm from (-10, 20, 30) LPS"


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"shape_kji": (5, 0, 7)}, r"empty \(5 x 0 x 7 voxels\): export it again"),
        ({"spacing_ijk": (1.0, 0.0, 1.0)}, "not above 0: correct the file's header"),
        ({"spacing_ijk": (1.0, float("nan"), 1.0)}, "not above 0: correct the file's header"),
        ({"origin_lps": (float("inf"), 0.0, 0.0)}, "not finite: correct the file's header"),
        ({"direction_lps": ((1.0, 0.3, 0.0), IDENTITY[1], IDENTITY[2])}, "resample it to a regular grid first"),
        ({"direction_lps": (IDENTITY[0], IDENTITY[0], IDENTITY[2])}, "resample it to a regular grid first"),
    ],
)
def test_grids_that_are_none_are_refused(change: dict[str, tuple], advice: str) -> None:
    with pytest.raises(VolumeError, match=advice):
        dataclasses.replace(geometry(np.eye(3)), **change)
