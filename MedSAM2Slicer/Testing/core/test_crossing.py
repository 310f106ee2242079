"""Objects followed along all three axes: where they are crossed, what comes of it, and how it may be stopped."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core.crossing import Walk, plan_walk
from medsam2_core.directions import THREE
from medsam2_core.image.orientation import Hanging
from medsam2_core.run.sequence import RoundLimit

Make = Callable[..., m2.VolumeSession]

pytestmark = pytest.mark.usefixtures("single_thread")


def three(session: m2.VolumeSession, **options: Any) -> list[m2.PropagationStep]:
    return list(session.propagate(directions=THREE, **options))


# Where an object is crossed


def test_a_walk_goes_both_ways_with_its_stride() -> None:
    walk = Walk(start=10, first=4, last=17, stride=3)
    assert [list(walk.indexes(step)) for step in (1, -1)] == [[13, 16], [7, 4]]
    assert walk.slices == 4


def ball(shape: tuple[int, int, int], center: tuple[int, int, int], radius: int) -> np.ndarray:
    k, j, i = np.indices(shape)
    inside = (k - center[0]) ** 2 + (j - center[1]) ** 2 + (i - center[2]) ** 2 < radius**2
    return np.where(inside, 0.95, 0.05).astype(np.float16)


def test_the_largest_cut_far_from_the_ends_is_where_it_begins() -> None:
    own = ball((20, 30, 30), (10, 15, 12), 8)
    assert plan_walk(own, 1, 100, most=30) == Walk(115, 100, 130, 1)
    assert plan_walk(own, 2, 0, most=30) == Walk(12, 0, 30, 1)


def test_a_cut_the_first_axis_was_not_sure_of_is_no_good_start() -> None:
    own = ball((20, 30, 30), (10, 15, 15), 8)
    own[:, 14:17] = np.where(own[:, 14:17] > 0.5, 0.52, 0.05)
    walk = plan_walk(own, 1, 0, most=30)
    assert walk is not None
    assert walk.start in (13, 17)


def test_more_slices_than_the_first_axis_took_are_left_out_evenly() -> None:
    walk = plan_walk(ball((20, 30, 30), (10, 15, 15), 8), 1, 0, most=12)
    assert walk is not None
    assert walk.stride == 3
    assert walk.slices <= 12


def test_what_is_as_thin_as_a_slice_or_two_is_not_crossed() -> None:
    own = np.zeros((20, 30, 30), np.float16)
    own[:, 10:12, 5:20] = 1.0
    assert plan_walk(own, 1, 0, most=30) is None
    assert plan_walk(own, 2, 0, most=30) is not None


# What comes of it


@pytest.mark.parametrize("memory", ["recency", "self-sorting"])
@pytest.mark.parametrize("view", ["whole", "zoom"])
def test_three_axes_find_the_objects_and_say_how_far_they_agree(
    make: Make, discs: Any, fakes: ModuleType, memory: str, view: str
) -> None:
    session = make(memory=memory, field_of_view=view)
    for number, name in ((1, "bright"), (2, "dark")):
        discs.prompt(session, "box", name, 4, object_id=number)
    steps = three(session)
    last = {(number, step.slice_index): mask for step in steps for number, mask in step.masks.items()}
    for number, name in ((1, "bright"), (2, "dark")):
        assert fakes.dice(session.mask(number), discs.truth[name]) > 0.95
        results = session.results(number)
        assert results[4].direction == "prompt"
        assert results[4].disagreement is None
        others = [one for index, one in results.items() if index != 4 and one.direction == THREE]
        assert len(others) >= 7
        assert all(one.disagreement is not None and one.disagreement < 0.35 for one in others)
        for index in results:
            np.testing.assert_array_equal(last[number, index], session.predict_slice(index)[number].mask)
            if index != 4:
                pixels = int(session.predict_slice(index)[number].mask.sum())
                assert results[index].area_mm2 == pytest.approx(pixels)
    told = [step for step in steps if step.direction == THREE and step.masks]
    assert {index for step in told for index in step.disagreement} == {1, 2}


@pytest.mark.parametrize("across", [(Hanging(), Hanging()), (Hanging(True), Hanging(True, True))])
def test_how_slices_across_hang_changes_nothing_for_a_model_that_does_not_care(
    make: Make, discs: Any, fakes: ModuleType, across: tuple[Hanging, Hanging]
) -> None:
    session = make(across=across)
    discs.prompt(session, "box", "dark", 4)
    three(session)
    assert fakes.dice(session.mask(1), discs.truth["dark"]) > 0.97
    assert all((one.disagreement or 0.0) < 0.1 for one in session.results(1).values())


@pytest.mark.parametrize("memory", ["recency", "self-sorting"])
def test_it_is_repeatable_bit_by_bit(tiny: Any, discs: Any, memory: str) -> None:
    def logits() -> list[np.ndarray]:
        session = m2.VolumeSession(tiny, discs.volume, window=discs.window, memory=memory)
        discs.prompt(session, "box", "dark", 4)
        three(session)
        return [session.predict_slice(index)[1].logits for index in range(11)]

    for first, second in zip(logits(), logits(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_one_direction_stays_as_it_was(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    steps = list(session.propagate())
    assert {step.direction for step in steps} == {"prompt", "forward", "backward"}
    assert all(one.disagreement is None for one in session.results(1).values())
    with pytest.raises(m2.PromptError, match="choose one or three"):
        session.propagate(directions="six")


def test_range_and_stop_rules_hold_for_all_axes(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    three(session, first=3, last=9, stop=m2.StopRules(max_distance_mm=2.0))
    assert sorted(session.results(1)) == [3, 4, 5, 6]
    assert np.flatnonzero(session.mask(1).any(axis=(1, 2))).tolist() == [3, 4, 5, 6]


def test_all_prompted_slices_count_and_stay_as_they_are(make: Make, discs: Any) -> None:
    session = make()
    given = discs.truth["dark"][7].copy()
    given[:40] = False
    discs.prompt(session, "box", "dark", 3)
    session.add_mask(1, 7, given)
    before = session.predict_slice(3)[1].mask
    three(session)
    np.testing.assert_array_equal(session.mask(1)[7], given)
    np.testing.assert_array_equal(session.mask(1)[3], before)
    assert {session.results(1)[k].direction for k in (3, 7)} == {"prompt"}


def test_a_correction_is_followed_along_all_axes_where_it_reaches(make: Make, discs: Any, fakes: ModuleType) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 2)
    three(session)
    untouched = session.mask(1)[:3].copy()
    session.add_mask(1, 6, discs.truth["dark"][6])
    steps = three(session, first=3, last=11)
    assert {step.slice_index for step in steps if step.masks} == set(range(3, 11))
    np.testing.assert_array_equal(session.mask(1)[:3], untouched)
    assert fakes.dice(session.mask(1), discs.truth["dark"]) > 0.95


def test_a_correction_comes_out_the_same_whatever_was_drawn_before(make: Make, discs: Any) -> None:
    """A worker that was started again knows the prompts alone."""
    masks = []
    for before in (True, False):
        session = make()
        discs.prompt(session, "box", "dark", 3)
        if before:
            three(session)
        session.add_mask(1, 7, discs.truth["dark"][7])
        three(session, first=3, last=11)
        masks.append(session.mask(1)[3:])
    np.testing.assert_array_equal(*masks)


def test_masks_can_be_drawn_again_from_what_three_axes_said(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    three(session)
    again = {step.slice_index: step.masks[1] for step in session.redraw(1, threshold=0.5)}
    for index, mask in again.items():
        np.testing.assert_array_equal(mask, session.mask(1)[index])
    lower = session.mask(1, threshold=0.2)
    assert lower.sum() > session.mask(1).sum()


def test_where_they_disagree_is_kept_pixel_by_pixel_however_masks_are_drawn(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    three(session)
    found = dict(session.disagreement(1))
    results = session.results(1)
    assert set(found) == {index for index, one in results.items() if one.direction == THREE}
    assert any(percent.any() for percent in found.values())
    for index, percent in found.items():
        assert set(np.unique(percent)) <= {0, 33, 67}
        assert percent.any() == ((results[index].disagreement or 0.0) > 0)
    list(session.redraw(1, threshold=0.2, smoothing_mm=2.0))
    for index, percent in session.disagreement(1):
        np.testing.assert_array_equal(percent, found[index])


def test_one_axis_cannot_disagree(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    three(session)
    list(session.propagate())
    with pytest.raises(m2.PromptError, match="object 1 along three axes first"):
        session.disagreement(1)


def test_a_correction_later_needs_no_other_view_of_its_slice(make: Make, discs: Any) -> None:
    session = make(field_of_view="zoom")
    discs.prompt(session, "box", "dark", 4)
    three(session)
    encoded = session.encoder_runs
    session.add_points(1, 6, [discs.center("dark", 6)], [1])
    session.predict_slice(6)
    assert session.encoder_runs == encoded


def test_nothing_found_is_nothing_to_cross(make: Make, discs: Any) -> None:
    session = make()
    session.add_mask(1, 4, np.zeros((64, 64), dtype=bool))
    seen: list[tuple[int, int]] = []
    three(session, progress=lambda *told: seen.append(told))
    assert not session.mask(1).any()
    assert seen[-1][0] == seen[-1][1]


# Progress and stopping


def test_progress_counts_all_axes(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    seen: list[tuple[int, int]] = []
    steps = three(session, progress=lambda *told: seen.append(told))
    done, planned = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == planned[-1]
    assert all(first < last for first, last in seen[:-2])  # both ways end in one round
    silent = [step for step in steps if not step.masks]
    assert {step.direction for step in silent} == {THREE}
    assert done[-1] - 10 == len(silent)  # 10 along the first axis


def masks_if_stopped(make: Make, discs: Any, after: int, limit: int | None = None) -> tuple[np.ndarray, RoundLimit]:
    """The masks when somebody stops it after so many steps, or when it repeats what was stopped."""
    session, token = make(), m2.CancelToken()
    rounds = RoundLimit(limit, token)
    discs.prompt(session, "box", "dark", 4)
    for number, _ in enumerate(session.propagate(directions=THREE, cancel=rounds, progress=rounds.count)):
        if number == after:
            token.cancel()
    return session.mask(1), rounds


@pytest.mark.parametrize("after", [5, 11, 14, 20])
def test_stopped_before_its_end_it_leaves_what_one_axis_drew_and_can_be_repeated(
    make: Make, discs: Any, after: int
) -> None:
    masks, limit = masks_if_stopped(make, discs, after)
    assert limit.rounds_if_stopped is not None
    again, _ = masks_if_stopped(make, discs, 1000, limit.rounds_if_stopped)
    np.testing.assert_array_equal(masks, again)
    session = make()
    discs.prompt(session, "box", "dark", 4)
    steps = list(session.propagate())
    if after > len(steps):
        np.testing.assert_array_equal(masks, session.mask(1))


def test_stopped_too_late_it_is_whole(make: Make, discs: Any) -> None:
    whole, limit = masks_if_stopped(make, discs, 1000)
    steps = limit.done
    late, limit = masks_if_stopped(make, discs, steps + 4)
    assert limit.rounds_if_stopped is None
    np.testing.assert_array_equal(late, whole)


# Prompts on every slice


@pytest.mark.parametrize("kind", ["points", "box", "mask"])
def test_prompts_can_be_repeated_on_every_slice(make: Make, fakes: ModuleType, discs: Any, kind: str) -> None:
    """The paper's equation 6; a mask has no points to repeat."""
    model, seen = fakes.FakeModel(), []
    decode = model.decode
    model.decode = lambda fused, features, prompts, ambiguous: (
        seen.append(prompts.labels.clone()),
        decode(fused, features, type(prompts).none(len(fused), fused.device) if len(seen) > 1 else prompts, ambiguous),
    )[1]
    session = make(model, memory=m2.SelfSorting(repeats_prompts=True))
    discs.prompt(session, kind, "dark", 4)
    session.predict_slice(4)
    seen.clear()
    seen.append(None)
    list(session.propagate())
    wanted = {"points": [1], "box": [2, 3], "mask": [-1]}[kind]
    assert len(seen) > 5
    assert all(labels.tolist() == [wanted] * len(labels) for labels in seen[1:])
