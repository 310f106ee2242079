"""What may be changed: the editable area, intensity range and overwrite mode of a Segment Editor node.

Slicer's own masking (`vtkSlicerSegmentEditorLogic::ModifySegmentByLabelmap`) works on whole volumes: 70 ms for each
slice of a 512 x 512 x 133 segmentation. These are the same rules for a box, in well under 1 ms; the headless tests
hold them to Slicer's own result for every mask and overwrite mode.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
from slicer.i18n import tr as _

from MedSAM2SlicerLib.scene.history import editorLogic
from MedSAM2SlicerLib.scene.layers import Bools, Box, boxOf, byLayer, labelsIn, voxels
from MedSAM2SlicerLib.scene.locks import Locks
from MedSAM2SlicerLib.scene.volumes import isColor

_MODES = slicer.vtkMRMLSegmentationNode
_INSIDE = (
    _MODES.EditAllowedInsideAllSegments,
    _MODES.EditAllowedInsideVisibleSegments,
    _MODES.EditAllowedInsideSingleSegment,
)
_VISIBLE = (_MODES.EditAllowedInsideVisibleSegments, _MODES.EditAllowedOutsideVisibleSegments)


class EditRules:
    """The rules for edits of one segment, read again at each question, so that a change by the user counts at once.

    Without an editor node everything is editable and no other segment is overwritten; those `spared` never are. The
    volume must have the grid of the segmentation (`ensureSegmentation` sees to it).
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        editorNode: slicer.vtkMRMLSegmentEditorNode | None,
        spared: Collection[str],
    ) -> None:
        self._spared = frozenset(spared)
        self._segmentationNode, self._segmentId = segmentationNode, segmentId
        self._volumeNode, self._editorNode = volumeNode, editorNode or _unrestricted()
        self._aligner: slicer.vtkSlicerSegmentEditorLogic | None = None
        self._locks = Locks(segmentationNode, volumeNode)

    def editable(self, box: Box) -> Bools:
        """Return which voxels of a box may be changed, (k, j, i)."""
        allowed = np.ones([side.stop - side.start for side in box], dtype=np.bool_)
        mode = self._editorNode.GetMaskMode()
        if mode != _MODES.EditAllowedEverywhere:
            inside = mode in _INSIDE
            allowed &= self._covered(self._maskSegments(mode), box) == inside
        if self._hasRange:
            allowed &= self._inRange(box)
        return allowed

    def overwritten(self) -> set[str]:
        """Return the IDs of the other segments that are overwritten where this one grows."""
        editor = slicer.vtkMRMLSegmentEditorNode
        mode = self._editorNode.GetOverwriteMode()
        if mode == editor.OverwriteNone:
            return set()
        others = set(self._segmentIds()) - {self._segmentId} - self._spared
        return {one for one in others if mode == editor.OverwriteAllSegments or self._isVisible(one)}

    def sparingLocked(self, added: Bools, box: Box) -> Bools:
        """Return the voxels of a box (k, j, i) to add, except those that other segments hold on locked slices.

        Slicer's own tools know no locked slices.
        """
        overwritten = self.overwritten() if added.any() else set()
        return added & ~self._locks.covered(overwritten, box) if overwritten else added

    def describe(self) -> str:
        """Name the restriction in effect in a few words, for messages; empty if there is none."""
        mode, found = self._editorNode.GetMaskMode(), []
        if mode == _MODES.EditAllowedInsideSingleSegment:
            inside = _("inside {name}")
            found += [inside.format(name=repr(self._nameOf(one))) for one in self._maskSegments(mode)]
            found = found or [_("inside no segment")]
        elif mode != _MODES.EditAllowedEverywhere:
            which = _("visible segments") if mode in _VISIBLE else _("all segments")
            found.append((_("inside {which}") if mode in _INSIDE else _("outside {which}")).format(which=which))
        if self._hasRange:
            low, high = self._editorNode.GetSourceVolumeIntensityMaskRange()
            found.append(_("intensity {low:g} to {high:g}").format(low=low, high=high))
        overwritten = self.overwritten()
        locked = self._locks.having(one for one in self._segmentIds() if one in overwritten)
        outside = _("outside locked slices of {name}")
        found += [outside.format(name=repr(self._nameOf(one))) for one in locked]
        return ", ".join(found)

    @property
    def _hasRange(self) -> bool:
        """Whether intensities are restricted, which colors have none of."""
        return bool(self._editorNode.GetSourceVolumeIntensityMask()) and not isColor(self._source)

    @property
    def _source(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The volume whose intensities count."""
        return self._editorNode.GetSourceVolumeNode() or self._volumeNode

    def _maskSegments(self, mode: int) -> list[str]:
        if mode == _MODES.EditAllowedInsideSingleSegment:
            return [one for one in self._segmentIds() if one == self._editorNode.GetMaskSegmentID()]
        ids = [one for one in self._segmentIds() if mode not in _VISIBLE or self._isVisible(one)]
        # "Outside" never means outside itself: the edited segment may be changed everywhere else.
        return ids if mode in _INSIDE else [one for one in ids if one != self._segmentId]

    def _covered(self, segmentIds: list[str], box: Box) -> Bools:
        """Which voxels of a box belong to at least one of the segments."""
        covered = np.zeros([side.stop - side.start for side in box], dtype=np.bool_)
        for layer, labels in byLayer(self._segmentationNode, segmentIds).items():
            covered |= np.isin(labelsIn(layer, box), list(labels))
        return covered

    def _inRange(self, box: Box) -> Bools:
        values = self._intensities(box)
        low, high = (_asScalar(limit, values.dtype) for limit in self._editorNode.GetSourceVolumeIntensityMaskRange())
        inRange: Bools = (values >= low) & (values <= high)
        return inRange

    def _intensities(self, box: Box) -> npt.NDArray[Any]:
        """The voxels of a box in the editor's source volume, resampled to this grid if it is another volume."""
        source = self._source
        if source is self._volumeNode:
            own: npt.NDArray[Any] = slicer.util.arrayFromVolume(source)[box]
            return own
        if self._aligner is None:
            self._aligner = editorLogic(self._segmentationNode)
        self._aligner.SetSourceVolumeNode(source)
        self._aligner.UpdateAlignedSourceVolume()  # does nothing unless volume or transforms have changed
        image = self._aligner.GetAlignedSourceVolume()
        k, j, i = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, boxOf(image), strict=True))
        return voxels(image)[k, j, i]

    def _segmentIds(self) -> tuple[str, ...]:
        return tuple(self._segmentationNode.GetSegmentation().GetSegmentIDs())

    def _isVisible(self, segmentId: str) -> bool:
        display = self._segmentationNode.GetDisplayNode()
        return display is not None and bool(display.GetSegmentVisibility(segmentId))

    def _nameOf(self, segmentId: str) -> str:
        return str(self._segmentationNode.GetSegmentation().GetSegment(segmentId).GetName())


def _unrestricted() -> slicer.vtkMRMLSegmentEditorNode:
    """Settings that allow all and spare the neighbors, where Slicer's default would carve them."""
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    return node


def _asScalar(limit: float, dtype: np.dtype[Any]) -> Any:
    """A limit in the voxels' type, clamped and cut off towards 0: Slicer's threshold filter compares so."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return int(min(max(limit, info.min), info.max))
    return dtype.type(limit)
