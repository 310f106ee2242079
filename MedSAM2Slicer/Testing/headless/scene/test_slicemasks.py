"""A segment slice by slice, on real MRML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation, segmentMask
from MedSAM2SlicerLib.scene.slicemasks import StoredSliceMasks, maskPrint

SHAPE = (7, 8, 9)


@pytest.fixture
def segment(nodes: Any) -> Any:
    """A volume, and a segment with a random blob in its middle."""
    volume = nodes.volume(shape=SHAPE)
    segmentation, segmentId = ensureSegmentation(volume)
    blob = np.zeros(SHAPE, dtype=bool)
    blob[2:5, 3:7, 2:6] = np.random.default_rng(1).random((3, 4, 4)) > 0.4
    write(volume, segmentation, segmentId, dict(enumerate(blob)))
    return volume, segmentation, segmentId


def write(volume: Any, segmentation: Any, segmentId: str, masks: Any, axis: int = 0) -> None:
    writer = SegmentWriter(segmentation, segmentId, volume)
    writer.begin()
    writer.writeSlices(masks, axis)
    writer.end()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_those_of_the_whole_segment(segment: Any, axis: int) -> None:
    volume, segmentation, segmentId = segment
    masks = StoredSliceMasks(segmentation, segmentId, SHAPE, axis)
    whole = np.moveaxis(segmentMask(segmentation, segmentId, volume), axis, 0)
    for index, expected in enumerate(whole):
        np.testing.assert_array_equal(masks.mask(index), expected)
    assert masks.prints() == {index: maskPrint(one) for index, one in enumerate(whole) if one.any()}
    assert {index: masks.print(index) for index in range(len(whole))} == {
        index: masks.prints().get(index) for index in range(len(whole))
    }


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_prints_tell_which_slices_changed(segment: Any, axis: int) -> None:
    volume, segmentation, segmentId = segment
    masks = StoredSliceMasks(segmentation, segmentId, SHAPE, axis)
    before = masks.prints()
    changed = masks.mask(4)
    changed[0, 0] = ~changed[0, 0]
    write(volume, segmentation, segmentId, {4: changed}, axis)
    after = masks.prints()
    assert {index for index in before | after if before.get(index) != after.get(index)} == {4}


def test_prints_do_not_depend_on_the_room_around(segment: Any) -> None:
    volume, segmentation, segmentId = segment
    masks = StoredSliceMasks(segmentation, segmentId, SHAPE, 0)
    before = masks.prints()
    corner = np.zeros(SHAPE[1:], dtype=bool)
    corner[7, 8] = True
    write(volume, segmentation, segmentId, {6: corner})
    assert masks.prints() == before | {6: maskPrint(corner)}
    write(volume, segmentation, segmentId, {6: None})
    assert masks.prints() == before


def test_an_empty_or_removed_segment_has_no_prints(nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    segmentation, segmentId = ensureSegmentation(volume)
    masks = StoredSliceMasks(segmentation, segmentId, SHAPE, 0)
    assert masks.prints() == {}
    assert not masks.mask(3).any()
    segmentation.GetSegmentation().RemoveSegment(segmentId)
    assert masks.prints() == {}
    assert masks.mask(3).shape == (8, 9)
