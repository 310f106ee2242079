"""A transform of volume and segmentation that is hardened: segments go on, also those on oblique slices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, finish, notice
from scenefolder import writeScene

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.controller import Controller
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.scene.scenewatch import EditWatch

PLANE = ((-1.0, 0.0, 0.0, 0.0), (0.0, 0.8, -0.6, 0.0), (0.0, 0.6, 0.8, 0.0), (0.0, 0.0, 0.0, 1.0))
STACKS = {"stored": SliceStack(1), "oblique": SliceStack(0, PLANE)}


class Turned:
    """A segment that was propagated in a volume under a transform that turns it."""

    def __init__(self, bench: ControllerBench, transform: Any, stack: SliceStack, folder: Path) -> None:
        self.bench, self.folder, self.transform = bench, folder, transform
        bench.volume.SetAndObserveTransformNodeID(transform.GetID())
        bench.controller.setOptions(RunOptions(stack=stack))
        bench.click(4, 4, 3)
        self.fill()
        bench.preview(bench.client.middle)
        finish(bench.propagate(0))
        self.before = bench.states()
        self.mask = bench.mask()

    def fill(self) -> None:
        """Have the worker fill the slices there are, beginning with that of the prompt."""
        client, controller = self.bench.client, self.bench.controller
        client.shape = controller.workplace.sliced().slicing.shape
        client.middle = controller.review.prompts()[0].sliceIndex
        client.mask = lambda index: np.ones(client.shape, dtype=bool)

    def harden(self, *nodes: Any) -> None:
        for node in nodes or (self.bench.controller.segmentationNode, self.bench.volume):
            assert node.HardenTransform()
            notice(self.bench)
            self.bench.controller.review.intervals()  # what a panel asks for

    def reload(self) -> None:
        segmentId, scene = self.bench.controller.segmentId, slicer.mrmlScene
        writeScene(self.folder)
        scene.Clear(1)
        self.bench.controller.close()
        assert scene.Connect()
        self.bench.volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        self.bench.controller = Controller(self.bench.client)
        self.bench.controller.setVolume(self.bench.volume)
        self.bench.controller.setSegment(scene.GetFirstNodeByClass("vtkMRMLSegmentationNode"), segmentId)
        notice(self.bench)


@pytest.fixture(params=STACKS)
def turned(
    bench: ControllerBench, nodes: Any, randomRigid: Callable, tmp_path: Path, request: Any, monkeypatch: Any
) -> Iterator[Turned]:
    monkeypatch.setattr(EditWatch, "SETTLED", 0.0)
    yield Turned(bench, nodes.transform(randomRigid(3)), STACKS[request.param], tmp_path)
    bench.controller.close()


def requireSame(turned: Turned) -> None:
    """Nothing has become an edit, and the prompt is on its slice."""
    bench = turned.bench
    assert bench.controller.review.whyNot() == ""
    assert bench.states() == turned.before
    (prompt,) = bench.controller.review.prompts()
    assert turned.before[prompt.sliceIndex] == "prompted"
    assert bench.controller.review.sliceCount() == len(turned.before)
    np.testing.assert_array_equal(bench.mask(), turned.mask)


@pytest.mark.parametrize("isVolumeFirst", [True, False])
def test_hardening_at_work_leaves_the_slices_what_they_are(turned: Turned, isVolumeFirst: bool) -> None:
    nodes = turned.bench.volume, turned.bench.controller.segmentationNode
    turned.harden(*(nodes if isVolumeFirst else nodes[::-1]))
    requireSame(turned)


def test_hardening_before_the_scene_was_saved_leaves_the_slices_what_they_are(turned: Turned) -> None:
    turned.harden()
    turned.reload()
    requireSame(turned)


def test_hardening_while_nobody_watches_leaves_the_slices_what_they_are(turned: Turned) -> None:
    turned.reload()
    segmentation, segmentId = turned.bench.controller.segmentationNode, turned.bench.controller.segmentId
    turned.bench.controller.setSegment(None)
    turned.harden(turned.bench.volume, segmentation)
    turned.bench.controller.setSegment(segmentation, segmentId)
    requireSame(turned)


def test_an_edit_after_hardening_is_the_only_one(turned: Turned) -> None:
    turned.harden()
    mask = turned.bench.mask()[3]
    mask[4, 4] = False
    turned.bench.paint(3, mask)
    notice(turned.bench)
    (index,) = turned.bench.controller.review.edited()
    finish(turned.bench.propagate(0))
    assert not turned.bench.mask()[3, 4, 4]
    assert turned.bench.states()[index] == "edited"


def test_a_propagation_after_hardening_goes_along_the_same_slices(turned: Turned) -> None:
    bench = turned.bench
    turned.harden()
    turned.fill()
    finish(bench.propagate(0))
    assert "edited" not in bench.states().values()
    assert bench.states().keys() == turned.before.keys()
    np.testing.assert_array_equal(bench.mask(), turned.mask)
    turned.reload()
    assert bench.states().keys() == turned.before.keys()
    assert "edited" not in bench.states().values()


@pytest.mark.parametrize("grid", [[[1]], "no matrix", np.zeros((4, 4)).tolist(), np.diag([1.0, 1, -1, 1]).tolist()])
def test_a_grid_that_slices_were_not_only_moved_from_is_nothing_to_go_by(turned: Turned, grid: Any) -> None:
    segmentation, segmentId = turned.bench.controller.segmentationNode, turned.bench.controller.segmentId
    name = f"MedSAM2.Slices.{segmentId}"
    stored = json.loads(segmentation.GetAttribute(name))
    segmentation.SetAttribute(name, json.dumps({**stored, "grid": grid}))
    stack = turned.bench.controller.workplace.stack
    turned.reload()
    assert turned.bench.controller.workplace.stack in (stack, SliceStack())  # the latter if all of it is damaged
