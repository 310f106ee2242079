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


class Neighbors:
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
def neighbors(done: ControllerBench, nodes: Any, request: pytest.FixtureRequest) -> Neighbors:
    return Neighbors(done, nodes, request.param)


def test_a_propagation_does_not_take_voxels_from_locked_slices_of_others(neighbors: Neighbors) -> None:
    neighbors.controller.lock(4)
    before = neighbors.mask(neighbors.first)
    assert before[4].any()
    neighbors.drawSecond()
    finish(neighbors.bench.propagate(0))
    first, second = neighbors.mask(neighbors.first), neighbors.mask(neighbors.second)
    np.testing.assert_array_equal(first[4], before[4])
    np.testing.assert_array_equal(second[4], ~before[4])
    others = [1, 2, 3, 5]
    assert not first[others].any()
    assert second[others].all()
    said = neighbors.bench.said["finished"][-1][0]
    assert f"{before[4].sum()} voxels of the mask lie outside the editable area (outside locked slices of 'A')" in said
    neighbors.controller.setSegment(neighbors.segmentation, neighbors.first)
    assert neighbors.bench.states()[4] == "locked"


def test_previews_and_redraws_spare_them_too(neighbors: Neighbors) -> None:
    for index in (3, 4):
        neighbors.controller.lock(index)
    before = neighbors.mask(neighbors.first)
    neighbors.drawSecond()
    neighbors.bench.preview(3)
    np.testing.assert_array_equal(neighbors.mask(neighbors.second)[3], ~before[3])
    neighbors.bench.client.mask = lambda index: ~FULL
    finish(neighbors.bench.propagate(0))
    neighbors.controller.redraw(0.3)
    neighbors.bench.client.redrawn(lambda index: FULL)
    np.testing.assert_array_equal(neighbors.mask(neighbors.second)[4], ~before[4])
    np.testing.assert_array_equal(neighbors.mask(neighbors.first)[3:5], before[3:5])


def test_an_unlocked_slice_gives_way_again(neighbors: Neighbors) -> None:
    neighbors.controller.lock(4)
    neighbors.controller.lock(4)
    neighbors.drawSecond()
    finish(neighbors.bench.propagate(0))
    assert not neighbors.mask(neighbors.first).any()
    assert "voxels" not in neighbors.bench.said["finished"][-1][0]


def test_where_segments_may_overlap_nothing_is_kept_out(done: ControllerBench, nodes: Any) -> None:
    neighbors = Neighbors(done, nodes, "OverwriteNone")
    neighbors.controller.lock(4)
    before = neighbors.mask(neighbors.first)
    neighbors.drawSecond()
    finish(done.propagate(0))
    np.testing.assert_array_equal(neighbors.mask(neighbors.first), before)
    assert neighbors.mask(neighbors.second).all()


def test_slices_that_were_locked_in_another_direction_count(neighbors: Neighbors) -> None:
    neighbors.controller.setOptions(RunOptions(stack=SliceStack(1)))
    neighbors.controller.lock(3)
    before = neighbors.mask(neighbors.first)
    neighbors.controller.setOptions(RunOptions())
    neighbors.drawSecond()
    finish(neighbors.bench.propagate(0))
    first = neighbors.mask(neighbors.first)
    np.testing.assert_array_equal(first[:, 3], before[:, 3])
    assert not np.delete(first, 3, axis=1).any()


def test_oblique_slices_that_were_locked_count(neighbors: Neighbors) -> None:
    turn = np.deg2rad(30)
    plane = np.eye(4)
    plane[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    stack = SliceStack(0, tuple(tuple(row) for row in plane.tolist()))
    neighbors.controller.setOptions(RunOptions(stack=stack))
    slices = stack.oblique(neighbors.controller.workplace.volume.sliced(SliceStack()).geometry)
    before = neighbors.mask(neighbors.first)
    owners = np.where(before, slices.indexes(tuple(np.indices(before.shape))), -1)
    index = int(np.bincount(owners[before]).argmax())
    neighbors.controller.lock(index)
    neighbors.controller.setOptions(RunOptions())
    neighbors.drawSecond()
    finish(neighbors.bench.propagate(0))
    np.testing.assert_array_equal(neighbors.mask(neighbors.first), owners == index)
