"""Masks of a set that a person has corrected, with the real worker and the starter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer.util
from imagesbench import PLACES, ImagesBench, disc, masks
from scenefolder import writeScene

from MedSAM2SlicerLib.images.frameimages import FrameImages
from MedSAM2SlicerLib.images.volumeimages import VolumeImages, imageVolumes
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation

Draw = Callable[..., np.ndarray]


@pytest.fixture
def bench(quickClient: Any, volumes: list[Any]) -> Any:
    made = ImagesBench(quickClient, VolumeImages(volumes))
    yield made
    made.controller.close()


@pytest.fixture
def draw(volumes: list[Any]) -> Draw:
    """Draw a square in an image with Segment Editor's means, and return its mask."""

    def draw(index: int, size: int = 9, name: str = "disc") -> np.ndarray:
        nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        node = next(one for one in nodes if one.GetNodeReferenceID("MedSAM2.Image") == volumes[index].GetID())
        _node, segmentId = ensureSegmentation(volumes[index], node, name)
        drawn = np.zeros(volumes[index].GetImageData().GetDimensions()[1::-1], bool)
        drawn[20 : 20 + size, 20 : 20 + size] = True
        writer = SegmentWriter(node, segmentId, volumes[index])
        writer.begin()
        writer.writeSlices({0: drawn}, 0)
        writer.end()
        return drawn

    return draw


def preview(bench: ImagesBench, index: int) -> None:
    bench.controller.preview(index, "disc")
    bench.client.status().wait()


def of(volumes: list[Any], index: int, name: str = "disc") -> np.ndarray:
    return masks(volumes, name)[index]


def test_the_list_tells_what_a_person_drew(bench: ImagesBench, draw: Draw) -> None:
    def drawn() -> set[int]:
        return {row.index for row in bench.controller.rows() if row.isHandDrawn}

    bench.box(0)
    bench.run()
    assert drawn() == set()
    draw(1)
    draw(2, name="something else")
    assert drawn() == {1}
    assert {row.index for row in bench.controller.rows() if row.isPrompted} == {0, 1}
    bench.controller.clear(1, "disc")
    assert drawn() == set()


def test_a_run_keeps_what_was_corrected_and_learns_from_it(bench: ImagesBench, volumes: list[Any], draw: Draw) -> None:
    bench.box(0)
    bench.run()
    before = masks(volumes)
    assert bench.controller.prompts.prompted() == {0}
    drawn = draw(1)
    assert bench.controller.prompts.prompted() == {0, 1}
    (item,) = bench.controller.prompts.objects()
    assert [(type(one).__name__, one.slice_index) for one in item.prompts] == [("BoxPrompt", 0), ("MaskPrompt", 1)]
    for _run in (1, 2):
        bench.run()
        assert np.array_equal(of(volumes, 1), drawn)
        assert bench.said[-1] == "Images segmented: 4. Drawn by hand and kept: 1."
    assert not np.array_equal(masks(volumes)[2], before[2])
    answer = next(row.answer for row in bench.controller.rows() if row.index == 1)
    assert (answer.pixels, answer.doubt) == (81, 0)


def test_a_correction_takes_the_place_of_earlier_prompts_in_its_image(
    bench: ImagesBench, volumes: list[Any], draw: Draw
) -> None:
    bench.box(0)
    bench.run()
    drawn = draw(0)
    (item,) = bench.controller.prompts.objects()
    assert [type(one).__name__ for one in item.prompts] == ["MaskPrompt"]
    bench.run()
    assert np.array_equal(of(volumes, 0), drawn)


def test_what_was_erased_is_not_there(bench: ImagesBench, volumes: list[Any], draw: Draw) -> None:
    bench.box(0)
    bench.run()
    draw(1, 0)
    bench.run()
    assert not of(volumes, 1).any()


def test_what_is_corrected_during_a_run_is_kept(bench: ImagesBench, volumes: list[Any], draw: Draw) -> None:
    bench.box(0)
    bench.run()
    bench.controller.run()
    drawn = draw(1)
    while bench.controller.busy:
        bench.client.pump(0.05)
    assert np.array_equal(of(volumes, 1), drawn)


def test_what_was_drawn_from_nothing_is_kept(bench: ImagesBench, volumes: list[Any], draw: Draw) -> None:
    bench.box(0)
    bench.run()
    cup = draw(1, name="cup")
    draw(2, 4, name="ruler")
    bench.point(0, *PLACES[0], name="cup")
    bench.run()
    assert np.array_equal(of(volumes, 1, "cup"), cup)
    assert bench.controller.prompts.names() == ["cup", "disc"], "What nobody asked for is not looked for."


def test_a_prompt_corrects_what_was_corrected_by_hand(bench: ImagesBench, volumes: list[Any], draw: Draw) -> None:
    bench.box(0)
    bench.run()
    drawn = draw(1)
    node = bench.point(1, 22, 22, "exclude")
    preview(bench, 1)
    corrected = of(volumes, 1)
    assert not np.array_equal(corrected, drawn)
    bench.run()
    assert np.array_equal(of(volumes, 1), corrected), "It is still a person's."
    slicer.mrmlScene.RemoveNode(node)
    preview(bench, 1)
    assert np.array_equal(of(volumes, 1), drawn)


def test_a_prompt_of_before_that_is_deleted_changes_nothing(
    bench: ImagesBench, volumes: list[Any], draw: Draw, requests: list[str]
) -> None:
    node = bench.box(0)
    bench.point(0, *PLACES[0])
    preview(bench, 0)
    drawn = draw(0)
    requests.clear()
    bench.controller.noteRemoved(node)
    slicer.mrmlScene.RemoveNode(node)
    bench.controller.goOn()
    bench.client.status().wait()
    assert np.array_equal(of(volumes[:1], 0), drawn)
    assert requests == ["status"]


def test_clear_and_not_here_take_it_back(bench: ImagesBench, volumes: list[Any], draw: Draw) -> None:
    bench.box(0)
    bench.run()
    found = of(volumes, 1)
    for take in (bench.controller.clear, lambda *place: bench.controller.setAbsent(*place, True)):
        draw(1)
        take(1, "disc")
        preview(bench, 1)
        assert np.array_equal(of(volumes, 1), found) or take != bench.controller.clear
        assert bench.controller.images.masks.handDrawn() == {}
    assert not of(volumes, 1).any()


def test_it_is_known_after_a_scene_was_saved(
    bench: ImagesBench, volumes: list[Any], draw: Draw, scene: Any, tmp_path: Any
) -> None:
    bench.box(0)
    bench.run()
    drawn = draw(1)
    writeScene(tmp_path)
    scene.Clear(0)
    assert scene.Connect()
    loaded = sorted(imageVolumes(scene), key=lambda node: node.GetName())
    other = ImagesBench(bench.client, VolumeImages(loaded))
    assert other.images.masks.handDrawn() == {(1, "disc"): True}
    other.run()
    assert np.array_equal(of(loaded, 1), drawn)
    other.controller.close()


@pytest.mark.parametrize("steps", [[], [2], [2, 1]], ids=["in view", "out of view", "seen again"])
def test_a_frame_that_was_corrected_is_kept(quickClient: Any, nodes: Any, steps: list[int]) -> None:
    images = FrameImages(nodes.sequence([disc(*place, seed) for seed, place in enumerate(PLACES)]))
    bench = ImagesBench(quickClient, images)
    bench.box(0)
    bench.run()
    assert images.masks.handDrawn() == {}
    images.show(1)
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    drawn = np.zeros((64, 64), bool)
    drawn[20:29, 20:29] = True
    writer = SegmentWriter(node, "disc", images.sliced(1).node)
    writer.begin()
    writer.writeSlices({0: drawn}, 0)
    writer.end()
    for step in steps:
        images.show(step)
    assert images.masks.handDrawn() == {(1, "disc"): True}
    assert bench.controller.prompts.prompted() == {0, 1}
    for _run in (1, 2):
        bench.run()
        assert np.array_equal(images.masks.mask(1, "disc"), drawn)
        assert bench.said[-1] == "Images segmented: 4. Drawn by hand and kept: 1."
    bench.controller.clear(1, "disc")
    assert images.masks.handDrawn() == {}
    bench.controller.close()
