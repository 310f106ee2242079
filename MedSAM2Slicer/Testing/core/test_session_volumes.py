"""What sessions accept and refuse, and the label maps they give."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2

Make = Callable[..., m2.VolumeSession]

pytestmark = pytest.mark.usefixtures("single_thread")


def run(session: m2.VolumeSession, **options: Any) -> list[m2.PropagationStep]:
    return list(session.propagate(**options))


# Label maps and volumes


def test_label_maps_grow_to_16_bits_only_for_large_ids(make: Make, discs: Any) -> None:
    session = make()
    assert session.labelmap().dtype == np.uint8
    assert not session.labelmap().any()
    discs.prompt(session, "box", "dark", 4, object_id=255)
    assert session.labelmap().dtype == np.uint8
    discs.prompt(session, "box", "bright", 4, object_id=65535)
    run(session)
    assert session.labelmap().dtype == np.uint16
    assert set(np.unique(session.labelmap())) == {0, 255, 65535}


def test_where_masks_overlap_the_larger_logit_wins(tiny: m2.model.SAM2, discs: Any) -> None:
    session = m2.VolumeSession(tiny, discs.volume[:3], window=discs.window, field_of_view="whole")
    session.add_box(2, 1, (5, 5, 50, 50))
    session.add_points(1, 1, [(30, 30)], [1])
    run(session)
    for cut in (-3.0, -0.5):
        labels = session.labelmap(1 / (1 + np.exp(-cut)))
        for index in range(3):
            one, two = (session.predict_slice(index)[number].logits for number in (1, 2))
            wanted = np.where(np.maximum(one, two) > cut, np.where(one > two, 1, 2), 0)
            assert (labels[index] == wanted)[one != two].all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_gives_the_same_answer(make: Make, discs: Any, fakes: ModuleType, axis: int) -> None:
    volume = np.moveaxis(discs.volume, 0, axis)
    session = m2.VolumeSession(
        fakes.FakeModel(), volume, spacing=(2.0, 3.0, 5.0), axis=axis, window=discs.window, field_of_view="zoom"
    )
    discs.prompt(session, "box", "dark", 4)
    run(session)
    assert session.labelmap().shape == volume.shape
    assert fakes.dice(session.labelmap() == 1, np.moveaxis(discs.truth["dark"], 0, axis)) > 0.9
    pixels = np.moveaxis(session.mask(1), axis, 0)[4].sum()
    assert session.results(1)[4].area_mm2 == pytest.approx(pixels * 30 / (2.0, 3.0, 5.0)[axis])


def test_one_slice_and_constant_volumes_work(tiny: m2.model.SAM2) -> None:
    for volume in (np.random.default_rng(0).normal(size=(1, 20, 33)), np.full((3, 20, 33), 7, np.uint8)):
        session = m2.VolumeSession(tiny, volume)
        session.add_points(1, 0, [(5, 5)], [1])
        assert {step.slice_index for step in run(session)} == set(range(len(volume)))
        assert session.labelmap().shape == volume.shape
        assert np.isfinite(session.predict_slice(0)[1].logits).all()


def test_nan_and_infinite_voxels_do_not_spread(make: Make, discs: Any, fakes: ModuleType) -> None:
    volume = discs.volume.astype(np.float32)
    volume[3, 5, 5:9] = (np.nan, np.inf, -np.inf, 1e38)
    for window in (None, discs.window):
        session = m2.VolumeSession(fakes.FakeModel(), volume, window=window)
        discs.prompt(session, "mask", "dark", 4)
        run(session)
        assert all(np.isfinite(session.predict_slice(index)[1].logits).all() for index in range(11))
        assert session.mask(1)[3].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_voxels_are_not_touched(make: Make, discs: Any, fakes: ModuleType, dtype: type) -> None:
    volume = discs.volume.astype(dtype)
    volume.flags.writeable = False
    session = m2.VolumeSession(fakes.FakeModel(), volume, window=discs.window)
    discs.prompt(session, "box", "dark", 4)
    run(session)
    assert fakes.dice(session.mask(1), discs.truth["dark"]) > 0.9
    np.testing.assert_array_equal(volume, discs.volume.astype(dtype))


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 4), 0), ((2, 4, 4, 1), 0), ((0, 4, 4), 0), ((3, 4, 4), 3), ((3, 4, 4), -1)]
)
def test_what_is_no_volume_is_refused(fakes: ModuleType, shape: tuple[int, ...], axis: int) -> None:
    with pytest.raises(m2.VolumeError):
        m2.VolumeSession(fakes.FakeModel(), np.ones(shape), axis=axis)


@pytest.mark.parametrize("volume", [None, "CT", [[[1], [1, 2]]], np.full((3, 4, 5), None), np.ones((3, 4, 5), complex)])
def test_what_is_no_array_of_numbers_is_refused(fakes: ModuleType, volume: Any) -> None:
    with pytest.raises(m2.VolumeError, match="not an array of real numbers"):
        m2.VolumeSession(fakes.FakeModel(), volume)


def test_nested_lists_and_written_windows_are_taken(fakes: ModuleType, discs: Any) -> None:
    level, width = (discs.window.upper + discs.window.lower) / 2, discs.window.upper - discs.window.lower
    session = m2.VolumeSession(fakes.FakeModel(), discs.volume.tolist(), window=f"{level}/{width}")
    discs.prompt(session, "box", "dark", 4)
    run(session)
    assert fakes.dice(session.mask(1), discs.truth["dark"]) > 0.9
    assert m2.VolumeSession(fakes.FakeModel(), discs.volume, window="lung").window == m2.Window.ct("lung")
    with pytest.raises(m2.VolumeError, match="Unknown window 'longs'"):
        m2.VolumeSession(fakes.FakeModel(), discs.volume, window="longs")


# Refusals

EMPTY = np.zeros((3, 4), bool)
REFUSED: list[tuple[str, Callable[[m2.VolumeSession], Any], str]] = [
    ("nothing prompted", lambda s: run(s), "nothing to propagate"),
    ("slice above", lambda s: s.add_box(1, 11, (1, 1, 9, 9)), "Slice 11 does not exist: slices go from 0 to 10"),
    ("slice below", lambda s: s.add_points(1, -1, [(1, 1)], [1]), "Slice -1 does not exist"),
    ("slice of a mask", lambda s: s.add_mask(1, 99, EMPTY), "Slice 99 does not exist"),
    ("slice to predict", lambda s: s.predict_slice(11), "Slice 11 does not exist"),
    ("object 0", lambda s: s.add_box(0, 1, (1, 1, 9, 9)), "Object id 0 cannot be a label"),
    ("object 65536", lambda s: s.add_mask(65536, 1, EMPTY), "choose one from 1 to 65535"),
    ("object 1.5", lambda s: s.add_points(1.5, 1, [(1, 1)], [1]), "object id is 1.5, which is not a whole number"),
    ("object of text", lambda s: s.add_box("1", 1, (1, 1, 9, 9)), "object id is '1', which is not a whole number"),
    ("slice 6.5", lambda s: s.add_box(1, 6.5, (1, 1, 9, 9)), "slice is 6.5, which is not a whole number"),
    ("slice 6.5 of a mask", lambda s: s.add_mask(1, 6.5, EMPTY), "slice is 6.5, which is not"),
    ("slice 6.0 to look at", lambda s: s.look(6.0), "slice is 6.0, which is not"),
    ("no slice to predict", lambda s: s.predict_slice(None), "slice is None, which is not"),
    ("unknown object", lambda s: s.results(3), "Object 3 has no prompt: objects with prompts are none yet"),
    ("unknown stops", lambda s: s.stops(3), "Object 3 has no prompt"),
    ("unknown removal", lambda s: s.remove_prompts(3, 1), "Object 3 has no prompt"),
    ("unknown mask", lambda s: s.mask(3), "Object 3 has no prompt"),
    ("point outside", lambda s: s.add_points(1, 1, [(63.6, 3)], [1]), "outside the slice: x goes from 0 to 63"),
    ("point nowhere", lambda s: s.add_points(1, 1, [(np.nan, 3)], [1]), "outside the slice"),
    ("labels missing", lambda s: s.add_points(1, 1, [(1, 1), (2, 2)], [1]), "do not match"),
    ("no points", lambda s: s.add_points(1, 1, np.zeros((0, 2)), []), "do not match"),
    ("points in space", lambda s: s.add_points(1, 1, [(1, 1, 1)], [1]), "do not match"),
    ("ragged points", lambda s: s.add_points(1, 1, [(1, 1), (2,)], [1, 1]), "pairs of numbers"),
    ("unknown label", lambda s: s.add_points(1, 1, [(1, 1)], [2]), "Point label 2 is unknown"),
    ("box of three", lambda s: s.add_box(1, 1, (1, 2, 3)), "four numbers"),
    ("empty box", lambda s: s.add_box(1, 1, (5, 5, 5.5, 9)), "is empty"),
    ("box outside", lambda s: s.add_box(1, 1, (5, 5, 64, 9)), "outside the slice"),
    ("mask of another size", lambda s: s.add_mask(1, 1, EMPTY), "3 x 4 pixels but the slice 64 x 64"),
]


@pytest.mark.parametrize(("act", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refusals_say_what_to_do_and_change_nothing(
    make: Make, act: Callable[[m2.VolumeSession], Any], problem: str
) -> None:
    session = make()
    with pytest.raises(m2.PromptError, match=problem):
        act(session)
    assert session.predict_slice(1) == {}
    with pytest.raises(m2.PromptError, match="nothing to propagate"):
        run(session)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"first": 5, "last": 5}, "range 5:5 holds no slice: give one within 0:11"),
        ({"first": 8, "last": 3}, "holds no slice"),
        ({"first": -1}, "holds no slice"),
        ({"last": 12}, "holds no slice"),
        ({"first": 5}, r"Object 1 has no prompt within 5:11: widen the range to its prompted slice \(4\)"),
        ({"first": 1.5}, "The first slice is 1.5, which is not a whole number"),
        ({"last": "all"}, "The end of the range is 'all', which is not a whole number"),
        ({"direction": "up"}, "Direction 'up' is unknown"),
    ],
)
def test_runs_that_cannot_be(make: Make, discs: Any, options: dict[str, Any], problem: str) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    with pytest.raises(m2.PromptError, match=problem):
        run(session, **options)


def test_numbers_of_numpy_name_objects_and_slices(make: Make, discs: Any, fakes: ModuleType) -> None:
    session = make()
    session.add_mask(np.int64(3), np.uint8(0), discs.truth["dark"][0])
    run(session, first=np.int16(0), last=np.uint8(11))
    assert fakes.dice(session.labelmap() == 3, discs.truth["dark"]) > 0.9


@pytest.mark.parametrize("options", [{"memory": "elephant"}, {"field_of_view": "fisheye"}])
def test_unknown_settings_name_the_choices(make: Make, options: dict[str, str]) -> None:
    with pytest.raises(m2.PromptError, match=r"(self-sorting, recency or pooled|auto, whole or zoom)"):
        make(**options)


def test_a_removed_object_leaves_nothing_behind(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    run(session)
    session.remove_object(1)
    session.remove_object(7)
    assert session.predict_slice(5) == {}
    discs.prompt(session, "box", "bright", 4)
    assert session.predict_slice(5) == {}


def test_image_features_can_be_limited_later(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    run(session)
    everything, runs = session.cache_bytes, session.encoder_runs
    session.limit_cache(everything // 2)
    assert 0 < session.cache_bytes <= everything // 2
    run(session)
    assert session.encoder_runs > runs
    assert session.cache_bytes <= everything // 2
