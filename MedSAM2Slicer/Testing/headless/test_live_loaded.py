"""Propagation by itself, of a segment that was loaded with many slices: it is not to be drawn anew for a touch-up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, notice
from fakeclient import FakeClient

from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation

ORGAN = np.zeros((8, 9), dtype=bool)
ORGAN[1:3, 1:3] = True


class Loaded(ControllerBench):
    """A bench with live on and a segment of 16 slices, of which nothing is known."""

    def __init__(self, nodes: Any) -> None:
        super().__init__(nodes)
        volume, self.client = nodes.volume(shape=(20, 8, 9)), FakeClient((8, 9), 10)
        segmentation, segmentId = ensureSegmentation(volume, None, "liver")
        writer = SegmentWriter(segmentation, segmentId, volume)
        writer.begin()
        writer.writeSlices(dict.fromkeys(range(2, 18), ORGAN), 0)
        writer.end()
        self.controller.close()
        self.volume, self.controller = volume, type(self.controller)(self.client)
        self.controller.setVolume(volume)
        self.controller.setSegment(segmentation, segmentId)
        self.controller.live.turn(True)


@pytest.fixture
def loaded(nodes: Any, at_once: None) -> Iterator[Loaded]:
    made = Loaded(nodes)
    yield made
    made.controller.close()


def test_a_touch_up_of_a_loaded_segment_starts_nothing(loaded: Loaded) -> None:
    loaded.paint(10)
    notice(loaded)
    notice(loaded)
    assert loaded.states() == {10: "edited"}
    assert loaded.client.calls == []


def test_a_prompt_in_a_loaded_segment_starts_a_propagation(loaded: Loaded) -> None:
    loaded.paint(10)
    notice(loaded)
    loaded.click(2, 2, 10)
    loaded.controller.prompting.preview(10)
    loaded.client.answer(10)
    notice(loaded)
    assert loaded.client.spans == [(0, 20)]
