"""What happens to a segment while a run writes into it, and what comes of that."""

from __future__ import annotations

import pytest
from controllerbench import ControllerBench


@pytest.mark.parametrize("isRenamed", [False, True])
def test_what_undo_takes_back_of_a_running_run_is_no_edit(bench: ControllerBench, isRenamed: bool) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    bench.propagate(steps=3)
    if isRenamed:
        controller = bench.controller
        controller.segmentationNode.GetSegmentation().GetSegment(controller.segmentId).SetName("liver")
    bench.controller.undo()
    assert bench.states() == {3: "prompted"}
    bench.propagate().finish()
    assert bench.drawn() == [1, 2, 3, 4, 5]
