"""Regions that a propagation can be kept inside: segments, and ROIs of the scene."""

from __future__ import annotations

import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import PromptError
from MedSAM2SlicerLib.scene.geometry import boxMask
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.segments import segmentMask


def regionMask(
    regionId: str, segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> Bools:
    """Read a region, given by the ID of an ROI node or of a segment, as bool (k, j, i) on the volume's grid.

    Raises PromptError for a region that is gone or an ROI without voxels, VolumeError for a segment that is a surface.
    """
    roiNode = slicer.mrmlScene.GetNodeByID(regionId)
    if roiNode is not None and roiNode.IsA("vtkMRMLMarkupsROINode"):
        return roiMask(roiNode, volumeNode)
    if segmentationNode.GetSegmentation().GetSegment(regionId) is None:
        raise PromptError(_("The segment or ROI to stay inside is gone: choose another one."))
    return segmentMask(segmentationNode, regionId, volumeNode)


def roiMask(roiNode: slicer.vtkMRMLMarkupsROINode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Bools:
    """Mark the voxels (k, j, i) whose centers lie in an ROI, as it lies in the world; it may be turned.

    Raises PromptError if there are none, VolumeError for a volume that cannot be segmented.
    """
    toWorld = slicer.util.arrayFromVTKMatrix(roiNode.GetObjectToWorldMatrix())
    marked = boxMask(volumeNode, toWorld, roiNode.GetSize())
    if not marked.any():
        raise PromptError(
            _("ROI '{roi}' holds no voxel of '{volume}': move it into the volume or make it larger.").format(
                roi=roiNode.GetName(), volume=volumeNode.GetName()
            )
        )
    return marked
