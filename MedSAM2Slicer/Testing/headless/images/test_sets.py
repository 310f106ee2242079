"""A set of images in the scene, from prompts to masks, with the real worker and the starter."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
from imagesbench import PLACES, ImagesBench, dice, disc, masks, truth

from MedSAM2SlicerLib.images.frameimages import FrameImages
from MedSAM2SlicerLib.images.volumeimages import VolumeImages
from MedSAM2SlicerLib.scene.segments import segmentMask


def test_a_box_on_one_image_segments_all(bench: ImagesBench, volumes: list[Any]) -> None:
    assert bench.controller.whyNot() == "Add a point or a box to one of the images first."
    bench.box(0)
    assert bench.controller.whyNot() == ""
    bench.run()
    assert bench.said == ["Images segmented: 4."]
    for index, mask in enumerate(masks(volumes)):
        assert mask.shape == volumes[index].GetImageData().GetDimensions()[1::-1]
        assert dice(mask, truth(index, mask.shape)) > 0.7
    rows = bench.controller.rows()
    assert sorted(row.index for row in rows) == [0, 1, 2, 3]
    doubts = [row.answer.doubt for row in rows]
    assert doubts == sorted(doubts, reverse=True)
    assert [row.index for row in rows if row.isPrompted] == [0]
    answer = next(row.answer for row in rows if row.index == 1)
    assert (answer.pixels, answer.areaMm2) == (masks(volumes)[1].sum(), None)
    assert bench.progress[-1][0] == bench.progress[-1][1]


def test_a_second_prompt_on_the_worst_image(bench: ImagesBench, volumes: list[Any]) -> None:
    bench.box(0)
    bench.run()
    worst = bench.controller.nextInDoubt()
    assert worst == bench.controller.rows()[0].index
    bench.controller.show(worst)
    assert bench.controller.nextInDoubt() == bench.controller.rows()[1].index
    bench.box(worst)
    bench.run()
    assert dice(masks(volumes)[worst], truth(worst, masks(volumes)[worst].shape)) > 0.8
    assert bench.said == ["Images segmented: 4."] * 2
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 4, "Those that are there are written into."


def test_absent_here_and_several_objects(bench: ImagesBench, volumes: list[Any]) -> None:
    bench.box(0)
    bench.point(1, *PLACES[1], name="nucleus")
    bench.point(1, 2, 2, "exclude", name="nucleus")
    bench.controller.prompts.setAbsent(3, "disc", isAbsent=True)
    assert bench.controller.prompts.isAbsent(3, "disc")
    bench.run()
    assert not masks(volumes)[3].any()
    assert masks(volumes, "nucleus")[1].any()
    assert not (masks(volumes)[1] & masks(volumes, "nucleus")[1]).any()
    bench.point(3, *PLACES[3])
    assert not bench.controller.prompts.isAbsent(3, "disc"), "A point says that it is there."


def test_only_the_image_in_view_is_seen(bench: ImagesBench, volumes: list[Any], scene: Any) -> None:
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    here, there = bench.box(0), bench.box(1)
    bench.run()
    bench.controller.show(1)
    assert composite.GetBackgroundVolumeID() == volumes[1].GetID()
    assert (here.GetDisplayVisibility(), there.GetDisplayVisibility()) == (0, 1)
    visible = [node.GetDisplayVisibility() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
    assert sorted(visible) == [0, 0, 0, 1]
    bench.controller.show(0)
    assert (here.GetDisplayVisibility(), there.GetDisplayVisibility()) == (1, 0)


def test_what_cannot_be_segmented_is_said(bench: ImagesBench, volumes: list[Any], nodes: Any) -> None:
    bench.point(0, 3, 3, "exclude")
    bench.run()
    assert bench.said == ["'disc' is shown in no image: add a point or a box to one that it is in."]
    bench.point(0, -30, 3)
    bench.run()
    assert "outside" in bench.said[-1]
    bench.controller.prompts.clear(0, "disc")
    several = ImagesBench(bench.client, VolumeImages([volumes[0], nodes.volume(shape=(6, 8, 9))]))
    several.box(0)
    several.run()
    assert several.said == ["'CT' has 6 slices: choose images of one slice, or segment it in the tab Volume."]


def test_a_volume_that_was_removed_ends_the_run(bench: ImagesBench, volumes: list[Any], scene: Any) -> None:
    bench.box(0)
    bench.controller.run()
    scene.RemoveNode(volumes[1])
    while bench.controller.busy:
        bench.client.pump(0.05)
    assert bench.said == ["'image 1' was removed from the scene: choose the images again."]


def test_stop_keeps_what_is_done(bench: ImagesBench, nodes: Any) -> None:
    many = [nodes.volume(disc(25 + place % 5, 30, place, (96, 96)), name=f"{place}") for place in range(40)]
    other = ImagesBench(bench.client, VolumeImages(many))
    other.box(0)
    other.controller.progressed.connect(lambda _done, _planned: other.controller.stop())
    other.run()
    assert other.said[0].startswith("Stopped. ")
    answered = [row for row in other.controller.rows() if row.answer is not None]
    assert 0 < len(answered) < 40
    assert other.controller.rows()[: len(answered)] == answered
    other.controller.close()


def test_stopped_before_the_worker_has_begun_it_says_nothing(bench: ImagesBench) -> None:
    bench.box(0)
    bench.controller.run()
    bench.controller.stop()
    assert not bench.controller.busy
    assert bench.said == []
    bench.run()
    assert bench.said == ["Images segmented: 4."]


def test_frames_of_a_sequence_get_segmentations_that_step_with_them(client: Any, nodes: Any) -> None:
    browser = nodes.sequence([disc(*place, seed) for seed, place in enumerate(PLACES)])
    images = FrameImages(browser)
    assert images.names == ["frame 0", "frame 1", "frame 2", "frame 3"]
    bench = ImagesBench(client, images)
    bench.box(1)
    assert bench.controller.prompts.prompted() == {1}
    bench.run()
    assert bench.said == ["Images segmented: 4."]
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    volume = images.sliced(0).node
    for index in (3, 0, 2):
        bench.controller.show(index)
        assert images.shown == index
        segmentId = segmentation.GetSegmentation().GetSegmentIdBySegmentName("disc")
        assert dice(segmentMask(segmentation, segmentId, volume)[0], truth(index)) > 0.7
    bench.controller.close()


def test_frames_in_color(client: Any, nodes: Any) -> None:
    arrays = [np.repeat(disc(*place, seed)[..., None], 3, axis=3) for seed, place in enumerate(PLACES)]
    bench = ImagesBench(client, FrameImages(nodes.sequence(arrays, "vtkMRMLVectorVolumeNode")))
    bench.box(0)
    bench.run()
    assert bench.said == ["Images segmented: 4."]
    bench.controller.close()


def test_prompts_are_found_again(client: Any, volumes: list[Any]) -> None:
    first = ImagesBench(client, VolumeImages(volumes))
    first.box(2)
    first.point(3, *PLACES[3])
    other = ImagesBench(client, VolumeImages(volumes[::-1]))
    assert other.controller.prompts.prompted() == {0, 1}
    assert other.controller.prompts.names() == ["disc"]
    other.controller.prompts.clear(0, "disc")
    assert other.controller.prompts.prompted() == {1}
    assert other.box(1) is not None
    assert other.box(1).GetNumberOfDefinedControlPoints() == 1, "A box takes the place of the one before."
    assert len(slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")) == 1


def test_a_frame_that_was_removed_ends_a_run_and_the_others_stay_themselves(client: Any, nodes: Any) -> None:
    browser = nodes.sequence([disc(*place, seed) for seed, place in enumerate(PLACES)])
    bench = ImagesBench(client, FrameImages(browser))
    sequence = browser.GetMasterSequenceNode()
    bench.box(1)
    bench.controller.progressed.connect(lambda done, _planned: done == 1 and sequence.RemoveDataNodeAtValue("2"))
    bench.run()
    bench.run()
    bench.controller.show(2)
    bench.controller.preview(2, "disc")
    assert set(bench.said) == {"Frame 2 was removed from 'cine': start again with the frames that are left."}
    again = ImagesBench(client, FrameImages(browser))
    again.run()
    assert again.said == ["Images segmented: 3."]
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    for index, frame in enumerate((0, 1, 3)):
        again.controller.show(index)
        segmentId = segmentation.GetSegmentation().GetSegmentIdBySegmentName("disc")
        found = segmentMask(segmentation, segmentId, again.images.sliced(index).node)[0]
        assert dice(found, truth(frame)) > 0.7
    bench.controller.close()
    again.controller.close()
