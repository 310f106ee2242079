"""Intensity windows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import open_data
from medsam2_core.errors import VolumeError
from medsam2_core.image.window import CT_PRESETS, Window
from medsam2_core.io import read_volume
from medsam2_core.run.file_settings import read_settings

REAL_TYPES = ("bool", "uint8", "int8", "uint16", "int16", "int32", "float16", "float32", "float64")
SMALL = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)


def volumes(types: tuple[str, ...] = REAL_TYPES) -> st.SearchStrategy[np.ndarray]:
    return st.sampled_from(types).flatmap(lambda name: hnp.arrays(name, SMALL))


@pytest.mark.parametrize(
    ("name", "level", "width"),
    [
        ("abdomen", 40, 400),
        ("lung", -600, 1500),
        ("bone", 400, 1800),
        ("brain", 40, 80),
        ("mediastinum", 50, 350),
        ("liver", 60, 160),
        ("angio", 300, 600),
    ],
)
def test_ct_presets_are_the_usual_level_and_width(name: str, level: float, width: float) -> None:
    assert Window.ct(name) == Window(level - width / 2, level + width / 2, name)
    assert name in CT_PRESETS


def test_gray_values_of_a_known_window() -> None:
    window = Window.level_width(40, 400)
    hu = np.array([-2048, -160, 40, 240, 3071, np.nan, -np.inf, np.inf], dtype=np.float32)
    assert window.to_uint8(hu).tolist() == [0, 0, 128, 255, 255, 0, 0, 255]


@given(volumes(), st.floats(-3000, 3000), st.floats(0.1, 5000))
def test_gray_values_are_the_clipped_line_and_the_input_stays(volume: np.ndarray, level: float, width: float) -> None:
    before = volume.copy()
    window = Window.level_width(level, width)
    gray = window.to_uint8(volume)
    with np.errstate(over="ignore"):
        line = (volume.astype(np.float64) - window.lower) / (window.upper - window.lower)
    expected = np.nan_to_num(np.clip(line, 0, 1), nan=0.0) * 255
    assert gray.dtype == np.uint8
    assert gray.shape == volume.shape
    assert np.abs(gray - expected).max() <= 0.5
    np.testing.assert_array_equal(volume, before)


@given(volumes())
def test_a_higher_value_is_never_darker(volume: np.ndarray) -> None:
    ordered = np.sort(volume.ravel())
    ordered = ordered[~np.isnan(ordered.astype(np.float64))]
    assert np.all(np.diff(Window.ct("abdomen").to_uint8(ordered).astype(int)) >= 0)


@given(volumes())
def test_percentiles_and_auto_give_a_usable_window_or_a_clear_refusal(volume: np.ndarray) -> None:
    if not np.isfinite(volume).any():
        with pytest.raises(VolumeError, match="no finite voxel value: check that it was exported"):
            Window.percentiles(volume)
        return
    for window in (Window.percentiles(volume), Window.auto(volume)):
        assert np.isfinite([window.lower, window.upper]).all()
        assert window.lower < window.upper
        window.to_uint8(volume)


@pytest.mark.parametrize("value", [0, -1024, 7.5, 1e-12, 1e20, -1e300])
def test_a_constant_volume_gets_a_window_around_its_value(value: float) -> None:
    volume = np.full((2, 3, 4), value)
    window = Window.percentiles(volume)
    assert window.lower < np.clip(value, -3.5e38, 3.5e38) < window.upper or abs(value) > 3.4e38
    assert np.unique(window.to_uint8(volume)).size == 1


def test_the_window_of_a_constant_volume_is_one_wide() -> None:
    window = Window.percentiles(np.full((4, 4, 4), 100, np.int16))
    assert (window.lower, window.upper) == (99.5, 100.5)


def test_small_units_keep_their_contrast() -> None:
    diffusion = np.linspace(0, 3e-9, 1000).reshape(10, 10, 10)  # m^2/s, as some scanners store it
    gray = Window.percentiles(diffusion, 0, 100).to_uint8(diffusion)
    assert (gray.min(), gray.max()) == (0, 255)
    assert np.unique(gray).size == 256


def test_large_volumes_are_sampled_evenly() -> None:
    volume = np.broadcast_to(np.arange(1000, dtype=np.float32), (200, 300, 1000))
    window = Window.percentiles(volume, 1, 99)
    assert (window.lower, window.upper) == pytest.approx((9.99, 989), abs=3)


def test_a_lone_finite_voxel_in_a_large_volume_is_found() -> None:
    volume = np.full((180, 180, 180), np.nan, np.float32)
    volume[1, 1, 1] = 5
    assert Window.percentiles(volume).lower == 4.5


def test_gray_values_need_little_memory_beyond_the_result() -> None:
    volume = np.zeros((64, 512, 512), np.int16)
    tracemalloc.start()
    Window.ct("lung").to_uint8(volume)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < volume.size + 40e6  # the uint8 result and a few slabs


def test_padded_left_handed_ct_is_recognized(chest_ct: open_data.ChestCT) -> None:
    assert Window.auto(read_volume(chest_ct.ct).array) == Window.ct("abdomen")


def test_small_abdomen_ct_is_recognized(abdomen_ct: open_data.Labeled) -> None:
    assert Window.auto(read_volume(abdomen_ct.image).array).name == "abdomen"


def test_mr_gets_percentiles_of_its_foreground(abdomen_mr: open_data.Labeled) -> None:
    volume = read_volume(abdomen_mr.image).array
    window = Window.auto(volume)
    assert window.name == "percentiles 0.5-99.5"
    assert volume.min() <= window.lower < window.upper < volume.max()


def test_phase_images_are_not_taken_for_ct() -> None:
    phase = np.random.default_rng(0).integers(-4096, 4096, (8, 32, 32)).astype(np.int16)
    assert Window.auto(phase).name.startswith("percentiles")


def test_background_does_not_count() -> None:
    volume = np.zeros((10, 10, 100), np.uint16)
    volume[:, :, :2] = np.arange(200, 400).reshape(10, 10, 2)
    window = Window.auto(volume)
    assert (window.lower, window.upper) == pytest.approx((200, 399), abs=1.5)


@pytest.mark.parametrize(
    ("text", "lower", "upper"),
    [("abdomen", -160, 240), (" Lung ", -1350, 150), ("40/400", -160, 240), ("-600/1500", -1350, 150), ("0.5/1", 0, 1)],
)
def test_parsed_windows(text: str, lower: float, upper: float) -> None:
    window = Window.parse(text, np.zeros((1, 1, 1)))
    assert (window.lower, window.upper) == (lower, upper)


def test_parsed_auto_looks_at_the_volume() -> None:
    volume = np.arange(1000).reshape(10, 10, 10)
    assert Window.parse("auto", volume) == Window.auto(volume)


@pytest.mark.parametrize("text", ["", "abdomn", "40", "40/", "40/wide", "1/2/3"])
def test_an_unknown_window_lists_the_choices(text: str) -> None:
    with pytest.raises(VolumeError, match=r"write auto, a level and width such as 40/400, or one of abdomen, lung, "):
        Window.parse(text, np.zeros((1, 1, 1)))


@pytest.mark.parametrize("text", ["40/0", "40/-400", "nan/400", "40/inf"])
def test_a_window_without_width_is_refused(text: str) -> None:
    with pytest.raises(VolumeError, match=r"give finite limits with the lower one first \(a width above 0\)"):
        Window.parse(text, np.zeros((1, 1, 1)))


def test_a_window_is_given_or_written_or_chosen() -> None:
    volume = np.linspace(0, 1, 1000).reshape(10, 10, 10)
    own = Window(0, 5, "own")
    assert Window.of(own, volume) is own
    assert Window.of("lung", volume) == Window.ct("lung")
    assert Window.of(None, volume) == Window.of("auto", volume) == Window.auto(volume)
    for other in ((0, 1), 5, Window):
        with pytest.raises(VolumeError, match="is not a window: give a Window, or a text such as 'lung'"):
            Window.of(other, volume)


def test_an_unknown_preset_lists_the_choices() -> None:
    with pytest.raises(VolumeError, match="'heart': choose one of abdomen, lung, bone"):
        Window.ct("heart")


@pytest.mark.parametrize(("low", "high"), [(50, 50), (99, 1), (-1, 50), (5, 101)])
def test_impossible_percentiles_are_refused(low: float, high: float) -> None:
    with pytest.raises(VolumeError, match="give 0 <= low < high <= 100"):
        Window.percentiles(np.arange(8), low, high)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16])
def test_short_integers_are_windowed_as_any_other_number(kind: type) -> None:
    limits = np.iinfo(kind)
    values = np.arange(limits.min, limits.max + 1, dtype=kind).reshape(16, -1)
    window = Window(limits.min / 3 - 7.4, limits.max / 5 + 0.3, "test")
    for volume in (values, values.T, np.asfortranarray(values)):
        np.testing.assert_array_equal(window.to_uint8(volume), window.to_uint8(volume.astype(np.float64)))


@pytest.mark.parametrize("values", [[0, 1e300], [-1e300, 1e300], [1e300, 1e300], [0, 3e38]])
def test_the_window_of_huge_values_can_be_read_from_a_record(values: list[float]) -> None:
    window = Window.auto(np.array(values))
    assert read_settings({"window": {"lower": window.lower, "upper": window.upper, "name": window.name}})


@pytest.mark.parametrize(("lower", "upper"), [(0, 1e30), (-1e35, 0)])
def test_limits_that_no_record_can_hold_are_refused(lower: float, upper: float) -> None:
    with pytest.raises(VolumeError, match="limits within"):
        Window(lower, upper, "huge")
