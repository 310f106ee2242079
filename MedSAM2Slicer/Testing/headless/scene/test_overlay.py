"""A map over the images: where it lies, what it hides, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from medsam2_core.image.slicing import SliceStack
from medsam2_core.worker.disagreement import DisagreementMap
from MedSAM2SlicerLib.scene.overlay import Overlay
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume

SHAPE = 6, 8, 9
TILTED = SliceStack(0, tuple(tuple(row) for row in np.diag([-1.0, 1.0, 1.0, 1.0]).tolist()))


@pytest.fixture
def overlay(scene: Any) -> Overlay:
    return Overlay()


def views(count: int = 2) -> list[Any]:
    return [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _ in range(count)]


def spot(stack: SliceStack, volume: Any, index: int, row: int, column: int) -> DisagreementMap:
    """A voxel of 67 %, and the one below it in its column of 33 %."""
    percent = np.zeros(slicedVolume(volume, stack).slicing.shape, np.uint8)
    percent[row, column], percent[row + 1, column] = 67, 33
    return DisagreementMap.of([(index, percent)])


def shown() -> Any:
    (node,) = [one for one in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if "CT" not in one.GetName()]
    return node


@pytest.mark.parametrize("stack", [SliceStack(0), SliceStack(1), SliceStack(2), TILTED])
def test_it_lies_where_the_slices_do(overlay: Overlay, nodes: Any, randomGrid: Callable, stack: SliceStack) -> None:
    parent = nodes.transform(np.diag([2.0, 1.0, 1.0, 1.0]))
    volume = nodes.volume(shape=SHAPE, matrix=randomGrid(3), parent=parent)
    sliced = slicedVolume(volume, stack)
    overlay.show(spot(stack, volume, 3, 2, 5), sliced, "map")
    node, matrix = shown(), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    (k, j, i) = np.argwhere(slicer.util.arrayFromVolume(node) == 67)[0]
    found = slicer.util.arrayFromVTKMatrix(matrix) @ [i, j, k, 1]
    np.testing.assert_allclose(found[:3], sliced.slicing.geometry.ijk_to_ras([sliced.slicing.join(3, (5, 2))])[0])
    assert slicer.util.arrayFromVolume(node).size == 2
    assert node.GetTransformNodeID() == parent.GetID()
    assert not node.GetSaveWithScene()


def test_it_shows_percent_in_colors_and_nothing_where_all_agree(overlay: Overlay, nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    overlay.show(spot(SliceStack(), volume, 3, 2, 5), slicedVolume(volume), "map")
    display = shown().GetDisplayNode()
    assert (display.GetApplyThreshold(), display.GetLowerThreshold()) == (1, 1)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 100)
    colors = display.GetColorNode()
    one, two = ([0.0] * 4 for _ in range(2))
    colors.GetColor(33, one)
    colors.GetColor(67, two)
    assert one[1] > two[1] + 0.4  # yellow, then orange
    overlay.show(spot(SliceStack(), volume, 2, 2, 5), slicedVolume(volume), "map")
    assert shown().GetDisplayNode().GetColorNode() is colors


def test_views_get_back_what_they_had_in_front(overlay: Overlay, nodes: Any) -> None:
    volume, other = nodes.volume(shape=SHAPE), nodes.volume(shape=SHAPE, name="PET CT")
    first, second, third = views(3)
    first.SetForegroundVolumeID(other.GetID())
    first.SetForegroundOpacity(0.25)
    overlay.show(spot(SliceStack(), volume, 3, 2, 5), slicedVolume(volume), "map")
    assert {one.GetForegroundVolumeID() for one in (first, second, third)} == {shown().GetID()}
    third.SetForegroundVolumeID(other.GetID())  # somebody chose it
    assert overlay.isShown
    overlay.hide()
    assert not overlay.isShown
    assert (first.GetForegroundVolumeID(), first.GetForegroundOpacity()) == (other.GetID(), 0.25)
    assert (second.GetForegroundVolumeID(), second.GetForegroundOpacity()) == (None, 0.0)
    assert third.GetForegroundVolumeID() == other.GetID()
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == 2
    overlay.hide()


def test_somebody_may_remove_it_or_close_the_scene(overlay: Overlay, nodes: Any) -> None:
    volume = nodes.volume(shape=SHAPE)
    overlay.show(spot(SliceStack(), volume, 3, 2, 5), slicedVolume(volume), "map")
    slicer.mrmlScene.RemoveNode(shown())
    assert not overlay.isShown
    overlay.show(spot(SliceStack(), volume, 3, 2, 5), slicedVolume(volume), "map")
    slicer.mrmlScene.Clear(1)
    assert not overlay.isShown
    overlay.hide()
