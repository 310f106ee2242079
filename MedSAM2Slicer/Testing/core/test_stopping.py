"""Stop rules that know the patient's space: how far a track may go, and the region it must stay in."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core.stopping import read_stop, stop_sentence

Make = Callable[..., m2.VolumeSession]

pytestmark = pytest.mark.usefixtures("single_thread")


def prompted(make: Make, discs: Any, k: int = 4, **options: Any) -> m2.VolumeSession:
    session = make(**options)
    discs.prompt(session, "box", "dark", k)
    return session


def run(session: m2.VolumeSession, **options: Any) -> list[int]:
    """Propagate; the slices with a mask afterwards."""
    list(session.propagate(**options))
    return np.flatnonzero(np.moveaxis(session.mask(1), session.axis, 0).any(axis=(1, 2))).tolist()


# Values


@pytest.mark.parametrize("rule", ["absent_slices", "min_area_mm2", "max_area_change", "max_distance_mm"])
def test_none_and_0_switch_a_rule_off(make: Make, discs: Any, rule: str) -> None:
    found = []
    for off in (None, 0, 0.0, np.int64(0)):
        rules = m2.StopRules(**{rule: off})
        assert getattr(rules, rule) is None
        found.append(run(prompted(make, discs), stop=rules))
    assert found == [list(range(11))] * 4


@pytest.mark.parametrize("value", [-1, -0.5, np.nan, np.inf, "3"])
@pytest.mark.parametrize("rule", ["absent_slices", "min_area_mm2", "max_area_change", "max_distance_mm"])
def test_a_rule_of_no_use_is_refused(rule: str, value: float) -> None:
    with pytest.raises(m2.PromptError, match=f"The stop rule {rule} cannot be .*: give a (whole )?number above 0"):
        m2.StopRules(**{rule: value})


def test_absent_slices_are_whole_ones() -> None:
    assert m2.StopRules(absent_slices=np.int64(2)).absent_slices == 2
    with pytest.raises(m2.PromptError, match=r"absent_slices cannot be 1\.5: give a whole number above 0"):
        m2.StopRules(absent_slices=1.5)


# Distance


@pytest.mark.parametrize(
    ("longest", "slices"), [(5.0, [2, 3, 4, 5, 6]), (4.9, [3, 4, 5]), (7.4, [2, 3, 4, 5, 6]), (100.0, list(range(11)))]
)
def test_a_track_goes_no_further_than_its_distance(make: Make, discs: Any, longest: float, slices: list[int]) -> None:
    session = prompted(make, discs, spacing=(2.5, 1.0, 1.0))
    assert run(session, stop=m2.StopRules(max_distance_mm=longest)) == slices
    stopped = {
        "forward": f"stopped at slice {slices[-1]}: {2.5 * (slices[-1] - 4):g} mm from the prompted slice",
        "backward": f"stopped at slice {slices[0]}: {2.5 * (4 - slices[0]):g} mm from the prompted slice",
    }
    ends = {"forward": "reached the end", "backward": "reached the end"}
    assert session.stops(1) == (ends if len(slices) == 11 else stopped)


def test_the_distance_is_measured_along_the_slices_axis(make: Make, discs: Any, fakes: ModuleType) -> None:
    volume = np.moveaxis(discs.volume, 0, 2)
    session = m2.VolumeSession(fakes.FakeModel(), volume, spacing=(9.0, 9.0, 0.1), axis=2, window=discs.window)
    discs.prompt(session, "box", "dark", 4)
    assert run(session, stop=m2.StopRules(max_distance_mm=0.3)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_distance_shorter_than_a_slice_stops_at_once(make: Make, discs: Any) -> None:
    session = prompted(make, discs, spacing=(2.5, 1.0, 1.0))
    assert run(session, stop=m2.StopRules(max_distance_mm=2.0)) == [4]
    assert session.stops(1)["forward"] == "stopped at once: the next slice is 2.5 mm from the prompted slice"


def test_slices_beyond_the_distance_lose_what_an_earlier_run_drew(make: Make, discs: Any) -> None:
    session = prompted(make, discs)
    run(session)
    assert run(session, stop=m2.StopRules(max_distance_mm=2.0)) == [2, 3, 4, 5, 6]


def test_the_distance_counts_from_the_outermost_prompts(make: Make, discs: Any) -> None:
    session = prompted(make, discs, 2)
    discs.prompt(session, "box", "dark", 8)
    assert run(session, stop=m2.StopRules(max_distance_mm=1.0)) == list(range(1, 10))


def test_progress_knows_the_distance_from_the_start(make: Make, discs: Any) -> None:
    session, planned = prompted(make, discs), set()
    list(session.propagate(stop=m2.StopRules(max_distance_mm=2.0), progress=lambda _, all_of: planned.add(all_of)))
    assert planned == {4}


# Region


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_track_stays_in_the_given_slices(make: Make, discs: Any, fakes: ModuleType, axis: int) -> None:
    session = m2.VolumeSession(fakes.FakeModel(), np.moveaxis(discs.volume, 0, axis), axis=axis, window=discs.window)
    discs.prompt(session, "box", "dark", 4)
    inside = np.zeros(discs.volume.shape, bool)
    inside[3:8] = True
    assert run(session, stop=m2.StopRules(inside=np.moveaxis(inside, 0, axis))) == [3, 4, 5, 6, 7]
    assert session.stops(1) == {
        "forward": "stopped at slice 8: outside the given region",
        "backward": "stopped at slice 2: outside the given region",
    }


@pytest.mark.parametrize(("shift", "slices"), [(-1, list(range(11))), (2, [4])])
def test_half_of_the_mask_must_lie_inside(make: Make, discs: Any, shift: int, slices: list[int]) -> None:
    """The region covers the columns from a little left, or right, of the disc's middle."""
    session = prompted(make, discs)
    inside = np.zeros(discs.volume.shape, bool)
    inside[:, :, 44 + shift :] = True
    assert run(session, stop=m2.StopRules(inside=inside)) == slices


def test_an_absent_object_is_not_outside(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "bright", 4)
    inside = np.ones(discs.volume.shape, bool)
    inside[9:] = False
    list(session.propagate(stop=m2.StopRules(inside=inside, absent_slices=2)))
    assert session.stops(1)["forward"] == "stopped at slice 10: object absent on 2 slices"


def test_a_region_of_another_grid_is_refused(make: Make, discs: Any) -> None:
    session = prompted(make, discs)
    with pytest.raises(m2.VolumeError, match=r"shape \(3, 4, 5\) but the volume \(11, 64, 64\)"):
        run(session, stop=m2.StopRules(inside=np.ones((3, 4, 5), bool)))


def test_what_is_said_of_a_stop_can_be_read() -> None:
    sentence = stop_sentence(66, "object absent on 3 slices")
    assert sentence == "stopped at slice 66: object absent on 3 slices"
    assert read_stop(sentence) == (66, "object absent on 3 slices")
    assert read_stop("reached the end") is None
