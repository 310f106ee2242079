"""Where a case's segments and prompts lie on its image, whatever was moved in the scene since the case was loaded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float
from MedSAM2SlicerLib.cohort.casenodes import CaseNodes
from MedSAM2SlicerLib.scene.attributes import isSameGrid
from MedSAM2SlicerLib.scene.fitting import ijkToRas, isOnGrid
from MedSAM2SlicerLib.scene.geometry import geometryOf
from MedSAM2SlicerLib.scene.layers import (
    BINARY_LABELMAP,
    MASK_LABEL,
    boxOf,
    isEmpty,
    layerOf,
    layerWith,
    placed,
)
from MedSAM2SlicerLib.scene.oblique import masksOn
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.scene.slicedvolume import slicedVolume
from MedSAM2SlicerLib.scene.slicemasks import maskPrint


def seenPrints(nodes: CaseNodes, segmentId: str) -> dict[int, str]:
    """Return a fingerprint of each slice of the image that a segment is seen on: moving it against that changes them.

    A segment on another grid is resampled for it.
    """
    if _isOnImage(nodes, segmentId):
        return masksOn(slicedVolume(nodes.volumeNode), nodes.segmentationNode, segmentId).prints()
    mask = segmentMask(nodes.segmentationNode, segmentId, nodes.volumeNode)
    return {index: maskPrint(plane) for index, plane in enumerate(mask) if plane.any()}


def settledSegmentation(nodes: CaseNodes) -> slicer.vtkMRMLSegmentationNode:
    """Return the segmentation as a file of the case can have it: on the grid of the image as it was loaded.

    It is the one in the scene, or of one that was moved against that a copy, in no scene. Raises VolumeError for an
    image that has another number of voxels now.
    """
    if _isImageInPlace(nodes) and all(_isOnImage(nodes, one) for one in nodes.segmentIds):
        return nodes.segmentationNode
    if tuple(slicedVolume(nodes.volumeNode).geometry.shape_kji) != nodes.geometry.shape_kji:
        text = _("The image of {name} was cropped here, so your work on it cannot be kept: load the whole image again.")
        raise VolumeError(text.format(name=nodes.name))
    copy, grid = slicer.vtkMRMLSegmentationNode(), slicer.util.vtkMatrixFromArray(nodes.geometry.affine_ijk_to_ras)
    copy.Copy(nodes.segmentationNode)
    for segmentId in nodes.segmentIds:
        mask = segmentMask(nodes.segmentationNode, segmentId, nodes.volumeNode)
        segment = copy.GetSegmentation().GetSegment(segmentId)
        segment.AddRepresentation(BINARY_LABELMAP, layerWith(mask, grid))
        segment.SetLabelValue(MASK_LABEL)
    converter, image = slicer.vtkSegmentationConverter, placed(boxOf(nodes.volumeNode.GetImageData()), grid)
    copy.GetSegmentation().SetConversionParameter(  # by which the file is written; hardening has moved it, too
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(image)
    )
    return copy


def onImage(nodes: CaseNodes, world: npt.ArrayLike) -> Float:
    """Map points of the world (n, 3) to where they are, as RAS mm, on the image as it was loaded.

    Raises VolumeError for an image that has no voxels any more.
    """
    points, moved = np.asarray(world, dtype=np.float64).reshape(-1, 3), [0.0, 0.0, 0.0]
    volumeRas = []
    for point in points:  # one by one, as such a transform need not be linear
        nodes.volumeNode.TransformPointFromWorld(point.tolist(), moved)
        volumeRas.append(tuple(moved))
    return nodes.geometry.ijk_to_ras(geometryOf(nodes.volumeNode).ras_to_ijk(volumeRas))


def _isOnImage(nodes: CaseNodes, segmentId: str) -> bool:
    """Whether a segment that holds anything has the voxels of the image, in the world too."""
    layer = layerOf(nodes.segmentationNode, segmentId)
    return layer is None or isEmpty(boxOf(layer)) or isOnGrid(nodes.volumeNode, nodes.segmentationNode, layer)


def _isImageInPlace(nodes: CaseNodes) -> bool:
    """Whether the image lies in its own frame as it was loaded: hardening a transform moves it there."""
    now = slicer.util.arrayFromVTKMatrix(ijkToRas(nodes.volumeNode))
    return isSameGrid(now, nodes.geometry.affine_ijk_to_ras)
