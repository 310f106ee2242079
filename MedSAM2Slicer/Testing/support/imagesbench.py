"""Images with a disc each, and a person who prompts some of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer.util
import vtk

from MedSAM2SlicerLib.images.setcontroller import SetController
from MedSAM2SlicerLib.scene.geometry import ijkToWorld
from MedSAM2SlicerLib.scene.segments import segmentMask

PLACES = ((25, 30), (28, 33), (24, 27), (30, 30))  # of the disc: column and row
RADIUS = 11


def disc(x: int, y: int, seed: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    rows, columns = np.indices(shape)
    noise = np.random.default_rng(seed).normal(90, 8, shape)
    return (noise + 80 * ((columns - x) ** 2 + (rows - y) ** 2 < RADIUS**2)).astype(np.uint8)[None]


def discs(nodes: Any) -> list[Any]:
    """Volumes with a disc each: the third image is in color, the last one of another size."""
    made = [nodes.volume(disc(*PLACES[place], place), name=f"image {place}") for place in (0, 1)]
    color = nodes.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "image 2")
    slicer.util.updateVolumeFromArray(color, np.repeat(disc(*PLACES[2], 2)[..., None], 3, axis=3))
    return [*made, color, nodes.volume(disc(*PLACES[3], 3, (70, 80)), name="image 3")]


def truth(index: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    x, y = PLACES[index]
    rows, columns = np.indices(shape)
    return (columns - x) ** 2 + (rows - y) ** 2 < RADIUS**2


def dice(mask: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (mask & other).sum() / (mask.sum() + other.sum()))


class ImagesBench:
    """A controller on images, what it said, and a person's prompts."""

    def __init__(self, client: Any, images: Any) -> None:
        self.client, self.images = client, images
        self.controller = SetController(client)
        self.controller.setImages(images)
        self.said: list[str] = []
        self.progress: list[tuple[int, int]] = []
        self.controller.failed.connect(self.said.append)
        self.controller.finished.connect(self.said.append)
        self.controller.progressed.connect(lambda done, planned: self.progress.append((done, planned)))

    def world(self, index: int, x: float, y: float) -> list[float]:
        sliced = self.images.sliced(index)
        r, a, s = ijkToWorld(sliced.node, [[x, y, 0]])[0]
        return [float(r), float(a), float(s)]

    def box(self, index: int, name: str = "disc") -> Any:
        x, y = PLACES[index]
        node = self.controller.prompts.nodeToPlace(index, name, "box")
        low, high = (np.array(self.world(index, x + way * RADIUS, y + way * RADIUS)) for way in (-1, 1))
        node.AddControlPointWorld(vtk.vtkVector3d(*(low + high) / 2))
        node.SetSize(*np.maximum(np.abs(high - low), 1.0))
        self.controller.prompts.keepBox(node)
        return node

    def point(self, index: int, x: float, y: float, kind: str = "include", name: str = "disc") -> Any:
        node = self.controller.prompts.nodeToPlace(index, name, kind)
        node.AddControlPointWorld(vtk.vtkVector3d(*self.world(index, x, y)))
        return node

    def run(self) -> None:
        self.controller.run()
        while self.controller.busy:
            self.client.pump(0.05)


def masks(volumes: list[Any], name: str = "disc") -> list[np.ndarray]:
    """Of each image, in its own segmentation."""
    found = []
    for volume in volumes:
        role = [
            node
            for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
            if node.GetNodeReferenceID("MedSAM2.Image") == volume.GetID()
        ]
        (segmentation,) = role
        segmentId = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        found.append(segmentMask(segmentation, segmentId, volume)[0])
    return found
