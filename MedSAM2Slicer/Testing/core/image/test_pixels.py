"""Stacks of slices."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medsam2_core.errors import VolumeError
from medsam2_core.image.orientation import Hanging
from medsam2_core.image.pixels import ImageFacts, ImageStack, VolumeStack
from medsam2_core.image.window import Window

WINDOW = Window(0, 255, "all")


@given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 2), st.booleans())
def test_slices_are_those_of_the_array(shape: tuple[int, int, int], axis: int, flipped: bool) -> None:
    volume = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    volume = volume[::-1, :, ::-1] if flipped else volume
    stack = VolumeStack(volume, (2.0, 3.0, 5.0), axis, WINDOW)
    assert len(stack) == shape[axis]
    for index in range(len(stack)):
        wanted = np.take(volume, index, axis)
        assert stack.shape(index) == wanted.shape
        image = stack.image(index).numpy()
        np.testing.assert_allclose(image, wanted / 255, atol=1e-6)
    assert stack.spacing(0) == tuple(np.delete((2.0, 3.0, 5.0), axis))


def test_images_lie_between_black_and_white() -> None:
    volume = np.array([[[-5000.0, 0, 100, 200, 9e9, np.nan, np.inf, -np.inf]]])
    image = VolumeStack(volume, (1, 1, 1), 0, Window(0, 200, "w")).image(0)
    np.testing.assert_allclose(image[0], [0, 0, 128 / 255, 1, 1, 0, 1, 0])


def test_the_users_voxels_are_neither_kept_nor_changed() -> None:
    volume = np.full((2, 3, 4), 128, np.int16)
    stack = VolumeStack(volume, (1, 1, 1), 0, WINDOW)
    stack.image(0)[:] = 0
    assert (volume == 128).all()
    volume[:] = 0
    assert (stack.image(0) > 0.5).all()


def test_each_image_of_a_set_has_its_own_size_and_window() -> None:
    dim = np.linspace(0, 1, 12).reshape(3, 4)
    bright = np.linspace(0, 1000, 40).reshape(5, 8)
    stack = ImageStack([dim, bright[::-1]], None)
    assert len(stack) == 2
    assert [stack.shape(index) for index in range(2)] == [(3, 4), (5, 8)]
    assert stack.spacing(0) == (1.0, 1.0)
    for index in range(2):
        assert stack.image(index).min() < 0.05
        assert stack.image(index).max() > 0.95
    assert stack.image(1)[0, 0] > stack.image(1)[-1, -1]
    together = ImageStack([dim, bright], Window(0, 1000, "same"))
    assert together.image(0).max() < 0.01


@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4), (3, 0, 4)])
def test_only_volumes_make_volume_stacks(shape: tuple[int, ...]) -> None:
    with pytest.raises(VolumeError, match="cannot be segmented"):
        VolumeStack(np.ones(shape), (1, 1, 1), 0, WINDOW)


@pytest.mark.parametrize("axis", [-1, 3])
def test_only_three_axes(axis: int) -> None:
    with pytest.raises(VolumeError, match="give 0, 1 or 2"):
        VolumeStack(np.ones((2, 2, 2)), (1, 1, 1), axis, WINDOW)


@pytest.mark.parametrize("mm", [0.0, -1.6, float("nan"), float("inf"), 1e300, 1e-300, None, "a"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_spacing_that_is_none_is_refused(mm: float, axis: int) -> None:
    spacing = tuple(mm if axis == one else 0.8 for one in range(3))
    with pytest.raises(
        VolumeError, match=r"The spacing .* cannot be used: give 3 numbers of mm, each above 0, from 1e-09 to 1e\+09"
    ):
        VolumeStack(np.ones((2, 2, 2)), spacing, 0, WINDOW)
    with pytest.raises(VolumeError, match="give 2 numbers of mm"):
        ImageFacts.of(np.ones((2, 2)), WINDOW, (1.0, mm))


@pytest.mark.parametrize("spacing", [(), (1.0,), (1.0, 1.0, 1.0, 1.0), 1.0, "abc"])
def test_a_spacing_of_another_length_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(VolumeError, match="give 3 numbers of mm"):
        VolumeStack(np.ones((2, 2, 2)), spacing, 0, WINDOW)
    with pytest.raises(VolumeError, match="give 2 numbers of mm"):
        ImageFacts.of(np.ones((2, 2)), WINDOW, spacing)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (2, 3, 3), (0, 4)])
def test_only_images_make_a_set(shape: tuple[int, ...]) -> None:
    with pytest.raises(VolumeError, match="Image 1: It has shape"):
        ImageStack([np.ones((2, 2)), np.ones(shape)], WINDOW)
    with pytest.raises(VolumeError, match="empty"):
        ImageStack([], WINDOW)


@pytest.mark.parametrize("hanging", [Hanging(), Hanging(True), Hanging(swap=True), Hanging(True, True)])
@pytest.mark.parametrize("axis", [1, 2])
def test_slices_across_are_the_same_voxels_with_their_own_spacing(axis: int, hanging: Hanging) -> None:
    volume = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    stack = VolumeStack(volume, (2.0, 3.0, 5.0), 0, Window(0, 255, "gray"))
    across = stack.across(axis, hanging)
    wanted = hanging.turn(np.moveaxis(volume, axis, 0), 1)
    assert len(across) == len(wanted)
    assert across.slice_mm == (3.0, 5.0)[axis - 1]
    assert sorted(across.spacing(0)) == sorted((2.0, (5.0, 3.0)[axis - 1]))
    assert across.spacing(0)[1 if hanging.swap else 0] == 2.0
    np.testing.assert_array_equal((across.image(1) * 255).round().numpy().astype(np.uint8), wanted[1])
    volume[:] = 7
    assert float(across.image(1).max()) == pytest.approx(7 / 255)  # nothing was copied
    color = np.stack([volume] * 3, axis=-1)
    color[..., 1] = 9
    in_color = VolumeStack(color, (2.0, 3.0, 5.0), 0, Window(0, 255, "gray")).across(axis, hanging)
    assert in_color.image(1).shape == (3, *across.shape(1))
    assert in_color.image(1)[1].unique().tolist() == pytest.approx([9 / 255])


def test_colors_are_seen_as_they_are() -> None:
    color = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    along_j = VolumeStack(color, (2, 3, 4), 1, WINDOW)
    assert (len(along_j), along_j.shape(0), along_j.spacing(0)) == (4, (5, 6), (2, 4))
    assert np.array_equal(along_j.image(2).numpy() * 255, color[:, 2].transpose(2, 0, 1).astype(np.float32))
    mixed = ImageStack([color[0], color[1, :, :, 0]], Window(0, 1000, "for gray ones"))
    assert mixed.image(0).shape == (3, 4, 6)
    assert mixed.image(0).max() > 0.9
    assert mixed.image(1).max() < 0.3


def test_equal_images_have_one_key_and_others_do_not() -> None:
    image = np.arange(12, dtype=np.int16).reshape(3, 4)
    keys = [ImageFacts.of(one, WINDOW).key for one in (image, image.astype(float), image.reshape(4, 3), image + 40)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_pixels_beyond_the_budget_are_taken_again() -> None:
    class Counting:
        taken: ClassVar[list[int]] = []

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> np.ndarray:
            self.taken.append(index)
            return np.full((10, 10), index, np.uint8)

    images = Counting()
    stack = ImageStack(images, Window(0, 255, "all"), max_bytes=250)
    images.taken.clear()
    for index in (0, 1, 0, 2, 1, 0):
        assert stack.pixels(index).max() == index
    assert images.taken == [0, 1, 2, 1, 0]


def test_slices_go_to_the_device_that_asks_for_them() -> None:
    gray = VolumeStack(np.zeros((2, 3, 4), np.int16), (1, 1, 1), 0, WINDOW)
    color = ImageStack([np.zeros((3, 4, 3), np.uint8)] * 2)
    for stack, shape in ((gray, (3, 4)), (color, (3, 3, 4))):
        image = stack.image(1, torch.device("meta"))
        assert (image.device.type, image.shape, image.dtype) == ("meta", shape, torch.float32)
