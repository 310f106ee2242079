"""`processImages()` through the real worker with the starter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core.errors import PromptError, VolumeError
from MedSAM2SlicerLib.images.console import processImages
from MedSAM2SlicerLib.images.imageprompts import ImagePrompts
from MedSAM2SlicerLib.images.volumeimages import VolumeImages
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
        ([{"image": True, "points": [[0, 0, 0]]}], "There is no image True: give one from 0 to 2"),
        ([{"image": None, "points": [[0, 0, 0]]}], "There is no image None: give one from 0 to 2"),
        ([{"image": np.int64(3), "points": [[0, 0, 0]]}], "There is no image .*3.*: give one from 0 to 2"),
        ([{"object": "", "points": [[-24, -30, 0]]}], "An object cannot be called '': give it a name."),
        ([{"object": 5, "points": [[-24, -30, 0]]}], "An object cannot be called 5: give it a name."),
        ({"image": 0, "points": [[-24, -30, 0]]}, r"Give prompts as a list of dictionaries"),
        (None, r"Give prompts as a list of dictionaries"),
        ([None], r"Give prompts as a list of dictionaries"),
    ],
)
def test_what_cannot_be_asked(client: Any, volumes: list[Any], prompts: Any, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        processImages(client, volumes, prompts)


def test_what_is_no_list_of_images(client: Any, volumes: list[Any]) -> None:
    prompts = [{"box": corners(volumes[0])}]
    choose = "Give images as a list of volumes, or as the browser of a sequence of volumes."
    for images, says in (
        ([], f"There are no images. {choose}"),
        (volumes[0], choose),
        (None, choose),
        ([volumes[0], None], f"None is no volume. {choose}"),
        ([*volumes, volumes[0]], "'image 0' is listed twice: list each volume once."),
    ):
        with pytest.raises(PromptError) as error:
            processImages(client, images, prompts)
        assert str(error.value) == says


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"seed": 1}, "seed has no effect without order 'arrival' and self-sorting memory"),
        ({"seed": 1, "order": "arrival", "memory": "recency"}, "seed has no effect"),
        ({"seed": -1, "order": "arrival"}, "seed cannot be -1: give a whole number from 0"),
        ({"seed": True, "order": "arrival"}, "seed cannot be True"),
    ],
)
def test_a_seed_that_would_do_nothing(client: Any, volumes: list[Any], words: dict[str, Any], says: str) -> None:
    with pytest.raises(PromptError, match=says):
        processImages(client, volumes, [{"image": 0, "points": [(0, 0, 0)]}], **words)


def test_numpys_numbers_and_a_name_left_out(quickClient: Any, volumes: list[Any]) -> None:
    prompts = [{"image": np.int64(1), "object": None, "box": corners(volumes[1])}]
    assert mask(processImages(quickClient, volumes, prompts)[1], "object", volumes[1]).any()


def test_objects_of_several_calls_have_colors_of_their_own(quickClient: Any, volumes: list[Any], nodes: Any) -> None:
    browser = nodes.sequence([square(24, 30, seed) for seed in range(2)])
    for images in (volumes, browser):
        seen: list[dict[str, Any]] = []
        for name in ("b", "a", "b"):
            found = processImages(quickClient, images, [{"object": name, "box": corners(volumes[0])}])
            segmentation = found[-1].GetSegmentation()
            segments = [segmentation.GetSegment(one) for one in segmentation.GetSegmentIDs()]
            seen.append({one.GetName(): one.GetColor() for one in segments})
        assert len(set(seen[1].values())) == 2
        assert seen[2] == seen[1] == {**seen[1], **seen[0]}
    prompts = ImagePrompts(VolumeImages(volumes))
    known = {name: prompts.nodeToPlace(0, name, "include").GetDisplayNode() for name in ("c", "a", "b")}
    colors = {name: display.GetSelectedColor() for name, display in known.items()}
    assert len(set(colors.values())) == 3
    assert {name: colors[name] for name in ("a", "b")} == seen[1]


def test_a_volume_that_goes_meanwhile_is_an_error(client: Any, volumes: list[Any], scene: Any) -> None:
    def remove(_done: int, _planned: int) -> None:
        if volumes[1].GetScene() is not None:
            scene.RemoveNode(volumes[1])

    with pytest.raises(VolumeError, match="'image 1' was removed"):
        processImages(client, volumes, [{"box": corners(volumes[0])}], remove)
