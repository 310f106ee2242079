"""A worker that dies is started again, and the user hears of it."""

from __future__ import annotations

from controllerbench import ControllerBench


def test_a_worker_that_had_to_be_started_again_is_told(bench: ControllerBench) -> None:
    bench.client.restarted.emit("The model process was ended by signal 9.")
    said = "The model process was ended by signal 9. It was started again; nothing that was drawn is lost."
    assert bench.said["noticed"] == [(said,)]
