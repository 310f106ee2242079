"""What is known of slices: states, anchors, intervals, doubt, and their way into a scene and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from MedSAM2SlicerLib.scene.cut import wholeCut
from MedSAM2SlicerLib.scene.slicereview import (
    ACCEPTED,
    EDITED,
    LARGE_DISAGREEMENT,
    LOCKED,
    PROMPTED,
    PROPAGATED,
    STALE,
    SliceReview,
)
from MedSAM2SlicerLib.scene.slicestates import SliceStates


def review(index: int, origin: str = PROPAGATED, confidence: float = 0.9) -> SliceReview:
    direction = "prompt" if origin == PROMPTED else "forward"
    return SliceReview(index, confidence, origin, 10.0, direction)


@pytest.fixture
def states() -> SliceStates:
    """Slices 2 to 17 after a run from slice 8."""
    made = SliceStates()
    made.notePreview(review(8, PROMPTED))
    made.noteRun({index: review(index, PROMPTED if index == 8 else PROPAGATED) for index in range(2, 18)}, 0, 20)
    return made


def shown(states: SliceStates) -> dict[int, str]:
    return {index: one.state for index, one in states.slices.items()}


def test_a_slice_on_which_three_axes_disagree_a_lot_is_in_doubt(states: SliceStates) -> None:
    found = {index: replace(review(index), disagreement=0.1) for index in range(9, 16)}
    found[12] = replace(found[12], disagreement=LARGE_DISAGREEMENT + 0.1)
    found[10] = replace(found[10], disagreement=LARGE_DISAGREEMENT)
    states.noteRun(found, 9, 16)
    assert states.doubtful() == [12, 10]
    states.noteEdits([12])
    assert states.slices[12].disagreement is None


def test_a_scene_of_an_earlier_version_knows_no_disagreement(states: SliceStates) -> None:
    stored = json.loads(json.dumps(states.toJson()))
    for one in stored["slices"]:
        del one["disagreement"]
    assert SliceStates.fromJson(stored).slices == states.slices
    stored["slices"][0]["disagreement"] = "much"
    with pytest.raises(ValueError, match="not the states"):
        SliceStates.fromJson(stored)


def test_nothing_known_means_the_whole_range() -> None:
    assert SliceStates().intervals(0, 20) == [(0, 20)]
    assert not SliceStates()


def test_a_finished_run_leaves_the_whole_range_again(states: SliceStates) -> None:
    assert states.intervals(0, 20) == [(0, 20)]
    assert set(shown(states).values()) == {PROMPTED, PROPAGATED}


def test_an_edit_makes_the_slices_up_to_the_next_anchors_stale(states: SliceStates) -> None:
    states.noteEdits([12])
    assert states.intervals(0, 20) == [(8, 20)]
    assert shown(states)[12] == EDITED
    assert [index for index, state in shown(states).items() if state == STALE] == [9, 10, 11, 13, 14, 15, 16, 17]


@pytest.mark.parametrize("mark", [ACCEPTED, LOCKED])
def test_marked_slices_bound_the_interval(states: SliceStates, mark: str) -> None:
    states.toggle(10, mark)
    states.toggle(15, mark)
    states.noteEdits([12])
    assert states.intervals(0, 20) == [(10, 16)]
    assert [index for index, state in shown(states).items() if state == STALE] == [11, 13, 14]
    states.toggle(15, mark)
    assert states.intervals(0, 20) == [(10, 20)]


def test_what_lies_between_two_anchors_that_were_not_changed_is_left_out(states: SliceStates) -> None:
    for index in (6, 11):
        states.toggle(index, LOCKED)
    states.noteEdits([3, 14])
    assert states.intervals(0, 20) == [(0, 7), (11, 20)]
    assert [index for index in range(7, 11) if shown(states)[index] == STALE] == []
    states.noteRun({}, 0, 7)
    assert states.intervals(0, 20) == [(11, 20)]


def test_intervals_that_share_an_anchor_are_one(states: SliceStates) -> None:
    states.toggle(11, LOCKED)
    states.noteEdits([10, 14])
    assert states.intervals(0, 20) == [(8, 20)]


def test_the_interval_stays_within_the_range(states: SliceStates) -> None:
    states.noteEdits([12])
    assert states.intervals(9, 14) == [(9, 14)]
    assert states.intervals(0, 12) == [(0, 12)]  # the edit is not in it


def test_a_run_changes_its_interval_and_no_kept_slice(states: SliceStates) -> None:
    states.toggle(15, LOCKED)
    states.noteEdits([12])
    before = dict(states.slices)
    states.noteRun({index: review(index, confidence=0.5) for index in range(8, 16)}, 8, 16)
    changed = [index for index in states.slices if states.slices[index] != before[index]]
    assert changed == [8, 9, 10, 11, 13, 14]
    assert states.intervals(0, 20) == [(0, 20)]


def test_slices_that_a_run_gives_up_are_forgotten(states: SliceStates) -> None:
    states.noteRun({index: review(index) for index in range(5, 10)}, 0, 20)
    assert sorted(states.slices) == [5, 6, 7, 8, 9]


def test_a_prompt_ends_an_acceptance(states: SliceStates) -> None:
    states.toggle(10, ACCEPTED)
    states.release(10)
    assert shown(states)[10] == PROMPTED
    assert not states.slices[10].isKept


def test_removing_a_prompt_lets_its_neighbors_go_stale(states: SliceStates) -> None:
    states.notePreview(review(12, PROMPTED))
    states.noteRun({index: review(index) for index in range(8, 18)} | {12: review(12, PROMPTED)}, 8, 20)
    states.noteRemoved(12)
    assert 12 not in states.slices
    assert shown(states)[11] == shown(states)[13] == STALE


def test_other_settings_make_all_but_anchors_stale(states: SliceStates) -> None:
    states.toggle(10, LOCKED)
    states.noteAllStale()
    assert {shown(states)[index] for index in range(2, 18) if index not in (8, 10)} == {STALE}
    assert states.intervals(0, 20) == [(0, 20)]


def test_doubt_is_relative_and_ranks_the_worst_first(states: SliceStates) -> None:
    assert states.doubtful() == []
    states.noteSteps({5: review(5, confidence=0.7), 6: review(6, confidence=0.5), 7: replace(review(7), change=0.6)})
    assert states.doubtful() == [6, 5, 7]
    states.toggle(6, ACCEPTED)
    assert states.doubtful() == [5, 7]


def test_empty_slices_and_anchors_are_not_in_doubt() -> None:
    states = SliceStates()
    states.noteSteps({index: review(index) for index in range(5)})
    states.noteSteps({5: replace(review(5, confidence=0.1), areaMm2=0.0), 6: review(6, PROMPTED, 0.1)})
    assert states.doubtful() == []


def test_a_model_that_is_never_sure_does_not_put_every_slice_in_doubt() -> None:
    states = SliceStates()
    states.noteSteps({index: review(index, confidence=0.6) for index in range(10)})
    assert states.doubtful() == []


def test_states_survive_json(states: SliceStates) -> None:
    states.toggle(15, LOCKED)
    states.noteEdits([12])
    again = SliceStates.fromJson(json.loads(json.dumps(states.toJson())))
    assert again.slices == states.slices
    assert again.intervals(0, 20) == states.intervals(0, 20)


def test_a_cut_of_a_version_with_fewer_settings_is_completed(states: SliceStates) -> None:
    stored = {**states.toJson(), "cut": [0.3]}
    assert SliceStates.fromJson(stored).cut == wholeCut(0.3)
    assert SliceStates.fromJson({**stored, "cut": [0.3, 2]}).cut == wholeCut(0.3, 2.0)


@pytest.mark.parametrize("cut", [0.3, "ab", [0.3, "2"], [True], [7.0], [0.3, 2.0, 1.0]])
def test_a_damaged_cut_is_refused(states: SliceStates, cut: object) -> None:
    with pytest.raises(ValueError, match="not the states"):
        SliceStates.fromJson({**states.toJson(), "cut": cut})


@pytest.mark.parametrize(
    "damage",
    [
        None,
        [],
        {},
        {"axis": 3, "slices": [], "changed": []},
        {"axis": 0, "slices": [{}], "changed": []},
        {"axis": 0, "slices": [], "changed": ["4"]},
        {"axis": 0, "slices": 5, "changed": []},
    ],
)
def test_what_is_no_record_of_slices_is_refused(damage: object) -> None:
    with pytest.raises(ValueError, match="not the states"):
        SliceStates.fromJson(damage)


@pytest.mark.parametrize(
    "change", [{"origin": "magic"}, {"mark": "x"}, {"confidence": "high"}, {"sliceIndex": "1"}, {"stale": 1}]
)
def test_a_damaged_slice_is_refused(states: SliceStates, change: dict[str, object]) -> None:
    stored = states.toJson()
    stored["slices"][0] |= change
    with pytest.raises(ValueError, match="not the states"):
        SliceStates.fromJson(stored)
