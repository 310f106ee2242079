"""Prompts, propagation and corrections, with a fake model that has a known right answer and a tiny real one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2

Make = Callable[..., m2.VolumeSession]

pytestmark = pytest.mark.usefixtures("single_thread")


def run(session: m2.VolumeSession, **options: Any) -> list[m2.PropagationStep]:
    return list(session.propagate(**options))


# Prompts and propagation


@pytest.mark.parametrize("memory", ["self-sorting", "recency"])
@pytest.mark.parametrize("view", ["whole", "zoom"])
@pytest.mark.parametrize("kind", ["points", "box", "mask"])
@pytest.mark.parametrize("name", ["bright", "dark"])
def test_one_prompt_finds_the_object_on_every_slice(
    make: Make, discs: Any, fakes: ModuleType, memory: str, view: str, kind: str, name: str
) -> None:
    session = make(memory=memory, field_of_view=view)
    discs.prompt(session, kind, name, 4)
    assert fakes.dice(session.predict_slice(4)[1].mask, discs.truth[name][4]) > 0.9
    steps = run(session)
    assert steps[0].direction == "prompt"
    assert steps[0].slice_index == 4
    assert fakes.dice(session.labelmap() == 1, discs.truth[name]) > 0.9
    for step in steps:
        truth = discs.truth[name][step.slice_index]
        assert fakes.dice(step.masks[1], truth) > 0.85 if truth.any() else not step.masks[1].any()
        assert step.object_score[1] == pytest.approx(5.0 if truth.any() else -5.0, abs=6)
        assert (step.object_score[1] > 0) == truth.any()


def test_objects_and_directions_share_one_batch(make: Make, discs: Any, fakes: ModuleType) -> None:
    model = fakes.FakeModel()
    session = make(model)
    discs.prompt(session, "box", "bright", 4, object_id=1)
    discs.prompt(session, "box", "dark", 4, object_id=7)
    session.predict_slice(4)
    model.batches.clear()
    run(session)
    assert model.batches[0] == 4
    labels = session.labelmap()
    assert fakes.dice(labels == 1, discs.truth["bright"]) > 0.9
    assert fakes.dice(labels == 7, discs.truth["dark"]) > 0.9


@pytest.mark.parametrize("memory", ["self-sorting", "recency", "pooled"])
@pytest.mark.parametrize("view", ["whole", "zoom"])
def test_several_objects_get_the_answers_they_get_one_by_one(
    tiny: m2.model.SAM2, discs: Any, memory: str, view: str
) -> None:
    boxes = {1: (8.0, 6, 40, 36), 2: (30.0, 20, 60, 60), 5: (2.0, 30, 30, 62)}

    def answers(chosen: list[int]) -> m2.VolumeSession:
        session = m2.VolumeSession(tiny, discs.volume[:7], window=discs.window, memory=memory, field_of_view=view)
        for number in chosen:
            session.add_box(number, 2 if number < 5 else 4, boxes[number])
        run(session)
        return session

    together = answers([1, 2, 5])
    for number in boxes:
        alone = answers([number])
        for index in range(7):
            ours, theirs = (s.predict_slice(index)[number].logits for s in (together, alone))
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    ("direction", "slices"), [("forward", range(4, 8)), ("backward", range(2, 5)), ("both", range(2, 8))]
)
def test_directions_and_half_open_range(make: Make, discs: Any, direction: str, slices: range) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    steps = run(session, first=2, last=8, direction=direction)
    assert sorted(step.slice_index for step in steps) == list(slices)
    assert {step.direction for step in steps} - {"prompt"} == {"forward", "backward"} & (
        {direction} if direction != "both" else {"forward", "backward"}
    )
    assert np.flatnonzero(session.mask(1).any(axis=(1, 2))).tolist() == list(slices)
    assert session.results(1).keys() == set(slices)


def test_prompted_slices_outside_the_range_keep_their_mask(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 0)
    discs.prompt(session, "box", "dark", 6)
    run(session, first=5, last=9)
    assert np.flatnonzero(session.mask(1).any(axis=(1, 2))).tolist() == [0, 5, 6, 7, 8]
    assert session.results(1)[0].direction == "prompt"


def test_both_directions_run_between_prompted_slices(make: Make, discs: Any, fakes: ModuleType) -> None:
    session = make()
    for k in (2, 6):
        discs.prompt(session, "box", "dark", k)
    run(session)
    found = {index: result.direction for index, result in session.results(1).items()}
    assert [found[k] for k in range(11)] == [
        *("backward", "backward", "prompt", "both", "both", "both", "prompt"),
        *("forward", "forward", "forward", "forward"),
    ]  # fmt: skip
    assert fakes.dice(session.mask(1), discs.truth["dark"]) > 0.9
    assert session.stops(1) == {"forward": "reached the end", "backward": "reached the end"}


@pytest.mark.parametrize("remember_all", [True, False])
def test_a_track_remembers_the_prompts_its_model_was_made_for(
    make: Make, discs: Any, fakes: ModuleType, remember_all: bool
) -> None:
    session = make(fakes.FakeModel(replace(fakes.CONFIG, remember_all_prompts=remember_all)))
    discs.prompt(session, "mask", "dark", 2)
    discs.prompt(session, "mask", "bright", 4)
    run(session, direction="forward")
    # Told of a dark and of a bright object the fake looks for neither; told of the bright one alone it finds that.
    found = session.mask(1)[5]
    assert not found.any() if remember_all else fakes.dice(found, discs.truth["bright"][5]) > 0.9


def test_confidence_fades_along_the_way(make: Make, discs: Any, fakes: ModuleType) -> None:
    session = make(fakes.FakeModel(replace(fakes.CONFIG, trust_mm=10.0)), spacing=(2.0, 1.0, 1.0))
    discs.prompt(session, "box", "dark", 3)
    run(session)
    found = {index: result.confidence for index, result in session.results(1).items()}
    assert found == pytest.approx({index: 0.9 * math.exp(-2 * abs(index - 3) / 10) for index in range(11)})


# Stop rules, canceling, closing


def test_absence_stops_a_track_and_says_where(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "bright", 4)
    steps = run(session, stop=m2.StopRules(absent_slices=2))
    assert max(step.slice_index for step in steps) == 10
    assert session.stops(1)["forward"] == "stopped at slice 10: object absent on 2 slices"
    assert session.stops(1)["backward"] == "reached the end"
    again = run(session, stop=m2.StopRules(absent_slices=1))
    assert max(step.slice_index for step in again) == 9
    assert session.results(1).keys() == set(range(10))  # slice 10 of the earlier run is dropped
    assert session.stops(1)["backward"] == "stopped at slice 0: object absent on 1 slice"


def test_rules_can_be_off(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "bright", 1)
    run(session, stop=m2.StopRules(absent_slices=None))
    assert session.stops(1) == {"forward": "reached the end", "backward": "reached the end"}


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (m2.StopRules(min_area_mm2=250.0), "stopped at slice 5: area .* mm2 is under 250 mm2"),
        (m2.StopRules(max_area_change=0.5), "stopped at slice 5: area changed by 6.%"),
    ],
)
def test_the_slice_that_breaks_an_area_rule_is_left_empty(
    make: Make, discs: Any, fakes: ModuleType, rules: m2.StopRules, reason: str
) -> None:
    volume = discs.volume.copy()
    volume[5:][discs.truth["bright"][5:]] = 100
    k, j, i = np.indices(volume.shape)
    volume[((i - 36) ** 2 + (j - 20) ** 2 < 36) & (k >= 5)] = 200
    session = m2.VolumeSession(fakes.FakeModel(), volume, window=discs.window)
    discs.prompt(session, "box", "bright", 3)
    run(session, direction="forward")
    assert session.mask(1)[5:].any(axis=(1, 2)).all()
    steps = run(session, direction="forward", stop=rules)
    assert [step.slice_index for step in steps] == [3, 4]
    assert not session.mask(1)[5:].any()
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(session.stops(1)["forward"])


def test_cancelling_ends_within_a_slice_and_keeps_what_is_done(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 0)
    token = m2.CancelToken()
    seen = []
    for step in session.propagate(cancel=token):
        seen.append(step.slice_index)
        if step.slice_index == 3:
            token.cancel()
    assert seen == [0, 1, 2, 3]
    assert np.flatnonzero(session.mask(1).any(axis=(1, 2))).tolist() == seen
    assert session.stops(1)["forward"] == "cancelled"
    assert token.cancelled


def test_closing_the_iterator_keeps_what_is_done(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 0)
    steps = session.propagate(direction="forward")
    for _ in range(3):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert np.flatnonzero(session.mask(1).any(axis=(1, 2))).tolist() == [0, 1, 2]
    assert session.stops(1) == {"forward": "cancelled"}
    assert len(run(session)) == 11


def test_progress_counts_up_to_what_is_planned(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 4)
    discs.prompt(session, "box", "bright", 4, object_id=2)
    calls: list[tuple[int, int]] = []
    run(session, progress=lambda done, planned: calls.append((done, planned)))
    assert calls[0][1] == 20
    assert calls[-1] == (20, 20)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    run(session, stop=m2.StopRules(absent_slices=1), progress=lambda done, planned: calls.append((done, planned)))
    assert calls[-1] == (19, 19)  # the bright disc's track ends one slice early


# Corrections


def test_a_second_run_replaces_the_first(make: Make, discs: Any, fakes: ModuleType) -> None:
    model = fakes.FakeModel()
    session = make(model)
    discs.prompt(session, "box", "bright", 4)
    run(session)
    model.confidence = 0.4
    discs.prompt(session, "box", "dark", 4)
    run(session)
    assert {round(result.confidence, 4) for result in session.results(1).values()} == {0.4}
    assert fakes.dice(session.mask(1), discs.truth["dark"]) > 0.9


def test_a_correction_starts_from_what_was_drawn_and_conditions_the_next_run(
    make: Make, discs: Any, fakes: ModuleType
) -> None:
    model = fakes.FakeModel()
    session = make(model)
    discs.prompt(session, "box", "dark", 2)
    run(session)
    drawn_before = session.predict_slice(6)[1].mask
    x, y = discs.center("dark", 6)
    session.add_points(1, 6, [(x - 6, y)], [0])
    corrected = session.predict_slice(6)[1].mask
    assert len(model.corrected) == 1
    assert (corrected <= drawn_before).all()
    assert 0.3 < corrected.sum() / drawn_before.sum() < 0.95
    assert not corrected[y, x - 6]
    session.add_points(1, 6, [(x + 12, y)], [1])  # both clicks count, still on what the propagation drew
    assert session.predict_slice(6)[1].mask[y, x + 12]
    assert not session.predict_slice(6)[1].mask[y, x - 6]
    run(session)
    found = session.results(1)
    assert found[6].direction == "prompt"
    assert found[4].direction == "both"
    assert not session.mask(1)[6, y, x - 6]


def test_a_correction_where_nothing_was_drawn_starts_afresh(make: Make, discs: Any, fakes: ModuleType) -> None:
    model = fakes.FakeModel()
    session = make(model)
    discs.prompt(session, "box", "bright", 4)
    run(session)
    assert not session.predict_slice(9)[1].mask.any()
    session.add_points(1, 9, [discs.center("dark", 9)], [1])
    assert session.predict_slice(9)[1].mask.any()
    assert model.corrected == []


def test_a_click_on_a_given_mask_corrects_it(make: Make, discs: Any) -> None:
    session = make()
    mask = np.zeros((64, 64), dtype=bool)
    mask[10:30, 10:30] = True
    session.add_mask(1, 3, mask)
    session.add_points(1, 3, [(12, 12)], [0])
    found = session.predict_slice(3)[1].mask
    assert not found[12, 12]
    assert found[20:28, 20:28].all()
    assert not found[40:, :].any()


def test_removed_prompts_are_forgotten(make: Make, discs: Any) -> None:
    session = make()
    for k in (2, 6):
        discs.prompt(session, "box", "dark", k)
    session.remove_prompts(1, 6)
    assert session.predict_slice(6) == {}
    run(session)
    assert session.results(1)[6].direction == "forward"
    session.remove_prompts(1, 2)
    session.remove_prompts(1, 5)  # had none
    assert session.results(1).keys() == set(range(11)) - {2}
    with pytest.raises(m2.PromptError, match="nothing to propagate"):
        run(session)


def test_an_object_without_prompts_is_gone_after_the_next_propagation(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 2)
    discs.prompt(session, "box", "bright", 2, object_id=2)
    run(session)
    session.remove_prompts(1, 2)
    assert 1 in session.labelmap()
    run(session)
    assert set(np.unique(session.labelmap())) == {0, 2}


def test_a_given_mask_is_the_answer_even_if_empty(make: Make, discs: Any) -> None:
    session = make()
    discs.prompt(session, "box", "dark", 2)
    session.add_mask(1, 5, np.zeros((64, 64), np.uint8))
    run(session)
    assert not session.mask(1)[5].any()
    assert session.results(1)[5].object_score < 0


def test_a_mask_may_be_a_flipped_view(make: Make, discs: Any, fakes: ModuleType) -> None:
    session = make()
    session.add_mask(1, 2, discs.truth["dark"][2][::-1, ::-1])
    assert fakes.dice(session.predict_slice(2)[1].mask, discs.truth["dark"][2][::-1, ::-1]) > 0.9


# What runs again and what does not


def test_another_threshold_runs_nothing(tiny: m2.model.SAM2, discs: Any) -> None:
    session = m2.VolumeSession(tiny, discs.volume[:4], window=discs.window)
    session.add_box(1, 1, (10, 8, 40, 40))
    run(session)
    before = session.encoder_runs
    logits = session.predict_slice(1)[1].logits
    middle = float(np.median(logits[logits > -1000]))
    lower, middle, upper = (1 / (1 + np.exp(-middle - shift)) for shift in (-0.2, 0.0, 0.2))
    counts = [int((session.labelmap(threshold=threshold) == 1).sum()) for threshold in (lower, middle, upper)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2]
    assert (session.mask(1, threshold=middle) == (session.labelmap(threshold=middle) == 1)).all()
    assert session.encoder_runs == before


def test_a_run_after_a_correction_encodes_no_slice_again(make: Make, discs: Any) -> None:
    session = make(field_of_view="whole")
    discs.prompt(session, "box", "dark", 2)
    run(session)
    assert session.encoder_counts == {"runs": 11, "hits": 0}
    session.add_points(1, 7, [discs.center("dark", 7)], [1])
    discs.prompt(session, "box", "bright", 4, object_id=2)
    run(session)
    assert session.encoder_runs == 11
    assert session.encoder_counts["hits"] > 11


def test_a_still_zoomed_view_encodes_each_slice_once(make: Make, discs: Any) -> None:
    session = make(field_of_view="zoom")
    session.add_mask(1, 5, discs.truth["dark"][5])
    run(session, first=4, last=7)
    once = session.encoder_runs
    run(session, first=4, last=7)
    assert session.encoder_runs == once == 3


@pytest.mark.parametrize("kind", ["points", "box", "mask"])
def test_a_preview_remembers_nothing_and_a_run_each_prompt_once(
    make: Make, discs: Any, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model, prompted = fakes.FakeModel(), list[bool]()
    memorize = model.memorize

    def counted(*given: Any) -> Any:
        prompted.append(given[-1])
        return memorize(*given)

    monkeypatch.setattr(model, "memorize", counted)
    session = make(model, memory="recency")
    discs.prompt(session, kind, "dark", 4)
    session.predict_slice(4)
    assert not prompted
    run(session)
    run(session)
    assert prompted.count(True) == 1
    assert prompted.count(False) == 2 * 6  # rounds to the last slice, which is farther than the first
