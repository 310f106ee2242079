"""Whether a segmentation can be drawn in by the voxels of a volume: on its grid, and under its transforms."""

from __future__ import annotations

import slicer
import vtk
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Geometry
from MedSAM2SlicerLib.scene.geometry import geometryOf, sameFrame, volumeToWorldMatrix
from MedSAM2SlicerLib.scene.layers import BINARY_LABELMAP, boxOf, isEmpty, layerOf, placed
from MedSAM2SlicerLib.scene.volumes import usableVolume


def fitSegmentation(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> None:
    """Give an empty segmentation the volume's grid and transform; VolumeError if one with content has others."""
    if segmentationNode.GetDisplayNode() is None:
        segmentationNode.CreateDefaultDisplayNodes()
    if _hasContent(segmentationNode):
        if whyNot := _whyNoFit(volumeNode, segmentationNode):
            raise VolumeError(whyNot)
        return
    segmentationNode.GetSegmentation().SetSourceRepresentationName(BINARY_LABELMAP)
    # Without the volume's transform a mask would be somewhere else, and read back as empty. The grid comes second:
    # Slicer takes it as seen from under the segmentation's transform, and resamples to it when it writes a file.
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)


def whyNoFit(volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """Return why `fitSegmentation` would refuse, nothing if it would not. The volume must be a usable one."""
    return _whyNoFit(volumeNode, segmentationNode) if _hasContent(segmentationNode) else ""


def _whyNoFit(volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """As `whyNoFit`, of a segmentation with content."""
    names = {"name": repr(segmentationNode.GetName()), "volume": repr(volumeNode.GetName())}
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetSourceRepresentationName() != BINARY_LABELMAP:
        text = _(
            "{name} holds surfaces: make Binary labelmap its source representation first (Segmentations module), or "
            "choose a new segmentation."
        )
        return text.format(**names)
    if not sameFrame(volumeNode, segmentationNode):
        text = _(
            "{name} is under another transform than {volume}: put both under the same one (Transforms module), or "
            "choose a new segmentation."
        )
        return text.format(**names)
    grid, layers = gridImage(volumeNode), {layerOf(segmentationNode, one) for one in segmentation.GetSegmentIDs()}
    if all(isEmpty(boxOf(layer)) or _haveOneGrid(layer, grid) for layer in layers):
        return ""
    text = _(
        "{name} was drawn on a different grid from that of {volume}: choose a new segmentation, or resample it to this "
        "volume (Segment Editor, Specify geometry)."
    )
    return text.format(**names)


def whyMoved(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, before: Geometry, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> str:
    """Return why masks on the grid that a volume had before fit it no more, nothing if they do."""
    try:
        isSame = geometryOf(volumeNode) == before
    except VolumeError as error:
        return str(error)
    if whyNot := _whyNoFit(volumeNode, segmentationNode):
        return whyNot
    text = _("The grid of {volume} has changed: propagate again.")
    return "" if isSame else text.format(volume=repr(volumeNode.GetName()))


def whyNotUsable(
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None, segmentationNode: slicer.vtkMRMLSegmentationNode | None
) -> str:
    """Return why a volume, or a segmentation on it, cannot be worked on; nothing if they can."""
    try:
        usable = usableVolume(volumeNode)
        volumeToWorldMatrix(usable)
    except VolumeError as error:
        return str(error)
    return "" if segmentationNode is None else whyNoFit(usable, segmentationNode)


def isOnGrid(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    layer: slicer.vtkOrientedImageData,
) -> bool:
    """Whether a layer's voxels are the volume's, in the world too."""
    return _haveOneGrid(layer, gridImage(volumeNode)) and sameFrame(volumeNode, segmentationNode)


def gridImage(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkOrientedImageData:
    """Return the volume's grid as an image without voxels."""
    return placed(boxOf(volumeNode.GetImageData()), ijkToRas(volumeNode))


def ijkToRas(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkMatrix4x4:
    """Return the matrix from a volume's voxels to RAS in its own frame."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrix


def _hasContent(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    segmentation = segmentationNode.GetSegmentation()
    layers = (layerOf(segmentationNode, one) for one in segmentation.GetSegmentIDs())
    return any(layer is None or not isEmpty(boxOf(layer)) for layer in layers)


def _haveOneGrid(layer: slicer.vtkOrientedImageData, grid: slicer.vtkOrientedImageData) -> bool:
    return bool(slicer.vtkOrientedImageDataResample.DoGeometriesMatch(layer, grid))
