"""Edits of segments beside the one at work, which it may overwrite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish, notice, segmentEditor

from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask

FULL, NOTHING = np.ones((8, 9), dtype=bool), np.zeros((8, 9), dtype=bool)


class Neighbors:
    """A segment that was propagated, and another one at work, which overwrites it."""

    def __init__(self, bench: ControllerBench) -> None:
        self.bench, self.segmentation = bench, bench.controller.segmentationNode
        self.edited = bench.controller.segmentId
        self.own = self.segmentation.GetSegmentation().AddEmptySegment("own", "own")
        bench.controller.setSegment(self.segmentation, self.own)
        segmentEditor(self.segmentation).SetOverwriteMode(0)

    def edit(self, index: int, mask: Any = FULL) -> None:
        """Paint the one that is not at work."""
        writer = SegmentWriter(self.segmentation, self.edited, self.bench.volume)
        writer.begin()
        writer.writeSlices({index: mask}, 0)
        writer.end()

    def draw(self, index: int, mask: Any = FULL) -> None:
        """Draw the one at work on a slice."""
        self.bench.client.mask = lambda _index: mask
        self.bench.click(2, 2, index)
        self.bench.preview(index)
        del self.bench.client.mask

    def chooseEdited(self) -> dict[int, str]:
        self.bench.controller.setSegment(self.segmentation, self.edited)
        return self.bench.states()


@pytest.fixture
def neighbors(done: ControllerBench) -> Neighbors:
    return Neighbors(done)


@pytest.mark.parametrize("isLookedFor", [True, False])
def test_an_edit_is_known_after_another_segment_was_previewed(neighbors: Neighbors, isLookedFor: bool) -> None:
    neighbors.edit(5)
    if isLookedFor:
        notice(neighbors.bench)
    neighbors.draw(2)
    assert neighbors.chooseEdited()[5] == "edited"
    finish(neighbors.bench.propagate(0))
    assert neighbors.bench.mask()[5].all()


def test_an_edit_is_known_after_it_was_overwritten_on_its_own_slice(neighbors: Neighbors) -> None:
    neighbors.edit(5)
    neighbors.draw(5, np.eye(8, 9, dtype=bool))
    assert neighbors.chooseEdited()[5] == "edited"


def test_an_edit_made_while_a_preview_was_on_its_way_is_known(neighbors: Neighbors) -> None:
    neighbors.bench.click(2, 2, 2)
    neighbors.bench.controller.prompting.preview(2)
    neighbors.edit(5)
    neighbors.bench.client.answer(2)
    assert neighbors.chooseEdited()[5] == "edited"


def test_an_edit_is_known_after_another_segment_was_redrawn(neighbors: Neighbors) -> None:
    neighbors.bench.client.mask = lambda index: np.eye(8, 9, dtype=bool) if index == 3 else NOTHING
    neighbors.bench.click(1, 1, 3)
    neighbors.bench.propagate().finish()
    neighbors.edit(6)
    neighbors.bench.controller.redraw(0.1)
    neighbors.bench.client.redrawn(lambda index: FULL if index == 4 else NOTHING)
    states = neighbors.chooseEdited()
    assert not neighbors.bench.mask()[4].any()
    assert states[6] == "edited"
    assert states[4] != "edited"


def test_an_edit_made_while_nobody_watched_is_known(neighbors: Neighbors) -> None:
    workplace = neighbors.bench.controller.workplace
    neighbors.bench.controller.close(isForGood=False)
    neighbors.edit(5)
    neighbors.bench.controller = Controller(neighbors.bench.client, workplace=workplace)
    neighbors.draw(2)
    assert neighbors.chooseEdited()[5] == "edited"


def test_what_is_undone_in_another_segment_is_no_edit(neighbors: Neighbors) -> None:
    before = segmentMask(neighbors.segmentation, neighbors.edited, neighbors.bench.volume)
    neighbors.draw(2)
    assert not segmentMask(neighbors.segmentation, neighbors.edited, neighbors.bench.volume)[2].any()
    neighbors.bench.controller.undo()
    assert "edited" not in neighbors.chooseEdited().values()
    np.testing.assert_array_equal(neighbors.bench.mask(), before)
