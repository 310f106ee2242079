"""Sequences of runs: a file holds what differs, comes back whole, and a strange one does no harm."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.image.window import Window
from medsam2_core.run.file import check_run
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, RunObject
from medsam2_core.run.report import describe_run
from medsam2_core.run.sequence import PlacedRun, RoundLimit, describe_earlier, place_runs, whole_runs, with_earlier
from medsam2_core.run.settings import RunSettings
from medsam2_core.setting import rows
from medsam2_core.stopping import CancelToken, StopRules

GRID = Geometry((6, 8, 9), (0.7, 1.3, 2.5), (-10.1, 20.2, 30.3), ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, -1.0)))
SLICING = Slicing(GRID, 0)
BOX = BoxPrompt(2, (0.1, 1.7, 6.35, 5.0))
POINT = PointsPrompt(3, ((1.125, 2.3),), (True,))
POINTS = PointsPrompt(3, ((1.125, 2.3), (5.0, 3.0)), (True, False))
MASK = MaskPrompt(4, np.random.default_rng(1).random((8, 9)) > 0.5)
EMPTY = MaskPrompt(5, np.zeros((8, 9), dtype=bool))


LIVER = [{"name": "liver", "prompts": [0]}]


class NoResults:
    def results(self, object_id: int) -> dict[int, Any]:
        return {}

    def stops(self, object_id: int) -> dict[str, str]:
        return {}


def placed(*prompts: Any, **settings: Any) -> PlacedRun:
    given = {"first": 0, "last": 6, "direction": "both", "stop": StopRules(), **settings}
    return PlacedRun(objects=(RunObject(Segment("liver", 1, (1.0, 0.0, 0.0)), prompts),), **given)


RUNS = [
    placed(BOX, POINT, rounds=2),
    placed(BOX, POINTS, first=2, stop=StopRules(None, 4.0)),
    placed(BOX, POINTS, MASK, EMPTY, first=3, last=5, direction="forward"),
]


def report(runs: list[PlacedRun] = RUNS) -> dict[str, Any]:
    *earlier, last = runs
    settings = RunSettings(
        model="starter", model_sha256="ab" * 32, image_size=192, stack=SliceStack(),
        window=Window(-160, 240, "abdomen"), memory="recency", field_of_view="zoom", device="cpu", **last.settings,
    )  # fmt: skip
    whole = describe_run({}, GRID, settings, last.objects, NoResults(), {1: 0.0}, versions={}, seconds=1.0, encoder={})
    return json.loads(json.dumps(with_earlier(whole, [describe_earlier(run, SLICING) for run in earlier])))


def assert_same(found: PlacedRun, wanted: PlacedRun) -> None:
    (mine,), (theirs,) = found.objects, wanted.objects
    for one, other in zip(mine.prompts, theirs.prompts, strict=True):
        if isinstance(other, MaskPrompt):
            assert one.slice_index == other.slice_index
            np.testing.assert_array_equal(one.mask, other.mask)
        else:
            assert one == other
    names = ("first", "last", "direction", "rounds")
    assert [getattr(found, name) for name in names] == [getattr(wanted, name) for name in names]
    assert vars(found.stop) == vars(wanted.stop)


def test_a_sequence_comes_back() -> None:
    found = place_runs(check_run(report(), "here"), SLICING)
    assert len(found) == len(RUNS)
    for one, other in zip(found, RUNS, strict=True):
        assert_same(one, other)
    assert {run.objects[0].segment.label for run in found} == {1}


def test_a_run_has_all_its_settings_and_others_as_usual() -> None:
    stop = StopRules()
    run = PlacedRun.of((), {"first": 0, "last": 6, "direction": "both", "stop": stop, "pace": 2})
    assert run.others == {"pace": 2}
    assert run == PlacedRun((), 0, 6, "both", stop, None, {"pace": 2})
    assert run.settings.keys() == {row.name for row in rows(RunSettings) if row.part == "run"}


def test_one_run_is_a_file_as_it_was() -> None:
    assert "earlier" not in report(RUNS[:1])
    assert [run["settings"]["range"] for run in whole_runs(report(RUNS[:1]))] == [[0, 6]]


def test_a_file_grows_by_what_differs() -> None:
    first, second = report()["earlier"]
    (box, points) = first["objects"][0]["prompts"]
    assert box == 0
    assert points["points_ras"] == report(RUNS[:1])["objects"][0]["prompts"][1]["points_ras"]
    assert second["objects"] == [{"name": "liver", "prompts": [0, 1]}]
    assert first["settings"] == {"range": [0, 6], "direction": "both", "rounds": 2}
    assert set(second["settings"]) == {"range", "direction", "stop"}


def test_runs_are_added_one_by_one() -> None:
    whole = report(RUNS[:1])
    for place in (1, 2):
        whole = with_earlier(report([RUNS[place]]), whole_runs(whole))
    assert whole == report()


def test_a_mask_of_many_runs_takes_its_memory_once() -> None:
    found = place_runs(check_run(report([placed(MASK), placed(MASK, BOX), placed(BOX, MASK)]), "here"), SLICING)
    masks = {id(prompt.mask) for run in found for prompt in run.objects[0].prompts if isinstance(prompt, MaskPrompt)}
    assert len(masks) == 1


def test_what_was_run_is_not_refused_but_what_is_written_by_hand_is() -> None:
    exclude = PointsPrompt(5, ((1.0, 2.0),), (False,))
    recorded = report([placed(BOX), placed(BOX, MASK, exclude)])
    assert len(place_runs(check_run(recorded, "here"), SLICING)) == 2
    del recorded["format"]
    with pytest.raises(PromptError, match="only exclude points"):
        place_runs(check_run(recorded, "here"), SLICING)
    with pytest.raises(PromptError, match="'liver' has no prompt"):
        place_runs(check_run(report([placed(EMPTY)]), "here"), SLICING)


def test_what_was_run_keeps_its_order_and_what_is_written_by_hand_begins_with_masks() -> None:
    exclude = PointsPrompt(4, ((1.0, 2.0),), (False,))
    recorded = report([placed(exclude, MASK)])

    def kinds() -> list[type]:
        return [type(one) for one in place_runs(check_run(recorded, "here"), SLICING)[0].objects[0].prompts]

    assert kinds() == [PointsPrompt, MaskPrompt]
    del recorded["format"]
    assert kinds() == [MaskPrompt, PointsPrompt]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"earlier": 3}, "has no list 'earlier'"),
        ({"earlier": [[]]}, r"earlier\[0\] is \[\], which is not an object"),
        ({"earlier": [{}]}, r"earlier\[0\] has no list 'objects'"),
        ({"earlier": [{"objects": [{"name": "spleen", "prompts": [0]}]}]}, "use a name of the list objects"),
        ({"earlier": [{"objects": [{"name": "liver", "prompts": [9]}]}]}, "a whole number from 0 to 3"),
        ({"earlier": [{"objects": [{"name": "liver", "prompts": [True]}]}]}, "a whole number from 0 to 3"),
        ({"earlier": [{"objects": [{"name": "liver", "prompts": ["0"]}]}]}, "not an object in braces"),
        ({"earlier": [{"objects": []}]}, "The list of objects is empty"),
        ({"earlier": [{"settings": {"axis": 1}, "objects": []}]}, "axis cannot differ from run to run"),
        ({"earlier": [{"settings": {"rounds": -1}, "objects": LIVER}]}, "rounds holds -1"),
        ({"earlier": [{"settings": {"range": [0, 9]}, "objects": LIVER}]}, "6 slices"),
    ],
)  # fmt: skip
def test_a_strange_sequence_gets_one_sentence(change: dict[str, Any], problem: str) -> None:
    content = {**copy.deepcopy(report()), **change}
    with pytest.raises(PromptError, match=problem) as caught:
        place_runs(check_run(content, "run.json"), SLICING)
    assert str(caught.value).startswith("run.json: ")


def test_rounds_are_counted_and_end_a_propagation() -> None:
    stopped = CancelToken()
    limit = RoundLimit(2, stopped)
    for done in (2, 2):  # two tracks in the first round
        limit.count(done, 20)
    assert (limit.rounds, limit.done, limit.planned, limit.cancelled) == (1, 2, 20, False)
    limit.count(3, 20)  # one of them has come to its end
    assert (limit.rounds, limit.cancelled) == (2, True)
    assert RoundLimit(0, stopped).cancelled
    endless = RoundLimit(None, stopped)
    assert not endless.cancelled
    stopped.cancel()
    assert endless.cancelled


def test_a_run_that_came_to_its_end_needs_no_rounds_to_be_repeated() -> None:
    stopped = CancelToken()
    whole, part = RoundLimit(None, stopped), RoundLimit(3, stopped)
    for limit in (whole, part):
        limit.count(5, 6)
        assert limit.rounds_if_stopped == 1
    whole.count(6, 6)
    stopped.cancel()  # too late
    assert whole.rounds_if_stopped is None
    assert (whole.partial, part.partial, stopped.partial) == (False, True, False)
    assert RoundLimit(None, stopped).rounds_if_stopped == 0


def test_how_many_slices_a_run_goes_through() -> None:
    assert placed(BOX, MASK).expected_slices == 6
    assert placed(BOX, MASK, first=1, direction="forward").expected_slices == 4
    assert placed(BOX, MASK, direction="backward").expected_slices == 5
