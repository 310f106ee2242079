"""Volumes of one slice as images: which ones, and what is in view."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer.util

from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib.images.volumeimages import VolumeImages, imageVolumes

SHAPE = (1, 8, 9)


def test_what_is_an_image(nodes: Any, scene: Any) -> None:
    image = nodes.volume(shape=SHAPE)
    color = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    slicer.util.updateVolumeFromArray(color, np.zeros((*SHAPE, 3), np.uint8))
    nodes.volume(shape=(2, 8, 9))
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    slicer.util.updateVolumeFromArray(labels, np.zeros(SHAPE, np.uint8))
    nodes.volume(shape=SHAPE, name="hidden").SetHideFromEditors(True)
    nodes.volume(shape=SHAPE, name="a map of one slice").SetSaveWithScene(False)
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    nodes.sequence([np.zeros(SHAPE, np.uint8)] * 2)
    assert imageVolumes(scene) == [image, color]


def test_one_that_was_removed_is_not_in_view(nodes: Any, scene: Any) -> None:
    images = VolumeImages([nodes.volume(shape=SHAPE, name=f"image {place}") for place in range(2)])
    images.show(0)
    scene.RemoveNode(images.nodes[1])
    with pytest.raises(VolumeError, match="'image 1' was removed"):
        images.show(1)
    assert images.shown == 0
