"""Segments: made to fit a volume, read as masks, and the only place that writes them.

Masks are bool arrays (k, j, i) or slices of one, on the volume's own grid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.measure import volume_ml
from MedSAM2SlicerLib.scene.fitting import fitSegmentation, gridImage, ijkToRas, isOnGrid
from MedSAM2SlicerLib.scene.history import EditHistory, History
from MedSAM2SlicerLib.scene.layers import (
    BINARY_LABELMAP,
    Bools,
    Box,
    boxOf,
    byLayer,
    clip,
    cropped,
    cut,
    grown,
    isEmpty,
    isMarked,
    labelOf,
    labelsIn,
    layerOf,
    markedIn,
    nothingIn,
    parted,
    sharing,
    tightened,
    writeLabels,
)
from MedSAM2SlicerLib.scene.masking import EditRules
from MedSAM2SlicerLib.scene.volumes import checkedGeometry
from MedSAM2SlicerLib.segmentnames import presentSegment, segmentCalled


@dataclass(frozen=True)
class Written:
    """Voxels that a write changed, those of the masks that the editable area did not let in, those outside the masks
    that it did not let go, and what was changed.
    """

    changed: int = 0
    maskedOut: int = 0
    keptIn: int = 0
    segmentIds: frozenset[str] = frozenset()

    def __add__(self, other: Written) -> Written:
        segmentIds = self.segmentIds | other.segmentIds
        maskedOut, keptIn = self.maskedOut + other.maskedOut, self.keptIn + other.keptIn
        return Written(self.changed + other.changed, maskedOut, keptIn, segmentIds)


NoteWritten = Callable[[Collection[str], Collection[int]], object]
"""Takes the IDs of segments and the indexes of slices."""


class SegmentWriter:
    """Writes masks into one segment, as Slicer's own tools would.

    Editable area, intensity range and overwrite mode are those of `editorNode`; without one, everything is editable
    and neighbors are spared. The segments `spared` lose nothing in any mode. Only the box that changes is touched.
    `noteWritten` is told at once which slices were written, and in which segments that has changed anything. A segment
    must be made by `ensureSegmentation`. Between `begin` and `end`, layers may be larger than what they hold
    and closed surfaces lag behind.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        editorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
        history: History | None = None,
        spared: Collection[str] = (),
        noteWritten: NoteWritten = lambda _segmentIds, _indexes: None,
    ) -> None:
        self.segmentationNode, self.segmentId, self.volumeNode = segmentationNode, segmentId, volumeNode
        self.history = history or EditHistory(segmentationNode)
        self.noteWritten = noteWritten
        self.written = Written()
        self._grid = checkedGeometry(volumeNode).shape_kji
        self._rules = EditRules(segmentationNode, segmentId, volumeNode, editorNode, spared)
        self._untold: set[str] = set()
        self._touched: set[str] = set()

    def sliceShape(self, axis: int) -> tuple[int, int]:
        """Return rows and columns of a slice along an array axis (0, 1, 2 for k, j, i)."""
        rows, columns = (size for place, size in enumerate(self._grid) if place != axis)
        return rows, columns

    @property
    def restriction(self) -> str:
        """The editable area in a few words, such as "inside 'lung'"; empty if there is none."""
        return self._rules.describe()

    @property
    def emptied(self) -> list[str]:
        """Names of the other segments that this one has overwritten entirely since `begin`."""
        segmentation, others = self.segmentationNode.GetSegmentation(), self.written.segmentIds - {self.segmentId}
        present = [one for one in sorted(others) if segmentation.GetSegment(one) is not None]
        return [segmentation.GetSegment(one).GetName() for one in present if not isMarked(self.segmentationNode, one)]

    def begin(self) -> None:
        """Start a run: one state for undo holds all that is written until `end`."""
        self.history.saveState()
        self.written = Written()
        self._touched = set()

    def writeSlices(self, masks: Mapping[int, Bools | None], axis: int) -> Written:
        """Replace slices along an array axis: each by its mask (rows, columns), None for an empty one.

        Pixels outside the editable area stay as they are. Returns what was changed; `written` adds up since `begin`.
        Raises VolumeError if the segment is gone or became a surface, or for a mask that does not fit.
        """
        slices = [self._slice(index, mask, axis) for index, mask in masks.items()]
        written = self._told([self._write(box, target) for box, target in slices])
        self.noteWritten(written.segmentIds, masks.keys())
        return written

    def writeBox(self, box: Box, target: Bools, where: Bools | None = None) -> Written:
        """Make the segment equal to `target` in a box of the volume, there only in the voxels that `where` marks.

        Both are (k, j, i) of the box's shape; None marks all. Else as `writeSlices`.
        """
        return self.writeBoxes([(box, target, where)])

    def writeBoxes(self, parts: Sequence[tuple[Box, Bools, Bools | None]]) -> Written:
        """As `writeBox` for several boxes, and tell views once; a million voxels of a box take 2 ms, changed or not."""
        for part in parts:
            self._requireFit(*part)
        return self._told([self._write(*part) for part in parts])

    def end(self) -> None:
        """Finish a run: crop layers to what they hold and bring closed surfaces up to date, where something changed."""
        segmentIds = [one for one in self.segmentationNode.GetSegmentation().GetSegmentIDs() if one in self._touched]
        for layer in byLayer(self.segmentationNode, segmentIds):
            if not isEmpty(boxOf(layer)):
                self._replace(layer, cropped(layer))
        for segmentId in segmentIds:
            self._settle(segmentId)
        self._touched = set()

    def _slice(self, index: int, mask: Bools | None, axis: int) -> tuple[Box, Bools]:
        """A slice as a box one voxel thick, and the mask in it."""
        if mask is None:
            mask = np.zeros(self.sliceShape(axis), dtype=np.bool_)
        if mask.shape != self.sliceShape(axis) or not 0 <= index < self._grid[axis]:
            raise VolumeError(
                f"A mask of {mask.shape} pixels for slice {index} does not fit {self.volumeNode.GetName()!r} along "
                f"axis {axis}: start the run again on this volume."
            )
        k, j, i = (
            slice(index, index + 1) if place == axis else slice(0, size) for place, size in enumerate(self._grid)
        )
        return (k, j, i), np.expand_dims(mask.astype(np.bool_, copy=False), axis)

    def _requireFit(self, box: Box, *masks: Bools | None) -> None:
        shape = tuple(side.stop - side.start for side in box)
        inside = all(0 <= side.start < side.stop <= size for side, size in zip(box, self._grid, strict=True))
        if not inside or any(mask.shape != shape for mask in masks if mask is not None):
            raise VolumeError(f"A mask does not fit {self.volumeNode.GetName()!r}: start the run again on this volume.")

    def _write(self, box: Box, target: Bools, where: Bools | None = None) -> Written:
        """Make the segment equal to `target` in a box, as far as that is allowed; views are told by `_told`."""
        differs = target != self._marked(box)
        if where is not None:
            differs &= where
        changed = tightened(differs, box)
        if changed is None:
            return Written()
        tight, box = changed
        differs, target = differs[tight], target[tight]
        editable, wanted = self._rules.editable(box), differs & target
        added, removed = self._rules.sparingLocked(wanted & editable, box), differs & ~target & editable
        if removed.any():
            self._remove(box, removed)
        if added.any():
            self._add(box, added)
        found = added | removed, wanted & ~added, differs & ~target & ~editable
        count, maskedOut, keptIn = (int(np.count_nonzero(one)) for one in found)
        return Written(count, maskedOut, keptIn)

    def _marked(self, box: Box) -> Bools:
        if self._segment() is None:
            text = _("The segment was removed from {name} during the run: choose another one and propagate again.")
            raise VolumeError(text.format(name=repr(self.segmentationNode.GetName())))
        layer = _presentLayer(self.segmentationNode, self.segmentId)
        marked: Bools = labelsIn(layer, box) == self._label()
        return marked

    def _layer(self) -> slicer.vtkOrientedImageData:
        return self._segment().GetRepresentation(BINARY_LABELMAP)

    def _label(self) -> int:
        return int(self._segment().GetLabelValue())

    def _segment(self) -> slicer.vtkSegment:
        return self.segmentationNode.GetSegmentation().GetSegment(self.segmentId)

    def _remove(self, box: Box, where: Bools) -> None:
        # What is removed is marked, so it lies within the layer; the box around it may reach further.
        layer = self._layer()
        part = clip(layer, box)
        writeLabels(layer, part, cut(where, box, part), 0)
        self._untold.add(self.segmentId)

    def _add(self, box: Box, where: Bools) -> None:
        """Mark voxels; what else is there is overwritten or, if it may not be, shares the place in another layer."""
        overwritten = self._rules.overwritten()
        self._separate(box, where, overwritten)
        layer = self._grownLayer(box)
        if overwritten:
            self._erase(overwritten, layer, box, where)
        writeLabels(layer, box, where, self._label())
        self._untold.add(self.segmentId)

    def _separate(self, box: Box, where: Bools, overwritten: set[str]) -> None:
        """Move the segment to a layer of its own if it would overwrite a neighbor in its layer that is to stay."""
        layer = self._layer()
        kept = set(sharing(self.segmentationNode, layer)) - overwritten - {self.segmentId}
        labels = [labelOf(self.segmentationNode, one) for one in kept]
        if labels and np.isin(labelsIn(layer, box)[where], labels).any():
            segment = self._segment()
            segment.AddRepresentation(BINARY_LABELMAP, parted(layer, segment.GetLabelValue()))
            segment.SetLabelValue(1)

    def _grownLayer(self, box: Box) -> slicer.vtkOrientedImageData:
        """The segment's layer, made to cover a box."""
        layer = self._layer()
        image = grown(layer, box, self._label(), self._grid, ijkToRas(self.volumeNode))
        self._replace(layer, image)
        return image

    def _replace(self, layer: slicer.vtkOrientedImageData, other: slicer.vtkOrientedImageData) -> None:
        """Put another image into the place of a layer, for all segments that share it."""
        if other is not layer:
            segmentation = self.segmentationNode.GetSegmentation()
            for segmentId in sharing(self.segmentationNode, layer):
                segmentation.GetSegment(segmentId).AddRepresentation(BINARY_LABELMAP, other)

    def _erase(self, overwritten: set[str], layer: slicer.vtkOrientedImageData, box: Box, where: Bools) -> None:
        """Take voxels from other segments. In the same layer writing over them does it."""
        for other, segmentIds in byLayer(self.segmentationNode, overwritten).items():
            part = clip(other, box)
            if isEmpty(part):
                continue
            labels = labelsIn(other, part)
            theirs = np.isin(labels, list(segmentIds)) & cut(where, box, part)
            if theirs.any() and other is not layer:
                writeLabels(other, part, theirs, 0)
            self._untold.update(segmentIds[label] for label in np.unique(labels[theirs]).tolist())

    def _told(self, results: list[Written]) -> Written:
        """Send the events that Slicer sends after an edit: views redraw, and undo knows that there is a change."""
        segmentation = self.segmentationNode.GetSegmentation()
        untold, self._untold = sorted(self._untold), set()
        self._touched.update(untold)
        for segmentId in untold:
            segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified, segmentId)
            segmentation.InvokeEvent(slicer.vtkSegmentation.RepresentationModified, segmentId)
        total = sum(results, Written(segmentIds=frozenset(untold)))
        self.written += total
        return total

    def _settle(self, segmentId: str) -> None:
        """Do for a segment what Slicer does after each edit of its own: convert it again, and set its status."""
        segment = self.segmentationNode.GetSegmentation().GetSegment(segmentId)
        names: list[str] = []
        segment.GetContainedRepresentationNames(names)
        if BINARY_LABELMAP in names and len(names) > 1:  # else it became a surface since it was written
            self._convert(segmentId)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        if logic.GetSegmentStatus(segment) == logic.NotStarted:
            logic.SetSegmentStatus(segment, logic.InProgress)

    def _convert(self, segmentId: str) -> None:
        """Bring a segment's surface up to date, and no other: Slicer does so when nothing is added in one voxel."""
        nothing = nothingIn(layerOf(self.segmentationNode, segmentId))
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetBinaryLabelmapToSegment(nothing, self.segmentationNode, segmentId, logic.MODE_MERGE_MASK)


def ensureSegmentation(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    name: str | None = None,
) -> tuple[slicer.vtkMRMLSegmentationNode, str]:
    """Return a segmentation on the volume's grid and under its transforms, and the ID of its segment called `name`.

    Makes the segmentation if there is none, and the segment if there is none of that name (or no name is given).
    Raises VolumeError for a segmentation that holds something elsewhere, PromptError if several have that name.
    """
    checkedGeometry(volumeNode)
    segmentationNode = segmentationNode or makeSegmentation(volumeNode)
    fitSegmentation(volumeNode, segmentationNode)
    segmentation = segmentationNode.GetSegmentation()
    segmentId = segmentCalled(segmentationNode, name) if name else None
    return segmentationNode, segmentId or segmentation.AddEmptySegment("", name or "")


def makeSegmentation(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSegmentationNode:
    """Add an empty segmentation that fits a usable volume, beside it in the subject hierarchy."""
    name = f"{volumeNode.GetName()} segmentation"
    segmentationNode = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    _placeBeside(segmentationNode, volumeNode)
    fitSegmentation(volumeNode, segmentationNode)
    made: slicer.vtkMRMLSegmentationNode = segmentationNode
    return made


def segmentMask(
    segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> Bools:
    """Read a segment as bool (k, j, i) on the volume's grid, resampled (nearest voxel) if it is on another one.

    Adds nothing to the scene. Raises VolumeError for a segment that is gone or is not a binary labelmap.
    """
    segment = presentSegment(segmentationNode, segmentId)
    layer = _presentLayer(segmentationNode, segmentId)
    k, j, i = (slice(0, size) for size in checkedGeometry(volumeNode).shape_kji)
    if not isEmpty(boxOf(layer)) and not isOnGrid(volumeNode, segmentationNode, layer):
        layer = _resampled(layer, segmentationNode, volumeNode)
    mask: Bools = labelsIn(layer, (k, j, i)) == segment.GetLabelValue()
    return mask


def _presentLayer(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> slicer.vtkOrientedImageData:
    """Return the label layer of a segment that is there. Raises VolumeError for one that is a surface."""
    layer = layerOf(segmentationNode, segmentId)
    if layer is None:
        text = _(
            "Segment {segment} is a surface: make Binary labelmap the source representation of {name} first "
            "(Segmentations module)."
        )
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        raise VolumeError(text.format(segment=repr(segment.GetName()), name=repr(segmentationNode.GetName())))
    return layer


def segmentVolumeMl(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> float:
    """Return the volume of a segment in mL, in its own frame (a transform that scales does not count)."""
    layer, found = layerOf(segmentationNode, segmentId), markedIn(segmentationNode, segmentId)
    if layer is None or found is None:
        return 0.0
    return volume_ml(found[0], layer.GetSpacing())


def _resampled(
    layer: slicer.vtkOrientedImageData,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkOrientedImageData:
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        segmentationNode.GetParentTransformNode(), volumeNode.GetParentTransformNode(), between
    )
    result = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        layer, gridImage(volumeNode), result, False, False, between
    )
    return result


def _placeBeside(node: slicer.vtkMRMLNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Put a node into the volume's folder (patient or study) of the subject hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volumeNode.GetScene())
    item, volumeItem = hierarchy.GetItemByDataNode(node), hierarchy.GetItemByDataNode(volumeNode)
    if item and volumeItem:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))
