"""The trace of a click, kept beside the story of it in docs/development.md."""

from __future__ import annotations

import trace_click


def test_each_step_is_traced_and_the_same_again(scene: object) -> None:
    found = trace_click.measure()
    assert list(found) == [
        "first click -> request",
        "answer -> pixels",
        "propagate: start",
        "one propagated slice",
        "finish (record)",
    ]
    assert all(0 < one.moves < one.calls and 1 < one.deepest <= one.calls for one in found.values())
    again = trace_click.measure()  # which has a scene before it
    assert trace_click.measure() == again
    assert trace_click.table(found).count("\n") == 6


def test_other_code_is_not_counted() -> None:
    assert trace_click.traced(lambda: [repr(one) for one in range(3)]).calls == 0
