"""Segmentations that step with the frames of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Segment
from MedSAM2SlicerLib.scene.frames import SegmentationFrames, volumeSequence
from MedSAM2SlicerLib.scene.segments import SegmentWriter, segmentMask

DISC, CUP = Segment("disc", 1, (1.0, 0.5, 0.0)), Segment("cup", 2, (0.0, 0.5, 1.0))
SHAPE = (2, 8, 9)


def square(side: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[:, 1 : 1 + side, 2 : 2 + side] = True
    return mask


@pytest.fixture
def browser(nodes: Any) -> Any:
    return nodes.sequence([np.full(SHAPE, frame, np.int16) for frame in range(4)])


def shown(frames: SegmentationFrames, browser: Any, name: str = "disc") -> int:
    """Voxels of a segment in the frame that the browser is at."""
    node = frames.node
    assert node is not None
    segmentId = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    volume = browser.GetProxyNode(volumeSequence(browser))
    return int(segmentMask(node, segmentId, volume).sum()) if segmentId else 0


def paint(frames: SegmentationFrames, browser: Any, name: str, side: int) -> None:
    """Draw a segment anew in the frame in view, as a person does who edits the result."""
    segmentation = frames.node.GetSegmentation()
    segmentId = segmentation.GetSegmentIdBySegmentName(name) or segmentation.AddEmptySegment("", name)
    writer = SegmentWriter(frames.node, segmentId, browser.GetProxyNode(volumeSequence(browser)))
    writer.begin()
    writer.writeSlices(dict(enumerate(square(side))), 0)
    writer.end()


def test_they_step_with_the_images(browser: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    assert frames.node is None
    for frame in (2, 0, 1):
        frames.write(frame, {DISC: square(frame + 1), CUP: square(1)})
    volume = browser.GetProxyNode(volumeSequence(browser))
    for frame, voxels in ((0, 2), (1, 8), (2, 18), (3, 0), (1, 8)):
        browser.SetSelectedItemNumber(frame)
        assert slicer.util.arrayFromVolume(volume).max() == frame
        assert shown(frames, browser) == voxels
        assert shown(frames, browser, "cup") == (2 if frame < 3 else 0)
    assert frames.node.GetSegmentation().GetSegment("disc").GetColor() == (1.0, 0.5, 0.0)


def test_what_is_written_into_the_current_frame_is_seen_at_once(browser: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    browser.SetSelectedItemNumber(1)
    frames.write(1, {DISC: square(2)})
    assert shown(frames, browser) == 8
    volume = browser.GetProxyNode(volumeSequence(browser))
    before = volume.GetImageData().GetMTime()
    frames.write(1, {DISC: square(3)})
    assert shown(frames, browser) == 18
    assert volume.GetImageData().GetMTime() == before, "The volume has no new voxels."


def test_the_first_write_leaves_the_volume_alone(browser: Any) -> None:
    volume = browser.GetProxyNode(volumeSequence(browser))
    before = volume.GetImageData().GetMTime()
    SegmentationFrames(browser, volumeSequence(browser)).write(0, {DISC: square(2)})
    assert volume.GetImageData().GetMTime() == before


def test_segments_of_other_names_stay(browser: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    frames.write(0, {DISC: square(2), CUP: square(1)})
    frames.write(0, {DISC: square(3)})
    assert (shown(frames, browser), shown(frames, browser, "cup")) == (18, 2)


def test_what_a_person_painted_stays_when_another_segment_is_written(browser: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    frames.write(0, {DISC: square(2)})
    browser.SetSaveChanges(browser.GetSequenceNode(frames.node), False)  # as a person may choose
    paint(frames, browser, "disc", 5)
    paint(frames, browser, "by hand", 4)
    frames.write(0, {CUP: square(1)})
    browser.SetSelectedItemNumber(1)
    browser.SetSelectedItemNumber(0)
    assert [shown(frames, browser, name) for name in ("disc", "by hand", "cup")] == [50, 32, 2]


def test_a_segment_is_found_by_its_name_only(browser: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    frames.write(0, {DISC: square(2)})
    frames.node.GetSegmentation().GetSegment("disc").SetName("old disc")
    paint(frames, browser, "cup", 4)
    frames.write(0, {DISC: square(3), CUP: square(1)})
    assert [shown(frames, browser, name) for name in ("old disc", "disc", "cup")] == [8, 18, 2]
    frames.write(0, {DISC: square(4)})
    assert [shown(frames, browser, name) for name in ("old disc", "disc", "cup")] == [8, 32, 2]
    assert frames.node.GetSegmentation().GetNumberOfSegments() == 3


def test_edits_of_the_frame_in_view_are_kept_when_the_browser_steps(browser: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    for frame in range(4):
        frames.write(frame, {DISC: square(2)})
    for frame in (1, 2):
        browser.SetSelectedItemNumber(frame)
        paint(frames, browser, "disc", 3 + frame)
        paint(frames, browser, f"by hand {frame}", 1)
    frames.node.GetSegmentation().GetSegment("disc").SetName("the disc")
    for frame, name, voxels in ((0, "disc", 8), (1, "disc", 32), (2, "the disc", 50), (3, "disc", 8)):
        browser.SetSelectedItemNumber(frame)
        assert shown(frames, browser, name) == voxels
        assert shown(frames, browser, f"by hand {frame}") == (2 if frame in (1, 2) else 0)


def test_a_later_one_goes_on_with_the_same_sequence(browser: Any, scene: Any) -> None:
    first = SegmentationFrames(browser, volumeSequence(browser))
    first.write(0, {DISC: square(1)})
    other = SegmentationFrames(browser, volumeSequence(browser))
    assert other.node is first.node
    other.write(1, {DISC: square(2)})
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 2
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    browser.SetSelectedItemNumber(0)
    assert shown(other, browser) == 2


def test_a_node_that_was_removed_is_made_again(nodes: Any, browser: Any, scene: Any) -> None:
    volume = browser.GetProxyNode(volumeSequence(browser))
    volume.SetAndObserveTransformNodeID(nodes.transform(np.diag([2, 2, 2, 1])).GetID())
    frames = SegmentationFrames(browser, volumeSequence(browser))
    frames.write(0, {DISC: square(1), CUP: square(1)})
    for frame, voxels in ((1, 2), (0, 18)):  # another one than the current frame, then that
        scene.RemoveNode(frames.node)
        node = frames.write(frame, {DISC: square(3)})
        assert node is frames.node
        assert scene.IsNodePresent(node)
        assert node.GetTransformNodeID() == volume.GetTransformNodeID()
        assert shown(frames, browser) == voxels
        assert shown(frames, browser, "cup") == 2
    browser.SetSelectedItemNumber(1)
    assert shown(frames, browser) == 18
    assert scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 2


def test_it_lies_where_the_volume_does(nodes: Any, browser: Any) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (5, 6, 7)
    volume = browser.GetProxyNode(volumeSequence(browser))
    volume.SetAndObserveTransformNodeID(nodes.transform(matrix).GetID())
    frames = SegmentationFrames(browser, volumeSequence(browser))
    frames.write(0, {DISC: square(2)})
    browser.SetSelectedItemNumber(1)
    browser.SetSelectedItemNumber(0)
    assert frames.node is not None
    assert frames.node.GetTransformNodeID() == volume.GetTransformNodeID()
    assert shown(frames, browser) == 8


def test_a_browser_without_images_is_refused(nodes: Any) -> None:
    browser = nodes.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "B")
    with pytest.raises(VolumeError, match="'B' holds no images"):
        volumeSequence(browser)


def test_a_sequence_that_is_gone_is_told(browser: Any, scene: Any) -> None:
    frames = SegmentationFrames(browser, volumeSequence(browser))
    scene.RemoveNode(browser)
    with pytest.raises(VolumeError, match="'cine' was removed"):
        frames.write(0, {DISC: square(1)})


def test_frames_stay_themselves_when_others_go(browser: Any) -> None:
    sequence = volumeSequence(browser)
    frames = SegmentationFrames(browser, sequence)
    frames.write(3, {DISC: square(4)})
    browser.SetSelectedItemNumber(2)
    sequence.RemoveDataNodeAtValue("1")
    frames.write(2, {DISC: square(3)})
    with pytest.raises(VolumeError, match="Frame 1 was removed from 'cine': start again"):
        frames.write(1, {DISC: square(2)})
    for item, voxels in enumerate((0, 18, 32)):  # of the frames 0, 2 and 3
        browser.SetSelectedItemNumber(item)
        assert shown(frames, browser) == voxels


def test_segmentations_that_are_carried_have_sequences_of_their_own(browser: Any, scene: Any) -> None:
    volumes, sources = volumeSequence(browser), [scene.AddNewNodeByClass("vtkMRMLSegmentationNode") for _ in range(2)]
    apart = [SegmentationFrames(browser, volumes, source) for source in (None, *sources)]
    for side, frames in enumerate(apart, 1):
        frames.write(0, {DISC: square(side)})
    scene.RemoveNode(sources[0])
    assert [shown(frames, browser) for frames in apart] == [2, 8, 18]
    result = apart[2].node
    onward = SegmentationFrames(browser, volumes, result)
    assert onward.node is result
    scene.RemoveNode(result)
    onward.write(0, {DISC: square(4)})
    assert [shown(frames, browser) for frames in apart] == [2, 8, 32]
    assert SegmentationFrames(browser, volumes).node is apart[0].node
