"""`processImages()` through the real worker with the starter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core.errors import PromptError, VolumeError
from MedSAM2SlicerLib.images.console import processImages
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import segmentMask


def square(x: int, y: int, seed: int) -> np.ndarray:
    image = np.random.default_rng(seed).normal(90, 8, (1, 64, 64))
    image[0, y - 10 : y + 10, x - 10 : x + 10] += 80
    return image.astype(np.uint8)


@pytest.fixture
def volumes(nodes: Any) -> list[Any]:
    return [nodes.volume(square(24 + place, 30 - place, place), name=f"image {place}") for place in range(3)]


def corners(volume: Any) -> list[list[float]]:
    found: list[list[float]] = ijkToWorld(volume, [[14, 20, 0], [34, 40, 0]]).tolist()
    return found


def mask(segmentation: Any, name: str, volume: Any) -> np.ndarray:
    segmentId = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
    return segmentMask(segmentation, segmentId, volume)[0]


def test_a_box_and_what_is_not_there(client: Any, volumes: list[Any]) -> None:
    seen: list[tuple[int, int]] = []
    prompts = [{"image": volumes[0], "box": np.array(corners(volumes[0]))}, {"image": 2, "absent": True}]
    found = processImages(client, volumes, prompts, lambda done, planned: seen.append((done, planned)), model="starter")
    assert [node.GetName() for node in found] == [f"image {place} segmentation" for place in range(3)]
    drawn = mask(found[1], "object", volumes[1])
    assert drawn[22:38, 18:32].mean() > 0.7
    assert [np.ptp(np.nonzero(drawn)[axis]) + 1 for axis in (0, 1)] == pytest.approx([20, 20], abs=1)
    assert [np.nonzero(drawn)[axis].min() for axis in (0, 1)] == pytest.approx([19, 15], abs=1)
    assert not mask(found[2], "object", volumes[2]).any()
    assert seen[-1][0] == seen[-1][1]
    assert client.status().wait()["sets"] == []


def test_arrival_and_a_sequence(client: Any, nodes: Any) -> None:
    browser = nodes.sequence([square(24, 30, seed) for seed in range(3)])
    volume = next(iter(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")))
    prompts = [{"object": "square", "box": corners(volume)}]
    (segmentation,) = processImages(client, browser, prompts, order="arrival", memory="recency")
    browser.SetSelectedItemNumber(2)
    assert mask(segmentation, "square", volume)[22:38, 18:32].mean() > 0.8


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ([{"image": 3, "points": [[0, 0, 0]]}], "There is no image 3: give one from 0 to 2"),
        ([{"image": 0, "point": [[0, 0, 0]]}], "A prompt has no 'point': use image"),
        ([{"image": 0, "absent": True}], "'object' is shown in no image"),
        ([{"image": 0, "points": [[500, 0, 0]]}], "outside"),
        ([], "nothing to look for"),
    ],
)
def test_what_cannot_be_asked(client: Any, volumes: list[Any], prompts: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        processImages(client, volumes, prompts)


def test_a_volume_that_goes_meanwhile_is_an_error(client: Any, volumes: list[Any], scene: Any) -> None:
    def remove(_done: int, _planned: int) -> None:
        if volumes[1].GetScene() is not None:
            scene.RemoveNode(volumes[1])

    with pytest.raises(VolumeError, match="'image 1' was removed"):
        processImages(client, volumes, [{"box": corners(volumes[0])}], remove)
