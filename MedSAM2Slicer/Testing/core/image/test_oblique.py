"""Slices at any angle: where they lie, what they show, and that they share the volume's voxels out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.oblique import ObliqueSlices
from medsam2_core.training.metrics import dice


def stored(shape=(20, 30, 26), spacing=(0.8, 0.8, 2.0), direction=None, origin=(-10.0, 20.0, 30.0)) -> Geometry:
    rows = np.eye(3) if direction is None else direction
    return Geometry(shape, spacing, origin, tuple(tuple(row) for row in np.asarray(rows, dtype=float).tolist()))


def plane(rotation: np.ndarray, geometry: Geometry, ijk=None) -> np.ndarray:
    """A plane with the columns of `rotation` through a voxel, the middle one if none is given."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    middle = (np.array(geometry.shape_kji[::-1]) - 1) / 2
    matrix[:3, 3] = geometry.ijk_to_ras([middle if ijk is None else ijk])[0]
    return matrix


def tilted(degrees: float, axis: str = "x") -> np.ndarray:
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def whole(slices: ObliqueSlices) -> tuple[slice, slice, slice]:
    k, j, i = (slice(0, size) for size in slices.stored.shape_kji)
    return k, j, i


def ellipsoid(geometry: Geometry, radii: tuple[float, float, float]) -> np.ndarray:
    """The voxels (k, j, i) of an ellipsoid in the middle, radii in mm along k, j, i."""
    places = np.indices(geometry.shape_kji).T - (np.array(geometry.shape_kji) - 1) / 2
    return np.asarray(((places * geometry.spacing_kji / radii) ** 2).sum(axis=-1).T <= 1)


def in_volume(slices: ObliqueSlices, masks: np.ndarray) -> np.ndarray:
    marked = np.zeros(slices.stored.shape_kji, dtype=bool)
    for index, mask in enumerate(masks):
        box = slices.box(index, mask)
        if box is not None:
            voxels = slices.voxels(index, box)
            marked[voxels] = mask[slices.pixels(voxels)]
    return marked


@st.composite
def anyslices(draw: st.DrawFn) -> ObliqueSlices:
    """Any grid of either handedness, and any plane, among them ones where voxels lie half-way between slices."""
    angle = st.one_of(st.sampled_from((0.0, 30.0, 45.0, 90.0)), st.floats(-180, 180))
    turn = Rotation.from_euler("xyz", draw(st.tuples(angle, angle, angle)), degrees=True).as_matrix()
    view = Rotation.from_euler("xyz", draw(st.tuples(angle, angle, angle)), degrees=True).as_matrix()
    mirror = np.diag(draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)))
    spacing = draw(st.tuples(*[st.one_of(st.just(1.0), st.floats(0.3, 5))] * 3))
    shape = draw(st.tuples(*[st.integers(1, 12)] * 3))
    geometry = stored(shape, spacing, turn @ mirror)
    ijk = draw(st.tuples(*[st.one_of(st.sampled_from((0.0, 0.5, 3.0)), st.floats(-5, 15))] * 3))
    return ObliqueSlices(geometry, plane(view @ np.diag([-1.0, 1.0, 1.0]), geometry, ijk))


@given(anyslices())
@settings(deadline=None, max_examples=200)
def test_each_voxel_belongs_to_one_slice(slices: ObliqueSlices) -> None:
    owners = np.full(slices.stored.shape_kji, -1)
    for index in range(slices.geometry.shape_kji[0]):
        voxels = slices.voxels(index, whole(slices))
        assert (owners[voxels] == -1).all()
        owners[voxels] = index
        assert len(set(zip(*voxels, strict=True))) == voxels[0].size
    np.testing.assert_array_equal(owners.ravel(), slices.indexes(tuple(np.indices(owners.shape).reshape(3, -1))))
    assert owners.min() >= 0


@given(anyslices())
@settings(deadline=None)
def test_a_voxel_belongs_to_the_slice_and_pixel_nearest_to_it(slices: ObliqueSlices) -> None:
    k, j, i = tuple(np.indices(slices.stored.shape_kji).reshape(3, -1))
    x, y, along = slices.geometry.ras_to_ijk(slices.stored.ijk_to_ras(np.stack([i, j, k], axis=1))).T
    rows, columns = slices.pixels((k, j, i))
    for exact, found in ((along, slices.indexes((k, j, i))), (y, rows), (x, columns)):
        assert np.abs(exact - found).max() <= 0.5 + 1e-6


@given(anyslices())
@settings(deadline=None)
def test_one_slice_lies_in_the_plane(slices: ObliqueSlices) -> None:
    _, _, along = slices.geometry.ras_to_ijk([slices.plane[:3, 3]])[0]
    assert along == pytest.approx(round(along), abs=1e-6)
    directions = slices.geometry.affine_ijk_to_ras[:3, :3] / slices.geometry.spacing_ijk
    np.testing.assert_allclose(directions, slices.plane[:3, :3], atol=1e-9)


@given(anyslices(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_box_of_a_mask_holds_all_it_marks(slices: ObliqueSlices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, rows, columns = slices.geometry.shape_kji
    index, mask = int(rng.integers(count)), np.zeros((rows, columns), bool)
    (top, bottom), (left, right) = np.sort(rng.integers(0, rows, 2)), np.sort(rng.integers(0, columns, 2))
    mask[top : bottom + 1, left : right + 1] = True
    voxels = slices.voxels(index, whole(slices))
    marked = set(zip(*(one[mask[slices.pixels(voxels)]] for one in voxels), strict=True))
    box = slices.box(index, mask)
    found = set() if box is None else set(zip(*slices.voxels(index, box), strict=True))
    assert marked <= found
    assert slices.box(index, np.zeros_like(mask)) is None


def test_a_mask_beside_the_volume_marks_nothing() -> None:
    geometry = stored((20, 40, 40), (1.0, 1.0, 1.0))
    slices = ObliqueSlices(geometry, plane(tilted(45), geometry))
    corner = np.zeros(slices.geometry.shape_kji[1:], bool)
    corner[0, 0] = True
    assert slices.box(len(corner) // 2, corner) is None


def test_slices_along_stored_ones_are_these() -> None:
    geometry = stored()
    slices = ObliqueSlices(geometry, plane(np.diag([-1.0, -1.0, 1.0]), geometry, (4, 5, 7)))  # LPS axes, as stored
    assert slices.geometry.same_grid(geometry)
    gray = np.random.default_rng(0).integers(0, 256, geometry.shape_kji).astype(np.uint8)
    np.testing.assert_array_equal(slices.resample(gray), gray)
    np.testing.assert_array_equal(slices.read_all(gray > 99), gray > 99)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_spacing_follows_the_angle(axis: str) -> None:
    geometry = stored(spacing=(0.8, 0.8, 2.0))
    spacings = {
        degrees: ObliqueSlices(geometry, plane(tilted(degrees, axis), geometry)).geometry.spacing_ijk
        for degrees in (0, 30, 90)
    }
    assert spacings[0] == pytest.approx((0.8, 0.8, 2.0))
    assert spacings[30] == pytest.approx((0.8, 0.8, np.hypot(2.0 * np.cos(np.pi / 6), 0.8 * 0.5)))
    assert spacings[90] == pytest.approx((0.8, 0.8, 0.8))


def test_slices_have_at_most_512_pixels_along_a_side() -> None:
    geometry = stored((400, 600, 500), (0.7, 0.7, 1.0))
    slices = ObliqueSlices(geometry, plane(tilted(30), geometry))
    assert max(slices.geometry.shape_kji[1:]) == 512
    assert slices.geometry.spacing_ijk[0] == slices.geometry.spacing_ijk[1] > 0.7


@given(anyslices(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_voxels_are_interpolated_and_outside_is_black(slices: ObliqueSlices, seed: int) -> None:
    shape = slices.stored.shape_kji
    gray = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    pixels = np.indices(slices.geometry.shape_kji).reshape(3, -1)[::-1].T
    places = slices.stored.ras_to_ijk(slices.geometry.ijk_to_ras(pixels))[:, ::-1].T
    expected = map_coordinates(gray.astype(float), places, order=1, mode="nearest")
    beyond = np.max(
        [np.maximum(-0.5 - one, one - (size - 0.5)) for one, size in zip(places, shape, strict=True)], axis=0
    )
    shown = slices.resample(gray).ravel()
    np.testing.assert_allclose(shown[beyond < -1e-3], expected[beyond < -1e-3], atol=0.6)
    assert not shown[beyond > 1e-3].any()


@pytest.mark.parametrize("mirrored", [1.0, -1.0])
@pytest.mark.parametrize("spacing", [(0.8, 0.8, 0.8), (0.8, 0.8, 2.5), (2.5, 0.8, 0.8)])
@pytest.mark.parametrize(("degrees", "axis"), [(30, "x"), (30, "y"), (45, "x"), (60, "y")])
def test_an_object_keeps_its_shape_there_and_back(
    degrees: float, axis: str, spacing: tuple[float, float, float], mirrored: float
) -> None:
    shape = tuple(int(64 / step) for step in spacing[::-1])
    geometry = stored(shape, spacing, np.diag([1.0, mirrored, 1.0]))
    slices = ObliqueSlices(geometry, plane(tilted(degrees, axis), geometry))
    wanted = ellipsoid(geometry, (24.0, 18.0, 14.0))
    masks = slices.read_all(wanted)
    assert dice(in_volume(slices, masks), wanted) > 0.95
    assert dice(slices.read_all(in_volume(slices, masks)), masks) > 0.95


def test_a_slice_is_read_from_its_own_voxels() -> None:
    geometry = stored((40, 60, 60), (0.8, 0.8, 2.0))
    slices = ObliqueSlices(geometry, plane(tilted(30), geometry))
    count, rows, columns = slices.geometry.shape_kji
    y, x = np.indices((rows, columns))
    masks = np.zeros((count, rows, columns), bool)
    masks[count // 2] = (x - columns / 2) ** 2 + (y - rows / 2) ** 2 < 15**2
    drawn = in_volume(slices, masks)
    assert dice(slices.read(count // 2, drawn), masks[count // 2]) > 0.96
    assert not slices.read(count // 2 + 1, drawn).any()
    assert not slices.read(count // 2 - 1, drawn).any()
    part = drawn[5:, 3:50, 2:]
    assert part.sum() == drawn.sum()
    np.testing.assert_array_equal(slices.read(count // 2, part, (5, 3, 2)), slices.read(count // 2, drawn))


def test_the_plane_alone_repeats_the_slices() -> None:
    geometry = stored()
    first = ObliqueSlices(geometry, plane(Rotation.from_rotvec([0.3, 0.5, -0.2]).as_matrix(), geometry))
    again = ObliqueSlices(geometry, json.loads(json.dumps(first.plane.tolist())))
    gray = np.random.default_rng(0).integers(0, 256, geometry.shape_kji).astype(np.uint8)
    assert again.geometry == first.geometry
    np.testing.assert_array_equal(again.resample(gray), first.resample(gray))


def test_a_plane_may_move_but_not_turn() -> None:
    geometry = stored()
    slices = ObliqueSlices(geometry, plane(tilted(30), geometry))
    assert slices.is_parallel(plane(tilted(30) * 7.0, geometry, (1, 2, 3)))
    assert not slices.is_parallel(plane(tilted(30.1), geometry))
    assert not slices.is_parallel(plane(tilted(30) @ tilted(1, "z"), geometry))
    assert not slices.is_parallel(plane(tilted(30) @ np.diag([1.0, 1.0, -1.0]), geometry))


@pytest.mark.parametrize("directions", [np.zeros((3, 3)), np.ones((3, 3)), np.full((3, 3), np.nan)])
def test_directions_that_span_no_plane_are_refused(directions: np.ndarray) -> None:
    with pytest.raises(VolumeError, match="span no plane: reset its orientation"):
        ObliqueSlices(stored(), plane(directions, stored()))
