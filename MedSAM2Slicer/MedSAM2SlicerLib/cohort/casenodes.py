"""A case in the scene: its volume, its segmentation, and the prompts of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.window import Window
from MedSAM2SlicerLib.prompts.promptnodes import promptNodes
from MedSAM2SlicerLib.scene.fitting import whyNoFit

if TYPE_CHECKING:
    from medsam2_core.io import Volume  # brings SimpleITK, which is only needed when a case is loaded


@dataclass(frozen=True)
class CaseNodes:
    """The nodes of a case that was loaded, and the grid that its image had then."""

    name: str
    volumeNode: slicer.vtkMRMLScalarVolumeNode
    segmentationNode: slicer.vtkMRMLSegmentationNode
    geometry: Geometry

    @property
    def segmentIds(self) -> list[str]:
        """The segments, in their order."""
        return list(self.segmentationNode.GetSegmentation().GetSegmentIDs())

    def has(self, node: slicer.vtkMRMLNode) -> bool:
        """Whether a node is the volume or the segmentation."""
        return node is self.volumeNode or node is self.segmentationNode

    def remove(self) -> None:
        """Take the case out of the scene; markups that were drawn for another purpose stay."""
        self.remover()()

    def remover(self) -> Callable[[], None]:
        """Return what does so, also once only a part of it is left in the scene."""
        prompts = [one for one in promptNodes(slicer.mrmlScene) if one.segmentationNode is self.segmentationNode]
        own = [*(one.node for one in prompts if not one.isTaken), self.segmentationNode, self.volumeNode]
        nodes = [*(display for node in own for display in _displays(node)), *own]

        def remove() -> None:
            for prompt in prompts:
                if slicer.mrmlScene.IsNodePresent(prompt.node):
                    prompt.drop()
            for node in nodes:
                if slicer.mrmlScene.IsNodePresent(node):
                    slicer.mrmlScene.RemoveNode(node)

        return remove


def addCase(name: str, volume: Volume, window: Window, segmentation: Path) -> CaseNodes:
    """Put a case into the scene, its volume shown in `window`. Raises VolumeError; then the scene is as before."""
    scene, kind = slicer.mrmlScene, "vtkMRMLVectorVolumeNode" if volume.in_color else "vtkMRMLScalarVolumeNode"
    segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    nodes = CaseNodes(name, scene.AddNewNodeByClass(kind, name), segmentationNode, volume.geometry)
    _fill(nodes.volumeNode, volume, window)
    if not _read(nodes.segmentationNode, segmentation):
        nodes.remove()
        text = _(
            "{path} is missing or damaged: start over with this case if it is your own work, else run medsam2 batch "
            "with it again."
        )
        raise VolumeError(text.format(path=segmentation))
    if whyNoFit(nodes.volumeNode, nodes.segmentationNode):
        nodes.remove()
        text = _("{name}: The segmentation lies on other slices than the image, so it cannot be corrected here.")
        raise VolumeError(text.format(name=name))
    nodes.segmentationNode.CreateDefaultDisplayNodes()
    nodes.segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(nodes.volumeNode)
    return nodes


def _read(node: slicer.vtkMRMLSegmentationNode, path: Path) -> bool:
    """Read a segmentation; False for a file that is missing or damaged, with which Slicer's own reader would crash."""
    from medsam2_core.io.itk import read_image

    try:
        read_image(path)
    except (VolumeError, MemoryError):  # a damaged header may tell of any size
        return False
    storage = slicer.vtkMRMLSegmentationStorageNode()  # of no node: saving a scene must not write into the results
    storage.SetFileName(str(path))
    return bool(storage.ReadData(node))


def _fill(node: slicer.vtkMRMLScalarVolumeNode, volume: Volume, window: Window) -> None:
    node.CreateDefaultDisplayNodes()
    if not volume.in_color:  # before there are voxels: of these the display would find a window of its own, in 0.6 s
        display = node.GetScalarVolumeDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevel(window.upper - window.lower, (window.upper + window.lower) / 2)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.geometry.affine_ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume.array))


def _displays(node: slicer.vtkMRMLDisplayableNode) -> list[slicer.vtkMRMLNode]:
    nodes = (node.GetNthDisplayNode(place) for place in range(node.GetNumberOfDisplayNodes()))
    return [one for one in nodes if one is not None]
