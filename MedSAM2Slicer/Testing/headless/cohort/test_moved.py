"""A segmentation that was moved against its image is work, kept as it is seen; a case moved as a whole is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core import io
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.prompts.promptset import PromptSet
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume
from MedSAM2SlicerLib.scene.slicereview import EDITED

SHIFT = [[1, 0, 0, 4], [0, 1, 0, 0], [0, 0, 1, 2.5], [0, 0, 0, 1]]
TURN = [[0, -1, 0, 7], [1, 0, 0, -3], [0, 0, 1, 5], [0, 0, 0, 1]]


def move(reviewed: Any, nodes: Any, how: str, *, matrix: Any = SHIFT, both: bool = False) -> None:
    case = reviewed.case.nodes
    transform = nodes.warp() if how == "warped" else nodes.transform(matrix)
    for node in [case.segmentationNode, *([case.volumeNode] if both else [])]:
        node.SetAndObserveTransformNodeID(transform.GetID())
        if how == "hardened":
            node.HardenTransform()


@pytest.mark.parametrize("how", ["parent", "hardened", "warped"])
def test_a_moved_segmentation_is_kept_as_it_is_seen(reviewed: Any, nodes: Any, how: str) -> None:
    reviewed.load("two")
    model = reviewed.mask("ball")
    move(reviewed, nodes, how)
    seen = {name: reviewed.mask(name) for name in ("ball", "block")}
    assert (seen["ball"] != model).any()
    assert reviewed.isChanged
    reviewed.load("dicom")
    assert "kept as a draft" in reviewed.said[-1]
    reviewed.load("two")
    for name, mask in seen.items():
        np.testing.assert_array_equal(reviewed.mask(name), mask)
    assert not reviewed.isChanged
    reviewed.choose("ball")
    assert not reviewed.isChanged
    assert EDITED in {state.origin for state in reviewed.controller.review.slices().values()}


@pytest.mark.parametrize("how", ["parent", "hardened"])
def test_what_is_accepted_is_what_was_seen_on_the_grid_of_the_image(reviewed: Any, nodes: Any, how: str) -> None:
    reviewed.load("two")
    move(reviewed, nodes, how)
    seen = reviewed.mask("ball")
    reviewed.review.accept()
    grid = io.read_volume(reviewed.folder.parent / "two.nrrd").geometry
    written = io.read_mask(reviewed.folder / "two" / "segmentation.seg.nrrd", grid, "ball")
    np.testing.assert_array_equal(written, seen)
    assert reviewed.failures == []


@pytest.mark.parametrize("how", ["parent", "hardened"])
def test_a_case_that_is_moved_as_a_whole_is_not_changed_and_can_be_corrected(
    reviewed: Any, nodes: Any, how: str
) -> None:
    reviewed.load("two")
    move(reviewed, nodes, how, matrix=TURN, both=True)
    assert not reviewed.isChanged
    reviewed.paint("block", 0, np.ones((40, 48), bool))
    seen = reviewed.mask("block")
    reviewed.load("dicom")
    reviewed.load("two")
    np.testing.assert_array_equal(reviewed.mask("block"), seen)


def test_a_segmentation_that_is_moved_back_is_as_before(reviewed: Any, nodes: Any) -> None:
    reviewed.load("two")
    move(reviewed, nodes, "hardened")
    move(reviewed, nodes, "hardened", matrix=np.linalg.inv(SHIFT))
    assert not reviewed.isChanged


def test_an_image_that_was_cropped_meanwhile_has_its_sentence(reviewed: Any, nodes: Any) -> None:
    reviewed.load("two")
    move(reviewed, nodes, "parent")
    volume = reviewed.case.nodes.volumeNode
    slicer.util.updateVolumeFromArray(volume, slicer.util.arrayFromVolume(volume)[:4].copy())
    reviewed.review.load("dicom")
    assert "cropped" in reviewed.failures.pop()
    assert reviewed.review.name == "two"


def placedPrompts(reviewed: Any, name: str) -> list[Any]:
    """The prompts of an object as the model gets them: on pixels of slices."""
    nodes = reviewed.case.nodes
    placer = PromptPlacer(slicedVolume(nodes.volumeNode))
    return PromptSet(nodes.segmentationNode, reviewed.segment(name)).prompts(placer)


def bend(nodes: Any, node: Any, matrix: Any, *, harden: bool = False) -> None:
    node.SetAndObserveTransformNodeID(nodes.transform(matrix).GetID())
    if harden:
        node.HardenTransform()


PLACES = {
    "turned": (TURN, False),
    "hardened": (TURN, True),
    "scaled": ([[1.5, 0, 0, 4], [0, 0.5, 0, 0], [0, 0, -2, 2.5], [0, 0, 0, 1]], False),
    "sheared": ([[1, 0.3, 0, 4], [0, 1, 0, 0], [0, 0.2, 1, 2.5], [0, 0, 0, 1]], False),
}


@pytest.mark.parametrize("how", PLACES)
def test_prompts_drawn_on_a_case_that_was_moved_return_to_the_same_voxels(reviewed: Any, nodes: Any, how: str) -> None:
    matrix, harden = PLACES[how]
    reviewed.load("two")
    case = reviewed.case.nodes
    markups = [
        node for kind in ("Fiducial", "ROI") for node in slicer.util.getNodesByClass(f"vtkMRMLMarkups{kind}Node")
    ]
    for node in (case.volumeNode, case.segmentationNode, *markups):  # as if all lay in one folder of Subject hierarchy
        bend(nodes, node, matrix, harden=harden)
    reviewed.click(12, 31, 4)
    seen = {name: placedPrompts(reviewed, name) for name in ("ball", "block")}
    reviewed.load("dicom")
    reviewed.load("two")
    for name, prompts in seen.items():
        assert placedPrompts(reviewed, name) == prompts
    assert not reviewed.isChanged
