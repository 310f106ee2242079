"""Which voxels segments hold on slices that are locked, in whichever direction these were cut."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import slicer

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.scene.attributes import storedSlices
from MedSAM2SlicerLib.scene.layers import Bools, Box, byLayer, labelsIn
from MedSAM2SlicerLib.scene.slicereview import LOCKED
from MedSAM2SlicerLib.scene.volumes import checkedGeometry


class Locks:
    """Locked slices of a segmentation's segments, as the scene knows them now. The grid must be the volume's."""

    def __init__(
        self, segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
    ) -> None:
        self._segmentationNode, self._volumeNode = segmentationNode, volumeNode

    def having(self, segmentIds: Iterable[str]) -> list[str]:
        """List those of the segments that have locked slices."""
        return [one for one in segmentIds if self._locked(one)[1]]

    def covered(self, segmentIds: Iterable[str], box: Box) -> Bools:
        """Return which voxels (k, j, i) of a box the segments hold on their locked slices."""
        covered = np.zeros([side.stop - side.start for side in box], dtype=np.bool_)
        for layer, labels in byLayer(self._segmentationNode, segmentIds).items():
            found = labelsIn(layer, box)
            for label in labels.keys() & set(np.unique(found).tolist()):
                covered |= (found == label) & self._onSlices(*self._locked(labels[label]), box)
        return covered

    def _locked(self, segmentId: str) -> tuple[SliceStack, list[int]]:
        stored = storedSlices(self._segmentationNode, segmentId)
        if stored is None:
            return SliceStack(), []
        states, _prints = stored
        return states.stack, [index for index, one in states.slices.items() if one.mark == LOCKED]

    def _onSlices(self, stack: SliceStack, indexes: list[int], box: Box) -> Bools:
        """Which voxels of a box belong to these slices; (k, j, i), of length 1 where that makes no difference."""
        k, j, i = np.ogrid[box]
        oblique = stack.oblique(checkedGeometry(self._volumeNode))
        belongs: Bools = np.isin((k, j, i)[stack.axis] if oblique is None else oblique.indexes((k, j, i)), indexes)
        return belongs
