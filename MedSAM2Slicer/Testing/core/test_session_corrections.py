"""What a correction runs again, what it leaves as it was, and how its answers are joined with those before."""

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


def ways(steps: list[m2.PropagationStep]) -> dict[str, list[int]]:
    """Slices of each direction that ran, in order."""
    found: dict[str, list[int]] = {}
    for step in sorted(steps, key=lambda step: step.slice_index):
        found.setdefault(step.direction, []).append(step.slice_index)
    return found


@pytest.fixture(params=["whole", "zoom"])
def drawn(request: pytest.FixtureRequest, make: Make, discs: Any) -> m2.VolumeSession:
    """The dark disc, drawn on all slices from a box on slice 4."""
    session = make(field_of_view=request.param)
    discs.prompt(session, "box", "dark", 4)
    run(session)
    return session


def shifted(mask: np.ndarray) -> np.ndarray:
    return np.roll(mask, 3, axis=1)


# What runs


def test_a_correction_starts_from_the_edited_slice_alone(drawn: m2.VolumeSession, discs: Any) -> None:
    drawn.add_mask(1, 8, shifted(discs.truth["dark"][8]))
    assert ways(run(drawn, first=4)) == {"prompt": [4, 8], "backward": [5, 6, 7], "forward": [9, 10]}
    directions = [result.direction for result in drawn.results(1).values()]
    assert directions == [*["backward"] * 4, "prompt", *["both"] * 3, "prompt", *["forward"] * 2]


def test_only_the_interval_of_a_correction_changes(drawn: m2.VolumeSession, discs: Any, fakes: ModuleType) -> None:
    drawn.add_mask(1, 8, discs.truth["dark"][8])
    run(drawn, first=4)
    before, results = drawn.mask(1), drawn.results(1)
    drawn.add_mask(1, 6, shifted(discs.truth["dark"][6]))
    assert ways(run(drawn, first=4, last=9)) == {"prompt": [4, 6, 8], "backward": [5], "forward": [7]}
    after = drawn.mask(1)
    for outside in (slice(0, 5), slice(8, 11)):
        np.testing.assert_array_equal(after[outside], before[outside])
    assert {index: result for index, result in drawn.results(1).items() if not 4 < index < 8} == {
        index: result for index, result in results.items() if not 4 < index < 8
    }
    np.testing.assert_array_equal(after[6], shifted(discs.truth["dark"][6]))
    assert fakes.dice(after, discs.truth["dark"]) > 0.85


def test_answers_from_beyond_an_edited_slice_no_longer_count(drawn: m2.VolumeSession, discs: Any) -> None:
    drawn.add_mask(1, 8, discs.truth["dark"][8])
    run(drawn)
    drawn.add_mask(1, 6, discs.truth["dark"][6])
    run(drawn)
    parts = {index: {(o.direction, o.distance) for o in drawn._objects[1].tracked[index].drawn} for index in (5, 7, 9)}
    assert parts == {5: {("forward", 1), ("backward", 1)}, 7: {("forward", 1), ("backward", 1)}, 9: {("forward", 1)}}


def test_accepted_slices_let_the_tracks_that_passed_them_stand(drawn: m2.VolumeSession, discs: Any) -> None:
    for accepted in (4, 5, 10):
        drawn.add_mask(1, accepted, drawn.predict_slice(accepted)[1].mask)
    drawn.add_mask(1, 8, shifted(discs.truth["dark"][8]))
    steps = ways(run(drawn, first=5))
    assert steps == {"prompt": [5, 8, 10], "backward": [6, 7, 9], "forward": [9]}
    assert drawn.results(1)[6].direction == "both"


def test_without_an_edit_everything_runs_again(drawn: m2.VolumeSession, discs: Any) -> None:
    drawn.add_mask(1, 8, discs.truth["dark"][8])
    run(drawn)
    assert ways(run(drawn)) == {
        "prompt": [4, 8],
        "backward": [0, 1, 2, 3, 5, 6, 7],
        "forward": [5, 6, 7, 9, 10],
    }


def test_what_a_removed_prompt_drew_does_not_stand(drawn: m2.VolumeSession, discs: Any) -> None:
    drawn.add_mask(1, 6, np.zeros((64, 64), bool))
    run(drawn)
    drawn.remove_prompts(1, 6)
    drawn.add_mask(1, 9, discs.truth["dark"][9])
    assert ways(run(drawn, first=4))["forward"] == [5, 6, 7, 8, 10]
    assert all({one.distance for one in drawn._objects[1].tracked[i].drawn} == {i - 4, 9 - i} for i in (5, 6, 7, 8))


def test_a_track_that_did_not_get_to_the_edited_slice_runs_again(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 2)
    steps = session.propagate(direction="forward")
    while next(steps).slice_index < 5:
        pass
    steps.close()  # type: ignore[attr-defined]
    session.add_mask(1, 9, discs.truth["dark"][9])
    assert ways(run(session, first=2, last=10))["forward"] == list(range(3, 9))


def test_an_edited_start_runs_again_and_replaces_what_it_drew(drawn: m2.VolumeSession, discs: Any) -> None:
    drawn.add_mask(1, 4, discs.truth["dark"][4])
    drawn.add_mask(1, 8, discs.truth["dark"][8])
    found = ways(run(drawn))
    assert found["forward"] == [5, 6, 7, 9, 10]
    assert all(len(drawn._objects[1].tracked[index].drawn) == 2 for index in (5, 6, 7))


def test_a_cancelled_correction_leaves_what_it_did_not_reach(drawn: m2.VolumeSession, discs: Any) -> None:
    before = drawn.mask(1)
    drawn.add_mask(1, 8, shifted(discs.truth["dark"][8]))
    token = m2.CancelToken()
    for step in drawn.propagate(first=4, cancel=token):
        if step.direction != "prompt":
            token.cancel()
    assert drawn.results(1)[5].direction == "forward"
    np.testing.assert_array_equal(drawn.mask(1)[:7], before[:7])


# Why directions stopped


def test_a_correction_keeps_the_reason_of_a_direction_that_does_not_run(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "bright", 4)
    run(session, stop=m2.StopRules(absent_slices=1))
    assert session.stops(1)["backward"] == "stopped at slice 0: object absent on 1 slice"
    session.add_mask(1, 6, discs.truth["bright"][6])
    run(session, first=4, stop=m2.StopRules(absent_slices=2))
    assert session.stops(1) == {
        "backward": "stopped at slice 0: object absent on 1 slice",
        "forward": "stopped at slice 10: object absent on 2 slices",
    }
    session.add_mask(1, 5, discs.truth["bright"][5])
    run(session, first=4, last=7)
    assert session.stops(1)["forward"] == "stopped at slice 10: object absent on 2 slices"


def test_a_mask_on_the_last_slice_outdates_an_earlier_stop(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "bright", 4)
    run(session, stop=m2.StopRules(absent_slices=1))
    session.add_mask(1, 10, discs.truth["dark"][10])
    assert session.stops(1)["forward"] == "stopped at slice 9: object absent on 1 slice"
    run(session, first=4)
    assert session.stops(1)["forward"] == "reached the end"


# What is encoded


def test_a_correction_looks_at_seen_slices_as_before(drawn: m2.VolumeSession, discs: Any) -> None:
    once = drawn.encoder_runs
    for index in (8, 6, 3):
        drawn.add_mask(1, index, shifted(discs.truth["dark"][index]))
        run(drawn)
    drawn.add_points(1, 2, [discs.center("dark", 2)], [1])
    run(drawn)
    assert drawn.encoder_runs == once


def test_an_emptied_slice_is_looked_at_where_the_object_was(drawn: m2.VolumeSession) -> None:
    once = drawn.encoder_runs
    seen = drawn._objects[1].tracked[8].drawn[0].region
    drawn.add_mask(1, 8, np.zeros((64, 64), bool))
    drawn.predict_slice(8)
    assert drawn._objects[1].conditioning[8].drawn.region == seen
    assert drawn.encoder_runs == once


def test_a_view_that_does_not_hold_the_corrected_object_is_left(make: Make, discs: Any) -> None:
    session = make(field_of_view="zoom")
    discs.prompt(session, "box", "dark", 4)
    run(session)
    once = session.encoder_runs
    session.add_mask(1, 8, discs.truth["bright"][8])
    session.predict_slice(8)
    assert session.encoder_runs == once + 1


# What a prompt tells of


def test_a_prompt_tells_of_the_object_and_of_what_it_corrects(drawn: m2.VolumeSession, discs: Any) -> None:
    def evidence(index: int) -> float:
        drawn.predict_slice(index)
        return drawn._objects[1].conditioning[index].drawn.evidence_mm2

    area = drawn.results(1)[8].area_mm2
    drawn.add_mask(1, 8, np.zeros((64, 64), bool))
    assert evidence(8) == area
    large = np.ones((64, 64), bool)
    drawn.add_mask(1, 6, large)
    assert evidence(6) == large.sum()
    run(drawn)
    assert {one.evidence_mm2 for one in drawn._objects[1].tracked[7].drawn} == {area, float(large.sum())}
