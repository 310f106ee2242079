"""Segments beside the one at work, of which only the scene knows: what they lose to it is not the user's edit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish

from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.scene.segments import SegmentWriter
from MedSAM2SlicerLib.scene.slicereview import PROMPTED, PROPAGATED

FULL = np.ones((8, 9), dtype=bool)


class Reopened(ControllerBench):
    """A bench whose scene was saved and opened again: segment A was propagated, nobody has chosen it since."""

    def __init__(self, nodes: Any) -> None:
        super().__init__(nodes)
        self.click(4, 4, 3)
        self.preview()
        finish(self.propagate(0))
        segmentation, self.other = self.controller.segmentationNode, self.controller.segmentId
        own = segmentation.GetSegmentation().AddEmptySegment("B", "B")
        self.known = self.states()
        self.controller.close()
        self.controller = Controller(self.client)
        self.controller.setVolume(self.volume)
        self.controller.setSegment(segmentation, own)
        editor = nodes.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        editor.SetOverwriteMode(editor.OverwriteAllSegments)
        self.controller.workplace.target._editorNode = editor

    def chooseOther(self) -> dict[int, str]:
        self.controller.setSegment(self.controller.segmentationNode, self.other)
        return self.states()


@pytest.fixture
def reopened(nodes: Any) -> Iterator[Reopened]:
    made = Reopened(nodes)
    yield made
    made.controller.close()


def test_what_a_preview_takes_from_it_is_no_edit(reopened: Reopened) -> None:
    reopened.click(2, 2, 2)
    reopened.client.mask = lambda index: FULL
    reopened.preview(2)
    assert reopened.chooseOther() == reopened.known
    assert not reopened.mask()[2].any()


def test_what_a_propagation_takes_from_it_is_no_edit(reopened: Reopened) -> None:
    reopened.click(2, 2, 2)
    reopened.client.mask = lambda index: FULL
    reopened.preview(2)
    finish(reopened.propagate(0))
    assert set(reopened.known.values()) == {PROMPTED, PROPAGATED}
    assert reopened.chooseOther() == reopened.known
    assert not reopened.mask().any()


def test_what_another_tool_did_to_it_before_is_one(reopened: Reopened) -> None:
    writer = SegmentWriter(reopened.controller.segmentationNode, reopened.other, reopened.volume)
    writer.begin()
    writer.writeSlices({4: FULL}, 0)
    writer.end()
    reopened.click(2, 2, 2)
    reopened.client.mask = lambda index: FULL
    reopened.preview(2)
    assert reopened.chooseOther()[4] == "edited"
