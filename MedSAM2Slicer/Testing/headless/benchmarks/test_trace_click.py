"""The trace of a click, kept beside the story of it in docs/development.md."""

from __future__ import annotations

import trace_click

STRAIGHT = 8  # from the action to its goal
# All moves between files, a few more than there are: one that asks again what was looked up before takes more.
MOST = {
    "first click -> request": 152,
    "answer -> pixels": 111,  # 12 of them to see whether the volume was moved meanwhile
    "propagate: start": 163,  # 16 of them to say how long it will take, 3 to see which prompts have drawn nothing
    "one propagated slice": 45,  # 16 of them to see what a person edits or moves during the run
    "finish (record)": 140,
}


def test_each_step_is_traced_and_the_same_again(scene: object) -> None:
    found = trace_click.measure()
    assert list(found) == list(MOST)
    assert all(0 < one.moves < one.calls and 1 < one.deepest <= one.calls for one in found.values())
    again = trace_click.measure()  # which has a scene before it
    assert trace_click.measure() == again
    assert trace_click.table(found).count("\n") == 6


def test_nothing_is_asked_again_on_the_way(scene: object) -> None:
    found = trace_click.measure()
    assert all(0 < one.straight <= STRAIGHT for one in found.values())
    assert {step: one.moves for step, one in found.items() if one.moves > MOST[step]} == {}


def test_other_code_is_not_counted() -> None:
    assert trace_click.traced(lambda: [repr(one) for one in range(3)], "").calls == 0
