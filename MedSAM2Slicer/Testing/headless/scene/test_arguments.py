"""What scripts pass to process() and its like by mistake is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from fakeclient import FakeClient

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib import console
from MedSAM2SlicerLib.images.console import processImages
from MedSAM2SlicerLib.moments.console import throughTime
from MedSAM2SlicerLib.replay import replay

TEXTS = ("segmentName", "maskSegment", "window", "model", "memory", "direction", "directions", "fieldOfView", "device")
POSITIONS = ("points", "exclude", "scribbles", "excludeScribbles", "box")
WRONG = [
    *[(name, 5) for name in (*TEXTS, *POSITIONS, "volumeNode", "segmentationNode", "roiNode", "lineNode", "progress")],
    *[("range", value) for value in ((3,), 5, "ab", (1, 2, 3), (1.5, 3), {1: 2, 3: 4})],
    *[("stop", value) for value in (5, {5: 1, "x": 2}, {"inside": 5}, {"absent_slices": "x"})],
    ("axis", [0]),
    ("axis", 1.0),
    ("segmentationNode", "Segmentation"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_argument_of_another_kind_is_refused(nodes: Any, name: str, value: Any) -> None:
    given = {"volumeNode": nodes.volume(shape=(7, 8, 9)), "points": [[0.0, 0.0, 0.0]], name: value}
    with pytest.raises(MedSAM2Error, match=r": (give|use)"):
        console.process(FakeClient((8, 9)), **given)
    assert nodes.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


@pytest.mark.parametrize("name", ["volumeNode", "run", "segmentationNode", "progress", "model"])
def test_a_replay_refuses_arguments_of_another_kind(nodes: Any, name: str) -> None:
    given = {"volumeNode": nodes.volume(), "run": {"objects": []}, name: 5}
    with pytest.raises(MedSAM2Error, match=f"{name} cannot be 5: give"):
        replay(FakeClient((8, 9)), **given)


@pytest.mark.parametrize("name", ["progress", "model", "order", "memory"])
def test_a_set_refuses_arguments_of_another_kind(nodes: Any, name: str) -> None:
    with pytest.raises(MedSAM2Error, match=f"{name} cannot be 5: give"):
        processImages(FakeClient((8, 9)), [nodes.volume(shape=(1, 8, 9))], [{"points": [[0, 0, 0]]}], **{name: 5})


def test_a_prompt_of_a_set_needs_positions(nodes: Any) -> None:
    with pytest.raises(MedSAM2Error, match="5 is no list of positions"):
        processImages(FakeClient((8, 9)), [nodes.volume(shape=(1, 8, 9))], [{"points": 5}])


@pytest.mark.parametrize("value", [None, 5])
@pytest.mark.parametrize("name", ["segmentationNode", "segmentName", "window"])
def test_a_run_through_time_refuses_arguments_of_another_kind(nodes: Any, name: str, value: Any) -> None:
    given = {"volumeNode": nodes.volume(), "segmentationNode": None, "segmentName": "A", name: value}
    with pytest.raises(MedSAM2Error, match=r"[Gg]ive"):
        throughTime(FakeClient((8, 9)), **given)
