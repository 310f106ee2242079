"""Prompts that are answered in their image at once, with the real worker and the starter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util
from imagesbench import PLACES, ImagesBench, dice, disc, masks, truth

from MedSAM2SlicerLib.images.frameimages import FrameImages
from MedSAM2SlicerLib.images.setrun import SetOptions
from MedSAM2SlicerLib.images.volumeimages import VolumeImages
from MedSAM2SlicerLib.scene.segments import segmentMask


def preview(bench: ImagesBench, index: int, name: str = "disc") -> None:
    """Have prompts drawn, and wait for the worker."""
    bench.controller.preview(index, name)
    bench.client.status().wait()


def mask(bench: ImagesBench, index: int, name: str = "disc") -> np.ndarray:
    return masks(bench.images.nodes[index : index + 1], name)[0]


@pytest.mark.parametrize("order", ["free", "arrival"])
@pytest.mark.parametrize("index", [0, 2, 3])  # gray, in color, of another size
def test_a_preview_is_what_the_run_says(bench: ImagesBench, index: int, order: str) -> None:
    bench.controller.options = SetOptions(order=order)
    bench.box(index)
    preview(bench, index)
    box = mask(bench, index)
    assert dice(box, truth(index, box.shape)) > 0.8
    x, y = PLACES[index]
    bench.point(index, x + 6, y, "exclude")
    preview(bench, index)
    corrected = mask(bench, index)
    assert not np.array_equal(corrected, box)
    bench.run()
    assert np.array_equal(mask(bench, index), corrected)
    assert bench.said == ["Images segmented: 4."]


def test_a_prompt_is_one_request(bench: ImagesBench, requests: list[str]) -> None:
    bench.client.prepare().wait()
    bench.controller.show(0)
    bench.controller.look(0)
    bench.client.status().wait()
    requests.clear()
    bench.box(0)
    preview(bench, 0)
    bench.point(0, *PLACES[0], name="other")
    preview(bench, 0, "other")
    preview(bench, 0, "other")
    assert requests == ["predict", "status", "predict", "status", "status"], "What has not changed is not asked again."


def test_who_walks_on_leaves_no_looks_behind(bench: ImagesBench, requests: list[str]) -> None:
    bench.client.prepare().wait()
    requests.clear()
    for index in range(4):
        bench.controller.look(index)
    bench.client.status().wait()
    assert requests.count("look") <= 2  # that of the last image, and one that had begun


def test_with_the_prompts_gone_it_is_as_the_run_left_it(bench: ImagesBench) -> None:
    prompts = bench.controller.prompts
    bench.box(0)
    preview(bench, 0)
    prompts.clear(0, "disc")
    preview(bench, 0)
    assert not mask(bench, 0).any()
    bench.box(0)
    bench.run()
    found = mask(bench, 1)
    bench.point(1, *PLACES[1])
    bench.point(1, PLACES[1][0] + 6, PLACES[1][1], "exclude")
    preview(bench, 1)
    assert not np.array_equal(mask(bench, 1), found)
    prompts.clear(1, "disc")
    preview(bench, 1)
    assert np.array_equal(mask(bench, 1), found)
    prompts.setAbsent(1, "disc", isAbsent=True)
    preview(bench, 1)
    assert not mask(bench, 1).any()
    prompts.setAbsent(1, "disc", isAbsent=False)
    preview(bench, 1)
    assert np.array_equal(mask(bench, 1), found)


@pytest.mark.parametrize("hasRun", [True, False])
def test_what_was_drawn_is_known_in_another_list_of_the_same_images(
    bench: ImagesBench, volumes: list[Any], hasRun: bool
) -> None:
    bench.box(0)
    if hasRun:
        bench.run()
        found = mask(bench, 1)
    bench.box(1)
    bench.point(1, PLACES[1][0] + 6, PLACES[1][1], "exclude")
    preview(bench, 1)
    bench.controller.setImages(VolumeImages(volumes[1:]))
    bench.controller.prompts.clear(0, "disc")
    preview(bench, 0)
    assert np.array_equal(mask(bench, 1), found) if hasRun else not mask(bench, 1).any()
    bench.controller.prompts.setAbsent(0, "disc", isAbsent=True)
    preview(bench, 0)
    assert not mask(bench, 1).any()


def test_what_waits_for_the_worker_is_drawn_in_another_list_of_the_same_images(
    bench: ImagesBench, volumes: list[Any]
) -> None:
    for index in (0, 1, 2):
        bench.box(index)
        bench.controller.preview(index, "disc")
    bench.controller.setImages(VolumeImages(volumes[1:]))
    for _one in (1, 2):
        bench.client.status().wait()
    assert [dice(mask(bench, index), truth(index)) > 0.8 for index in (1, 2)] == [True, True]
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2, "The first image has left the set."


def test_during_a_run_it_waits_for_the_end(bench: ImagesBench) -> None:
    bench.box(0)
    bench.controller.run()
    bench.point(0, *PLACES[0], name="other")
    bench.controller.preview(0, "other")
    while bench.controller.busy:
        bench.client.pump(0.05)
    bench.client.status().wait()
    assert mask(bench, 0, "other").any()


def test_what_a_run_answers_is_not_asked_again(bench: ImagesBench, requests: list[str]) -> None:
    bench.box(0)
    bench.box(1)
    bench.controller.preview(0, "disc")
    bench.controller.preview(1, "disc")  # it waits for the first one's answer
    bench.run()
    bench.client.status().wait()
    assert bench.said == ["Images segmented: 4."]
    assert requests.count("predict") <= 1


def test_a_frame_of_a_sequence(client: Any, nodes: Any) -> None:
    browser = nodes.sequence([disc(*place, seed) for seed, place in enumerate(PLACES)])
    bench = ImagesBench(client, FrameImages(browser))
    client.setModel("starter", "cpu")
    bench.controller.show(2)
    bench.box(2)
    preview(bench, 2)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    found = segmentMask(segmentation, "disc", browser.GetProxyNode(browser.GetMasterSequenceNode()))[0]
    assert dice(found, truth(2)) > 0.8
    bench.controller.close()


def test_what_cannot_be_drawn_is_said(bench: ImagesBench, volumes: list[Any], scene: Any) -> None:
    bench.point(0, -30, 3)
    preview(bench, 0)
    assert "outside" in bench.said[-1]
    bench.box(1)
    bench.controller.preview(1, "disc")
    scene.RemoveNode(volumes[1])
    bench.client.status().wait()
    assert bench.said[-1] == "'image 1' was removed from the scene: choose the images again."
