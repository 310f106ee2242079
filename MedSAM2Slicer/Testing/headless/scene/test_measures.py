"""Measures of segments: in mm and mL, on slices of the volume, whatever the layer holds beside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from MedSAM2SlicerLib.scene.measures import Measures, measureSegment
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation

SHAPE = (9, 20, 30)


def draw(volume: Any, segmentation: Any, segmentId: str, mask: Any) -> None:
    writer = SegmentWriter(segmentation, segmentId, volume)
    writer.begin()
    writer.writeSlices(dict(enumerate(mask)), 0)
    writer.end()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_segment_is_measured(nodes: Any, axis: int) -> None:
    volume = nodes.volume(shape=SHAPE, matrix=np.diag([1.0, -2.0, 3.0, 1.0]))
    segmentation, neighbor = ensureSegmentation(volume, name="neighbor")
    _, segmentId = ensureSegmentation(volume, segmentation, "lesion")
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:7, 8:14, 11:26] = True
    mask[5, 8:14, 10:27] = True  # so that one slice along each axis is the largest
    mask[4:7, 9, 10:27] = True
    mask[3:8, 8:14, 18] = True
    around = np.ones(SHAPE, dtype=bool)
    draw(volume, segmentation, neighbor, around & ~mask)
    draw(volume, segmentation, segmentId, mask)
    k, j, i = 4 * 3.0, 5 * 2.0, 16 * 1.0
    found = measureSegment(segmentation, segmentId, axis)
    extent = {0: (j, i), 1: (2 * 3.0, i), 2: (k, j)}[axis]
    assert found.volumeMl == pytest.approx(mask.sum() * 6 / 1000)
    assert found.longAxisMm == pytest.approx(np.hypot(*extent))
    assert found.sliceIndex == {0: 5, 1: 9, 2: 18}[axis]
    assert 0 < found.shortAxisMm <= found.longAxisMm


def test_an_empty_segment(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    segmentation, segmentId = ensureSegmentation(volume, name="lesion")
    assert measureSegment(segmentation, segmentId, 0) == Measures()
    _, neighbor = ensureSegmentation(volume, segmentation, "neighbor")
    draw(volume, segmentation, neighbor, np.ones(SHAPE, dtype=bool))
    draw(volume, segmentation, segmentId, np.ones(SHAPE, dtype=bool))
    draw(volume, segmentation, segmentId, np.zeros(SHAPE, dtype=bool))
    assert measureSegment(segmentation, segmentId, 0) == Measures()
