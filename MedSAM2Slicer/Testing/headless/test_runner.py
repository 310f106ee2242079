"""What the worker is asked ahead of the first prompt."""

from __future__ import annotations

from controllerbench import ControllerBench


def test_the_worker_sees_a_slice_ahead_of_the_first_prompt(bench: ControllerBench) -> None:
    bench.controller.warm(2)
    assert bench.client.seen == [2]
    assert not bench.controller.waits
    for index in (-1, 7):
        bench.controller.warm(index)
    bench.controller.setVolume(None)
    bench.controller.warm(2)
    assert bench.client.seen == [2]
    assert not bench.said["failed"]


def test_nothing_is_seen_ahead_while_the_worker_is_at_work(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.controller.prompting.preview(3)
    bench.controller.warm(2)
    assert bench.client.seen == []
