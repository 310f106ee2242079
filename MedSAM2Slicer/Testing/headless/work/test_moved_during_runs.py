"""A volume whose grid or transform changes while a run writes masks of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from controllerbench import ControllerBench, notice
from fakeclient import FakeClient

from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib import console
from MedSAM2SlicerLib.scene.geometry import ijkToWorld


def move(nodes: Any, volume: Any, how: str) -> None:
    if how == "spacing":
        volume.SetSpacing(2, 2, 2)
    elif how == "origin":
        volume.SetOrigin(5, 6, 7)
    else:
        matrix = np.eye(4)
        matrix[:3, 3] = 10, 20, 30
        volume.SetAndObserveTransformNodeID(nodes.transform(matrix).GetID())


HOW = pytest.mark.parametrize("how", ["spacing", "origin", "transform"])


@HOW
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("isTold", [False, True])
def test_a_run_ends_at_once_when_its_volume_is_moved(
    bench: ControllerBench, nodes: Any, how: str, steps: int, isTold: bool
) -> None:
    bench.click(4, 4, 3)
    call = bench.propagate(steps=steps)
    move(nodes, bench.volume, how)
    if isTold:
        notice(bench)
    else:
        call.step()
    assert not bench.controller.busy
    ((said,),) = bench.said["failed"]
    assert said.endswith(".")
    bench.volume.SetAndObserveTransformNodeID(None)
    bench.volume.SetSpacing(1, 1, 1)
    bench.volume.SetOrigin(0, 0, 0)


@HOW
@pytest.mark.parametrize("isPainted", [False, True])
def test_a_preview_of_a_volume_that_was_moved_is_not_drawn(
    bench: ControllerBench, nodes: Any, how: str, isPainted: bool
) -> None:
    bench.click(4, 4, 3)
    if isPainted:
        bench.paint(5)
    before = bench.mask()
    bench.controller.prompting.preview(3)
    move(nodes, bench.volume, how)
    bench.client.answer(3)
    ((said,),) = bench.said["failed"]
    assert said.endswith(".")
    bench.volume.SetAndObserveTransformNodeID(None)
    bench.volume.SetSpacing(1, 1, 1)
    bench.volume.SetOrigin(0, 0, 0)
    np.testing.assert_array_equal(bench.mask(), before)


def test_what_a_run_drew_before_its_volume_was_moved_stays(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.propagate(steps=3)
    before, spacing = bench.mask(), bench.volume.GetSpacing()
    assert before.any()
    bench.volume.SetSpacing(2, 2, 2)
    notice(bench)
    assert "different grid" in bench.said["failed"][0][0]
    bench.volume.SetSpacing(spacing)
    assert (bench.mask() == before).all()


def test_a_volume_moved_together_with_its_segmentation_does_not_end_a_run(bench: ControllerBench, nodes: Any) -> None:
    bench.click(4, 4, 3)
    call = bench.propagate(steps=3)
    move(nodes, bench.volume, "transform")
    bench.controller.segmentationNode.SetAndObserveTransformNodeID(bench.volume.GetTransformNodeID())
    notice(bench)
    call.step()
    assert bench.controller.busy
    assert not bench.said["failed"]


@HOW
def test_a_call_from_the_console_ends_when_its_volume_is_moved(nodes: Any, how: str) -> None:
    volume, fake = nodes.volume(shape=(7, 8, 9)), FakeClient((8, 9))
    points, done = ijkToWorld(volume, [[4, 4, 3]]).tolist(), list[int]()

    def onProgress(count: int, _planned: int) -> None:
        done.append(count)
        if count == 2:
            move(nodes, volume, how)

    with pytest.raises(VolumeError):
        console.process(fake, volume, points=points, progress=onProgress)
    assert done[-1] == 2
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
