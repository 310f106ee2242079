"""Several objects in one session: some of them run, the others stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import medsam2_core as m2

Make = Callable[..., m2.VolumeSession]

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture
def both(make: Make, discs: Any) -> m2.VolumeSession:
    """The dark disc as object 1, prompted on slice 2, and the bright one as object 2, prompted on slice 6."""
    session = make()
    discs.prompt(session, "box", "dark", 2, object_id=1)
    discs.prompt(session, "box", "bright", 6, object_id=2)
    return session


def test_only_the_chosen_objects_run(both: m2.VolumeSession, discs: Any, fakes: ModuleType) -> None:
    steps = list(both.propagate(objects=[2]))
    assert {number for step in steps for number in step.masks} == {2}
    assert [step.slice_index for step in steps if step.direction == "prompt"] == [6]
    assert fakes.dice(both.mask(2), discs.truth["bright"]) > 0.9
    assert both.results(1).keys() <= {2}
    assert both.stops(1) == {}


def test_the_others_keep_what_they_have_drawn(both: m2.VolumeSession, discs: Any) -> None:
    list(both.propagate())
    before, results, stops = both.mask(1), both.results(1), both.stops(1)
    discs.prompt(both, "points", "bright", 4, object_id=2)
    list(both.propagate(objects=[2], stop=m2.StopRules(max_distance_mm=1.0)))
    np.testing.assert_array_equal(both.mask(1), before)
    assert (both.results(1), both.stops(1)) == (results, stops)


def test_an_object_without_prompts_stays_if_it_does_not_run(both: m2.VolumeSession) -> None:
    list(both.propagate())
    both.remove_prompts(1, 2)
    left = both.mask(1)
    list(both.propagate(objects=[2]))
    np.testing.assert_array_equal(both.mask(1), left)
    assert left[5].any()


def test_only_the_chosen_objects_need_a_prompt_in_the_range(both: m2.VolumeSession) -> None:
    steps = list(both.propagate(first=5, last=8, objects=[2]))
    assert {step.slice_index for step in steps} == {5, 6, 7}
    with pytest.raises(m2.PromptError, match=r"Object 1 has no prompt within 5:8"):
        both.propagate(first=5, last=8, objects=[1, 2])


@pytest.mark.parametrize(
    ("objects", "problem"),
    [([], "nothing to propagate"), ([3], "nothing to propagate from in object 3"), ([2, 3, 4], "in object 3, 4")],
)
def test_objects_that_cannot_run(both: m2.VolumeSession, objects: list[int], problem: str) -> None:
    with pytest.raises(m2.PromptError, match=problem):
        both.propagate(objects=objects)


def test_chosen_objects_share_the_batch_and_the_embeddings(make: Make, discs: Any, fakes: ModuleType) -> None:
    model = fakes.FakeModel()
    session = make(model, field_of_view="whole")
    for number, name in ((1, "dark"), (2, "bright"), (3, "dark")):
        discs.prompt(session, "box", name, 5, object_id=number)
    session.predict_slice(5)
    model.batches.clear()
    list(session.propagate(objects=[3, 1]))
    assert model.batches[0] == 4
    assert session.encoder_runs == 11
    list(session.propagate(objects=[2]))
    assert session.encoder_runs == 11


def test_a_preview_answers_only_what_is_new(both: m2.VolumeSession, discs: Any, fakes: ModuleType) -> None:
    both.predict_slice(2)
    both.predict_slice(6)
    model: Any = both.model
    model.batches.clear()
    discs.prompt(both, "points", "bright", 6, object_id=2)
    both.predict_slice(6)
    assert model.batches == [1]
    both.predict_slice(6)
    assert model.batches == [1]


def test_a_snapshot_brings_back_what_a_propagation_changed(both: m2.VolumeSession, discs: Any) -> None:
    list(both.propagate())
    before, results, stops = both.mask(1), both.results(1), both.stops(1)
    bring_back = both.snapshot()
    discs.prompt(both, "points", "bright", 4, object_id=1)
    discs.prompt(both, "box", "dark", 3, object_id=3)
    list(both.propagate())
    assert both.results(1) != results
    bring_back()
    np.testing.assert_array_equal(both.mask(1), before)
    assert (both.results(1), both.stops(1)) == (results, stops)
    with pytest.raises(m2.PromptError):
        both.results(3)
