"""Prompts of a set as markups of the scene."""

from __future__ import annotations

from typing import Any

import pytest
import vtk

from MedSAM2SlicerLib.images.imageprompts import ImagePrompts
from MedSAM2SlicerLib.images.volumeimages import VolumeImages


@pytest.fixture
def prompts(nodes: Any) -> ImagePrompts:
    return ImagePrompts(VolumeImages([nodes.volume(shape=(1, 8, 9), name=f"image {place}") for place in range(2)]))


def point(prompts: ImagePrompts, index: int, name: str, kind: str = "include") -> Any:
    node = prompts.nodeToPlace(index, name, kind)
    node.AddControlPointWorld(vtk.vtkVector3d(4, 4, 0))
    return node


def color(node: Any) -> Any:
    return node.GetDisplayNode().GetSelectedColor()


def test_each_object_has_a_color_of_its_own(prompts: ImagePrompts) -> None:
    names = ["liver", "cup", "disc", "aorta"]  # each new one is before others in the alphabet
    colors = {name: color(point(prompts, 0, name)) for name in names}
    assert len(set(colors.values())) == 4
    assert {one.segment.name: one.segment.color for one in prompts.objects()} == colors
    assert color(point(prompts, 1, "liver", "exclude")) == colors["liver"]
    prompts.clear(0, "cup")
    assert color(point(prompts, 0, "kidney")) not in {colors[name] for name in ("liver", "disc", "aorta")}


def test_a_color_that_somebody_chose_is_the_objects(prompts: ImagePrompts) -> None:
    point(prompts, 0, "disc").GetDisplayNode().SetSelectedColor(0.25, 0.5, 0.75)
    (item,) = prompts.objects()
    assert item.segment.color == color(point(prompts, 1, "disc")) == (0.25, 0.5, 0.75)


def test_clearing_leaves_other_images_and_objects(prompts: ImagePrompts) -> None:
    for index, name, kind in ((0, "disc", "include"), (0, "disc", "exclude"), (0, "cup", "include")):
        point(prompts, index, name, kind)
    point(prompts, 1, "disc")
    prompts.setAbsent(1, "cup", isAbsent=True)
    prompts.clear(0, "disc")
    assert {(item.segment.name, one.slice_index) for item in prompts.objects() for one in item.prompts} == {
        ("cup", 0),
        ("cup", 1),
        ("disc", 1),
    }
