"""Why a segmentation cannot be drawn in, as soon as it is chosen, and only for as long as it is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from controllerbench import ControllerBench

from MedSAM2SlicerLib.scene.fitting import whyNoFit
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation


def drawn(volume: Any) -> Any:
    """A segmentation of a volume with one voxel."""
    segmentation, segmentId = ensureSegmentation(volume)
    writer = SegmentWriter(segmentation, segmentId, volume)
    mask = np.zeros(writer.sliceShape(0), dtype=bool)
    mask[2, 3] = True
    writer.writeSlices({1: mask}, 0)
    return segmentation


def test_the_reason_is_there_while_it_holds(nodes: Any, randomRigid: Callable) -> None:
    volume, finer = nodes.volume(), nodes.volume(matrix=np.diag([0.5, 0.5, 1, 1]), name="Fine")
    segmentation = drawn(volume)
    assert whyNoFit(volume, segmentation) == ""
    assert "drawn on a different grid from that of 'Fine'" in whyNoFit(finer, segmentation)
    segmentation.SetAndObserveTransformNodeID(nodes.transform(randomRigid(1)).GetID())
    assert "under another transform than 'CT'" in whyNoFit(volume, segmentation)
    volume.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
    assert whyNoFit(volume, segmentation) == ""
    segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    assert "holds surfaces" in whyNoFit(volume, segmentation)


def test_an_empty_segmentation_fits_every_volume(nodes: Any, randomRigid: Callable) -> None:
    segmentation, _segmentId = ensureSegmentation(nodes.volume())
    moved = nodes.volume(matrix=np.diag([0.5, 0.5, 1, 1]), parent=nodes.transform(randomRigid(2)))
    assert whyNoFit(moved, segmentation) == ""


def test_the_controller_says_why_not_at_once_and_no_longer_than_it_holds(bench: ControllerBench, nodes: Any) -> None:
    assert bench.controller.review.whyNot() == ""
    other = nodes.volume(shape=(7, 8, 9), matrix=np.diag([0.5, 0.5, 1, 1]), name="Fine")
    segmentation = drawn(other)
    bench.controller.setSegment(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0))
    assert "drawn on a different grid from that of 'CT'" in bench.controller.review.whyNot()
    bench.controller.tick()
    bench.said.clear()
    bench.controller.tick()
    assert bench.said["reviewed"] == []
    bench.volume.SetSpacing(0.5, 0.5, 1)
    bench.controller.tick()
    assert bench.controller.review.whyNot() == ""
    assert bench.said["reviewed"] == [()]
    bench.controller.setVolume(None)
    assert bench.controller.review.whyNot()
