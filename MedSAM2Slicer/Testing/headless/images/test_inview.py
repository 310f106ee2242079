"""Which volume counts as the one in view, when slice views show several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from MedSAM2SlicerLib.images.frameimages import FrameImages
from MedSAM2SlicerLib.images.inview import InView
from MedSAM2SlicerLib.images.volumeimages import VolumeImages


@pytest.fixture
def volumes(nodes: Any) -> list[Any]:
    return [nodes.volume(shape=(1, 8, 9), name=f"image {place}") for place in range(3)]


class Views:
    """Slice views as a layout has them."""

    def __init__(self, scene: Any) -> None:
        self._views, self._composites = {}, {}
        for name in ("Red", "Green", "Yellow"):
            self._views[name] = scene.AddNewNodeByClass("vtkMRMLSliceNode")
            self._composites[name] = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
            for node in (self._views[name], self._composites[name]):
                node.SetLayoutName(name)
        self.layOut("Red", "Green", "Yellow")

    def layOut(self, *names: str) -> None:
        for name, view in self._views.items():
            view.SetMappedInLayout(name in names)

    def node(self, name: str) -> Any:
        return self._views[name]

    def switch(self, name: str, volume: Any) -> None:
        self._composites[name].SetBackgroundVolumeID(volume.GetID() if volume else None)


@pytest.fixture
def views(scene: Any) -> Views:
    return Views(scene)


def test_the_view_that_was_switched_last_counts(views: Views, volumes: list[Any]) -> None:
    inView = InView()
    assert inView.volumeId == ""
    inView.show(volumes[0])
    assert inView.volumeId == volumes[0].GetID()
    views.switch("Green", volumes[1])
    assert inView.volumeId == volumes[1].GetID()
    views.switch("Green", volumes[0])
    views.switch("Yellow", None)
    assert inView.volumeId == volumes[0].GetID()
    for name in ("Red", "Green"):
        views.switch(name, None)
    assert inView.volumeId == ""


def test_only_views_of_the_layout_count(views: Views, volumes: list[Any]) -> None:
    inView = InView()
    inView.show(volumes[0])
    views.layOut("Red")
    views.switch("Yellow", volumes[2])
    assert inView.volumeId == volumes[0].GetID()
    views.layOut("Yellow")
    assert inView.volumeId == volumes[2].GetID()
    views.layOut("Red", "Green", "Yellow")
    assert inView.volumeId == volumes[2].GetID(), "It is still in view."


def test_an_image_is_shown_by_whoever_brings_it_into_view(views: Views, volumes: list[Any]) -> None:
    images = VolumeImages(volumes)
    assert images.shown is None
    views.switch("Red", volumes[1])
    assert images.shown == 1
    assert VolumeImages(volumes[1:], images.inView).shown == 0
    assert VolumeImages(volumes[2:], images.inView).shown is None


def test_a_frame_is_shown_where_its_sequence_is(views: Views, volumes: list[Any], nodes: Any) -> None:
    browser = nodes.sequence([np.zeros((1, 8, 9), np.uint8)] * 2)
    browser.SetSelectedItemNumber(1)
    images = FrameImages(browser)
    assert (images.shown, images.first) == (None, 1)
    images.show(0)
    assert images.shown == 0
    views.switch("Red", volumes[0])
    assert images.shown is None


def test_of_several_images_the_one_in_a_view_is_told(views: Views, volumes: list[Any], nodes: Any) -> None:
    images = VolumeImages(volumes[:2])
    for name, volume in zip(("Red", "Green", "Yellow"), volumes, strict=True):
        views.switch(name, volume)
    assert [images.shownIn(views.node(name)) for name in ("Red", "Green", "Yellow")] == [0, 1, None]
    browser = nodes.sequence([np.zeros((1, 8, 9), np.uint8)] * 2)
    browser.SetSelectedItemNumber(1)
    frames = FrameImages(browser)
    views.switch("Green", browser.GetProxyNode(browser.GetMasterSequenceNode()))
    assert [frames.shownIn(views.node(name)) for name in ("Red", "Green")] == [None, 1]


def test_a_view_that_was_clicked_counts_until_another_is_switched(views: Views, volumes: list[Any]) -> None:
    inView = InView()
    views.switch("Red", volumes[0])
    views.switch("Green", volumes[1])
    inView.attend(views.node("Red"))
    assert inView.volumeId == volumes[0].GetID()
    inView.attend(views.node("Green"))
    assert inView.volumeId == volumes[1].GetID()
    views.switch("Yellow", volumes[2])
    assert inView.volumeId == volumes[2].GetID()
