"""Regions to stay inside: ROIs and segments as masks on the volume's grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer

from medsam2_core.errors import PromptError
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.regions import regionMask, roiMask
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation

SHAPE = (6, 8, 9)


@pytest.mark.parametrize("seed", range(12))
def test_voxels_are_in_an_roi_where_slicer_says_so(
    nodes: Any, randomGrid: Callable, randomRigid: Callable, seed: int
) -> None:
    volume = nodes.volume(shape=SHAPE, matrix=randomGrid(seed), parent=nodes.transform(randomRigid(seed)))
    k, j, i = np.indices(SHAPE)
    world = ijkToWorld(volume, np.stack([i, j, k], axis=-1).reshape(-1, 3))
    roi = nodes.roi((0, 0, 0), np.ptp(world, axis=0) / 2, randomRigid(seed + 100)[:3, :3])
    roi.SetAndObserveTransformNodeID(nodes.transform(randomRigid(seed + 200)).GetID())
    roi.SetCenterWorld(*world.mean(axis=0))
    wanted = np.array([roi.IsPointInROIWorld(point) for point in world]).reshape(SHAPE)
    assert 0 < wanted.sum() < wanted.size
    np.testing.assert_array_equal(roiMask(roi, volume), wanted)


def test_centers_on_a_face_are_inside_and_a_transform_may_scale(nodes: Any) -> None:
    wanted = np.zeros(SHAPE, dtype=bool)
    wanted[1:4, 1:6, 0:5] = True
    volume = nodes.volume(shape=SHAPE)
    np.testing.assert_array_equal(roiMask(nodes.roi((2, 3, 2), (4, 4, 2)), volume), wanted)
    half = nodes.roi((1, 1.5, 1), (2, 2, 1))
    half.SetAndObserveTransformNodeID(nodes.transform(np.diag([2, 2, 2, 1])).GetID())
    np.testing.assert_array_equal(roiMask(half, volume), wanted)


def test_an_roi_without_voxels_says_so(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    flat = nodes.roi((4, 4, 3), (4, 4, 4))
    flat.SetAndObserveTransformNodeID(nodes.transform(np.diag([1, 1, 0, 1])).GetID())
    unplaced = nodes.roi((4, 4, 3.5), (0, 0, 0))
    for roi in (nodes.roi((40, 4, 3), (4, 4, 4)), unplaced, flat):
        with pytest.raises(PromptError, match="ROI 'ROI' holds no voxel of 'CT': move it"):
            roiMask(roi, volume)


def test_a_region_is_an_roi_or_a_segment(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    segmentation, segmentId = ensureSegmentation(volume, name="lung")
    drawn = np.zeros(SHAPE[1:], dtype=bool)
    drawn[2:5, 3:7] = True
    writer = SegmentWriter(segmentation, segmentId, volume)
    writer.begin()
    writer.writeSlices({2: drawn}, 0)
    writer.end()
    roi = nodes.roi((2, 3, 2), (4, 4, 2))
    np.testing.assert_array_equal(regionMask(roi.GetID(), segmentation, volume), roiMask(roi, volume))
    np.testing.assert_array_equal(regionMask(segmentId, segmentation, volume)[2], drawn)
    gone = roi.GetID()
    slicer.mrmlScene.RemoveNode(roi)
    for region in (gone, "Segment_9", volume.GetID()):
        with pytest.raises(PromptError, match="is gone: choose another"):
            regionMask(region, segmentation, volume)
