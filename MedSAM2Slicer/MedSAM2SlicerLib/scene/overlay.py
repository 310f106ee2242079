"""A map of some voxels, in percent, over the images in the slice views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import slicer.util

from medsam2_core.worker.disagreement import DisagreementMap
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume

_COLORS = "MedSAM2DisagreementColors"  # the tag of the color table
_FEW, _MANY = (0.94, 0.89, 0.26), (0.78, 0.29, 0.0)  # yellow and, as the doubt in the strip, vermilion
_ONE, _TWO = 100 / 3, 200 / 3  # percent: all three cannot say otherwise than their mean
_OPACITY = 0.6


@dataclass(frozen=True)
class _Before:
    """What a slice view had in front."""

    volumeId: str | None
    opacity: float


class Overlay:
    """At most one map, in a volume of its own, which is removed when it is hidden and not saved with the scene."""

    def __init__(self) -> None:
        self._node: slicer.vtkMRMLScalarVolumeNode | None = None
        self._before: dict[str, _Before] = {}  # by the view's composite node

    @property
    def isShown(self) -> bool:
        """Whether there is a map; somebody may have removed it."""
        return self._node is not None and slicer.mrmlScene.IsNodePresent(self._node)

    def show(self, found: DisagreementMap, volume: SlicedVolume, name: str) -> None:
        """Show a map on the slices of a volume, in front of whatever the views have there."""
        self.hide()
        self._node = _makeNode(found, volume, name)
        for view in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            self._before[view.GetID()] = _Before(view.GetForegroundVolumeID(), view.GetForegroundOpacity())
            view.SetForegroundVolumeID(self._node.GetID())
            view.SetForegroundOpacity(_OPACITY)

    def hide(self) -> None:
        """Remove the map, and give the views back what they had, unless somebody chose something else there."""
        node, before = self._node, self._before
        self._node, self._before = None, {}
        if node is None:
            return
        for viewId, had in before.items():
            view = slicer.mrmlScene.GetNodeByID(viewId)
            if view is not None and view.GetForegroundVolumeID() == node.GetID():
                view.SetForegroundVolumeID(had.volumeId)
                view.SetForegroundOpacity(had.opacity)
        if slicer.mrmlScene.IsNodePresent(node):
            slicer.mrmlScene.RemoveNode(node)


def _makeNode(found: DisagreementMap, volume: SlicedVolume, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume of the map's part of the slices, which moves with the volume that these are of."""
    corner, block = found.block()
    slicing = volume.slicing
    affine = slicing.geometry.affine_ijk_to_ras.copy()
    affine[:3, 3] = slicing.geometry.ijk_to_ras([slicing.join(corner[0], (corner[2], corner[1]))])[0]
    scene = slicer.mrmlScene
    node: slicer.vtkMRMLScalarVolumeNode = scene.AddNewNodeByClass(
        "vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name)
    )
    node.SetSaveWithScene(False)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    slicer.util.updateVolumeFromArray(node, np.moveaxis(block, 0, slicing.axis))
    node.SetAndObserveTransformNodeID(volume.node.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    _dress(node.GetDisplayNode())
    return node


def _dress(display: slicer.vtkMRMLScalarVolumeDisplayNode) -> None:
    """Colors by percent; nothing where nobody says otherwise."""
    display.SetAndObserveColorNodeID(_colors().GetID())
    display.SetInterpolate(False)
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(0, 100)
    display.SetApplyThreshold(True)
    display.SetThreshold(1, 100)


def _colors() -> slicer.vtkMRMLColorTableNode:
    """The color table, which the maps of a scene share."""
    known = slicer.mrmlScene.GetSingletonNode(_COLORS, "vtkMRMLColorTableNode")
    if known is not None:
        return known
    table = slicer.mrmlScene.CreateNodeByClass("vtkMRMLColorTableNode")
    table.UnRegister(None)
    table.SetSingletonTag(_COLORS)
    table.SetName("MedSAM-2 disagreement")
    table.SetSaveWithScene(False)
    table.SetHideFromEditors(True)
    table.SetTypeToUser()
    table.SetNumberOfColors(101)
    for percent in range(101):
        share = min(max((percent - _ONE) / (_TWO - _ONE), 0.0), 1.0)
        rgb = ((1 - share) * few + share * many for few, many in zip(_FEW, _MANY, strict=True))
        table.SetColor(percent, f"{percent} %", *rgb, 1.0)
    return slicer.mrmlScene.AddNode(table)
