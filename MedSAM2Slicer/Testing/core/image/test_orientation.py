"""Slices turned for reading, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import Hanging, SliceOrientation
from medsam2_core.image.region import Region

# Rows and columns of a slice as read, in LPS: to the back and to the left, or with the head up.
READ = {
    "axial": ((0, 1, 0), (1, 0, 0)),
    "coronal": ((0, 0, -1), (1, 0, 0)),
    "sagittal": ((0, 0, -1), (0, 1, 0)),
}


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Any order and sign of the axes, tilted a little."""
    tilt = Rotation.from_euler("xyz", draw(st.tuples(*[st.floats(-12, 12)] * 3)), degrees=True).as_matrix()
    signs = draw(st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3))
    direction = (tilt * signs)[:, draw(st.permutations(range(3)))]
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    rows = tuple(tuple(row) for row in direction.tolist())
    return Geometry(shape, (0.7, 1.3, 2.5), (-10.0, 20.0, 30.0), rows)


@pytest.mark.parametrize("plane", list(READ))
@given(grid=geometries())
def test_slices_are_read_as_usual(plane: str, grid: Geometry) -> None:
    orientation = SliceOrientation.upright(grid, grid.anatomical_axis(plane))
    k, j, i = np.indices(grid.shape_kji)
    lps = grid.ijk_to_ras(np.stack([i, j, k], axis=-1).reshape(-1, 3)) * (-1, -1, 1)
    turned = np.stack([orientation.turn(part.reshape(grid.shape_kji)) for part in lps.T], axis=-1)
    assert turned.shape[1:3] == orientation.shape
    for axis, wanted in ((1, READ[plane][0]), (2, READ[plane][1])):
        steps = np.diff(turned, axis=axis) @ np.array(wanted)
        assert (steps > 0).all()


@given(geometries(), st.integers(0, 2))
def test_turning_back_undoes_turning_and_the_slices_keep_their_order(grid: Geometry, axis: int) -> None:
    orientation = SliceOrientation.upright(grid, axis)
    volume = np.arange(np.prod(grid.shape_kji)).reshape(grid.shape_kji)
    turned = orientation.turn(volume)
    np.testing.assert_array_equal(orientation.turn_back(turned), volume)
    for index, stored in enumerate(np.moveaxis(volume, axis, 0)):
        assert sorted(turned[index].ravel()) == sorted(stored.ravel())


@given(geometries(), st.integers(0, 2), st.data())
def test_points_boxes_and_masks_turn_with_their_pixels(grid: Geometry, axis: int, data: st.DataObject) -> None:
    orientation = SliceOrientation.upright(grid, axis)
    rows, columns = (size for number, size in enumerate(grid.shape_kji) if number != axis)
    x, y = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
    mask = np.zeros((rows, columns), dtype=bool)
    mask[y, x] = True
    turned = orientation.turn_mask(mask)
    volume = np.broadcast_to(np.expand_dims(mask, axis), grid.shape_kji)
    np.testing.assert_array_equal(turned, orientation.turn(volume)[0])
    seen_x, seen_y = orientation.turn_point((x, y))
    assert turned[int(seen_y), int(seen_x)]
    assert orientation.turn_box((x, y, x, y)) == (seen_x, seen_y, seen_x, seen_y)


@given(geometries(), st.integers(0, 2))
def test_spacing_turns_with_its_axes(grid: Geometry, axis: int) -> None:
    orientation = SliceOrientation.upright(grid, axis)
    sizes = orientation.turn(np.empty(grid.shape_kji)).shape
    turned = orientation.turn_spacing((5.0, 6.0, 7.0))
    assert turned[0] == (5.0, 6.0, 7.0)[axis]
    by_size = dict(zip(grid.shape_kji, (5.0, 6.0, 7.0), strict=True))
    if len(by_size) == 3:
        assert turned == tuple(by_size[size] for size in sizes)


@given(geometries(), st.integers(0, 2))
def test_slices_across_hang_upright_too(grid: Geometry, axis: int) -> None:
    orientation = SliceOrientation.upright(grid, axis)
    volume = np.arange(np.prod(grid.shape_kji)).reshape(grid.shape_kji)
    turned = orientation.turn(volume)
    upright = [SliceOrientation.upright(grid, other).turn(volume) for other in range(3) if other != axis]
    others = [{(image.shape, image.tobytes()) for image in images} for images in upright]
    for place, hanging in zip((1, 2), orientation.across, strict=True):
        images = hanging.turn(np.moveaxis(turned, place, 0), 1)
        assert {(image.shape, image.tobytes()) for image in images} in others


@given(st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 2), st.integers(1, 4), st.integers(1, 3))
def test_what_hangs_otherwise_turns_back(flip: bool, swap: bool, x0: int, y0: int, width: int, height: int) -> None:
    hanging, plane = Hanging(flip, swap), np.arange(5 * 7).reshape(5, 7)
    np.testing.assert_array_equal(hanging.turn_back(hanging.turn(plane)), plane)
    region = Region(x0, y0, width, height)
    seen = hanging.turn(plane)[hanging.turn_region(region, 5).window]
    np.testing.assert_array_equal(hanging.turn_back(seen), plane[region.window])
