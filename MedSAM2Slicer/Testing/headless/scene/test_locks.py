"""Locked slices of one segment, while another one that may overwrite it is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controllerbench import ControllerBench, finish

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.segments import segmentMask

FULL = np.ones((8, 9), dtype=bool)


class Neighbours:
    """Segment A, drawn as squares on slices 1 to 5, and segment B, whose slices the worker fills."""

    def __init__(self, bench: ControllerBench, nodes: Any, overwrite: str) -> None:
        self.bench, self.controller = bench, bench.controller
        self.editor = nodes.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.editor.SetOverwriteMode(getattr(self.editor, overwrite))
        self.controller.workplace.target._editorNode = self.editor
        self.segmentation, self.first = self.controller.segmentationNode, self.controller.segmentId
        self.segmentation.GetSegmentation().GetSegment(self.first).SetName("A")
        self.second = self.segmentation.GetSegmentation().AddEmptySegment("B", "B")

    def drawSecond(self) -> None:
        self.controller.setSegment(self.segmentation, self.second)
        self.bench.click(2, 2, 3)
        self.bench.client.mask = lambda index: FULL

    def mask(self, segmentId: str) -> Any:
        return segmentMask(self.segmentation, segmentId, self.bench.volume)


@pytest.fixture(params=["OverwriteAllSegments", "OverwriteVisibleSegments"])
def neighbours(done: ControllerBench, nodes: Any, request: pytest.FixtureRequest) -> Neighbours:
    return Neighbours(done, nodes, request.param)


def test_a_propagation_does_not_take_voxels_from_locked_slices_of_others(neighbours: Neighbours) -> None:
    neighbours.controller.lock(4)
    before = neighbours.mask(neighbours.first)
    assert before[4].any()
    neighbours.drawSecond()
    finish(neighbours.bench.propagate(0))
    first, second = neighbours.mask(neighbours.first), neighbours.mask(neighbours.second)
    np.testing.assert_array_equal(first[4], before[4])
    np.testing.assert_array_equal(second[4], ~before[4])
    others = [1, 2, 3, 5]
    assert not first[others].any()
    assert second[others].all()
    said = neighbours.bench.said["finished"][-1][0]
    assert f"{before[4].sum()} voxels of the mask lie outside the editable area (outside locked slices of 'A')" in said
    neighbours.controller.setSegment(neighbours.segmentation, neighbours.first)
    assert neighbours.bench.states()[4] == "locked"


def test_previews_and_redraws_spare_them_too(neighbours: Neighbours) -> None:
    for index in (3, 4):
        neighbours.controller.lock(index)
    before = neighbours.mask(neighbours.first)
    neighbours.drawSecond()
    neighbours.bench.preview(3)
    np.testing.assert_array_equal(neighbours.mask(neighbours.second)[3], ~before[3])
    neighbours.bench.client.mask = lambda index: ~FULL
    finish(neighbours.bench.propagate(0))
    neighbours.controller.redraw(0.3)
    neighbours.bench.client.redrawn(lambda index: FULL)
    np.testing.assert_array_equal(neighbours.mask(neighbours.second)[4], ~before[4])
    np.testing.assert_array_equal(neighbours.mask(neighbours.first)[3:5], before[3:5])


def test_an_unlocked_slice_gives_way_again(neighbours: Neighbours) -> None:
    neighbours.controller.lock(4)
    neighbours.controller.lock(4)
    neighbours.drawSecond()
    finish(neighbours.bench.propagate(0))
    assert not neighbours.mask(neighbours.first).any()
    assert "voxels" not in neighbours.bench.said["finished"][-1][0]


def test_where_segments_may_overlap_nothing_is_kept_out(done: ControllerBench, nodes: Any) -> None:
    neighbours = Neighbours(done, nodes, "OverwriteNone")
    neighbours.controller.lock(4)
    before = neighbours.mask(neighbours.first)
    neighbours.drawSecond()
    finish(done.propagate(0))
    np.testing.assert_array_equal(neighbours.mask(neighbours.first), before)
    assert neighbours.mask(neighbours.second).all()


def test_slices_that_were_locked_in_another_direction_count(neighbours: Neighbours) -> None:
    neighbours.controller.setOptions(RunOptions(stack=SliceStack(1)))
    neighbours.controller.lock(3)
    before = neighbours.mask(neighbours.first)
    neighbours.controller.setOptions(RunOptions())
    neighbours.drawSecond()
    finish(neighbours.bench.propagate(0))
    first = neighbours.mask(neighbours.first)
    np.testing.assert_array_equal(first[:, 3], before[:, 3])
    assert not np.delete(first, 3, axis=1).any()


def test_oblique_slices_that_were_locked_count(neighbours: Neighbours) -> None:
    turn = np.deg2rad(30)
    plane = np.eye(4)
    plane[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    stack = SliceStack(0, tuple(tuple(row) for row in plane.tolist()))
    neighbours.controller.setOptions(RunOptions(stack=stack))
    slices = stack.oblique(neighbours.controller.workplace.volume.sliced(SliceStack()).geometry)
    before = neighbours.mask(neighbours.first)
    owners = np.where(before, slices.indexes(tuple(np.indices(before.shape))), -1)
    index = int(np.bincount(owners[before]).argmax())
    neighbours.controller.lock(index)
    neighbours.controller.setOptions(RunOptions())
    neighbours.drawSecond()
    finish(neighbours.bench.propagate(0))
    np.testing.assert_array_equal(neighbours.mask(neighbours.first), owners == index)
