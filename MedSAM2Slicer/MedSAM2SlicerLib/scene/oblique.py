"""Work in a slice view that lies at an angle to the volume's own slices.

The volume is shown to the model on slices parallel to the view, and what the model draws there is mapped back to the
volume's voxels. All of it happens in the volume's frame, below its parent transforms, so a run can be repeated wherever
the volume is moved to; `SliceStack.plane` is all that has to be kept for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import slicer
import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float
from medsam2_core.image.oblique import ObliqueSlices, Places, Voxels
from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib.scene.geometry import viewAxis, volumeToWorldMatrix
from MedSAM2SlicerLib.scene.growing import GrowingArray
from MedSAM2SlicerLib.scene.layers import Bools, Box, bounds, boxOf, isEmpty, labelOf, labelsIn, layerOf, shifted
from MedSAM2SlicerLib.scene.layers import voxels as valuesOf
from MedSAM2SlicerLib.scene.segments import SegmentWriter, Written
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicemasks import SliceMasks, SliceWriter, StoredSliceMasks
from MedSAM2SlicerLib.scene.volumes import PreparedVolume, checkedGeometry

# A view shows a band of a stored slice, as wide as its thickness / sin(angle): of 2.5 mm slices 143 mm at 1 degree, an
# organ's width, but 29 mm at 5 degrees, where a preview drawn on a stored slice would be a strip of the organ.
_OBLIQUE_DEGREES = 1.0


def viewPlane(volumeNode: slicer.vtkMRMLScalarVolumeNode, sliceNode: slicer.vtkMRMLSliceNode) -> Float:
    """Return the plane of a slice view (4x4, RAS mm) as seen from the volume's frame. Raises VolumeError."""
    plane: Float = slicer.util.arrayFromVTKMatrix(sliceNode.GetSliceToRAS())
    inVolume: Float = np.linalg.inv(volumeToWorldMatrix(volumeNode)) @ plane
    return inVolume


def viewStack(volumeNode: slicer.vtkMRMLScalarVolumeNode, sliceNode: slicer.vtkMRMLSliceNode) -> SliceStack:
    """Return the slices that a view goes through: the volume's own, if it has any there. Raises VolumeError."""
    view = viewAxis(volumeNode, sliceNode)
    if view.obliqueDegrees <= _OBLIQUE_DEGREES:
        return SliceStack(view.axis)
    return SliceStack(0, tuple(tuple(row) for row in viewPlane(volumeNode, sliceNode).tolist()))


def isAlong(volumeNode: slicer.vtkMRMLScalarVolumeNode, sliceNode: slicer.vtkMRMLSliceNode, stack: SliceStack) -> bool:
    """Whether a view goes through these slices, or lies closest to them of the volume's own. Raises VolumeError."""
    oblique = stack.oblique(checkedGeometry(volumeNode))
    if oblique is None:
        return viewAxis(volumeNode, sliceNode).axis == stack.axis
    return oblique.is_parallel(viewPlane(volumeNode, sliceNode))


def preparedOblique(prepared: PreparedVolume, slices: ObliqueSlices) -> PreparedVolume:
    """Return a volume as the model sees it on oblique slices, along axis 0; black outside. VolumeError for colors."""
    if prepared.isColor:
        raise VolumeError(_("Images in color can be segmented along their own slices only: turn the slice view back."))
    key = f"{prepared.key}:{hashlib.sha256(slices.plane.tobytes()).hexdigest()[:16]}"
    shown = np.zeros(slices.geometry.shape_kji, dtype=np.uint8)

    def steps() -> Iterator[int]:
        yield from (0 for _ in prepared.growing.pieces())
        gray = prepared.gray
        for index in range(len(shown)):
            slices.show(index, gray, shown[index])
            yield index + 1

    growing = GrowingArray(shown, steps())
    return PreparedVolume(growing, slices.geometry, prepared.window, key)


class ObliqueWriter:
    """Writes masks of oblique slices through a `SegmentWriter`, whose place it takes.

    A slice's mask decides about the voxels that belong to the slice, and about no others.
    """

    def __init__(self, writer: SegmentWriter, slices: ObliqueSlices) -> None:
        self._writer, self._slices = writer, slices
        self._held: Box | None = None

    @property
    def written(self) -> Written:
        """See `SegmentWriter`."""
        return self._writer.written

    @property
    def restriction(self) -> str:
        """See `SegmentWriter`."""
        return self._writer.restriction

    @property
    def emptied(self) -> list[str]:
        """See `SegmentWriter`."""
        return self._writer.emptied

    def sliceShape(self, axis: int) -> tuple[int, int]:
        """Return rows and columns of a slice; oblique slices are along axis 0 of their own grid."""
        _, rows, columns = self._slices.geometry.shape_kji
        return rows, columns

    def begin(self) -> None:
        """See `SegmentWriter`."""
        self._writer.begin()
        self._held = _heldBox(self._writer.segmentationNode, self._writer.segmentId)

    def writeSlices(self, masks: Mapping[int, Bools | None], axis: int) -> Written:
        """Replace slices: each by its mask (rows, columns), None for an empty one; between `begin` and `end`.

        Else as `SegmentWriter.writeSlices`. 4 ms for a slice of the liver in a chest CT.
        """
        result = Written()
        for index, mask in masks.items():
            result += self._write(index, np.zeros(self.sliceShape(axis), dtype=np.bool_) if mask is None else mask)
        self._writer.noteWritten(result.segmentIds, masks.keys())
        return result

    def end(self) -> None:
        """See `SegmentWriter`."""
        self._writer.end()

    def _write(self, index: int, mask: Bools) -> Written:
        if mask.shape != self.sliceShape(0) or not 0 <= index < self._slices.geometry.shape_kji[0]:
            raise VolumeError(
                f"A mask of {mask.shape} pixels for oblique slice {index} does not fit "
                f"{self._writer.volumeNode.GetName()!r}: start the run again in this view."
            )
        self._held = _around(self._held, self._slices.box(index, mask))  # all that is marked, or is to be
        if self._held is None:
            return Written()
        own = self._slices.voxels(index, self._held)
        target = mask[self._slices.pixels(own)]
        differs = target != self._marked(own)
        if not differs.any():
            return Written()
        return self._change((own[0][differs], own[1][differs], own[2][differs]), target[differs])

    def _marked(self, voxels: Voxels) -> Bools:
        """Which voxels (n,) the segment has; looked up one by one, as they lie scattered through a large box."""
        segmentationNode, segmentId = self._writer.segmentationNode, self._writer.segmentId
        marked = np.zeros(voxels[0].shape, dtype=np.bool_)
        layer = _heldLayer(segmentationNode, segmentId)
        if layer is None:
            return marked
        sides = list(zip(voxels, boxOf(layer), strict=True))
        inside = np.logical_and.reduce([(places >= side.start) & (places < side.stop) for places, side in sides])
        found = valuesOf(layer)[tuple(places[inside] - side.start for places, side in sides)]
        marked[inside] = found == labelOf(segmentationNode, segmentId)
        return marked

    def _change(self, voxels: Voxels, target: Bools) -> Written:
        """Set voxels (n,) to what `target` has for them."""
        k, j, i = (slice(int(places.min()), int(places.max()) + 1) for places in voxels)
        where = np.zeros([side.stop - side.start for side in (k, j, i)], dtype=np.bool_)
        wanted = where.copy()
        within = tuple(places - side.start for places, side in zip(voxels, (k, j, i), strict=True))
        where[within], wanted[within] = True, target
        return self._writer.writeBox((k, j, i), wanted, where)


class ObliqueSliceMasks:
    """A segment on oblique slices; see `slicemasks.SliceMasks`."""

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str, slices: ObliqueSlices) -> None:
        self._segmentationNode, self._segmentId, self._slices = segmentationNode, segmentId, slices

    def mask(self, index: int) -> Bools:
        """Return what the segment marks on a slice (rows, columns), by the slice's own voxels: 8 ms for a liver."""
        marked, start = self._marked()
        return self._slices.read(index, marked, start)

    def print(self, index: int) -> str | None:
        """Return the fingerprint of a slice, None for one that owns no marked voxel: 8 ms for a liver."""
        held = _heldBox(self._segmentationNode, self._segmentId)
        if held is None:
            return None
        k, j, i = self._slices.voxels(index, held)
        block = labelsIn(layerOf(self._segmentationNode, self._segmentId), held)
        own = block[k - held[0].start, j - held[1].start, i - held[2].start]
        isMarked = own == labelOf(self._segmentationNode, self._segmentId)
        places = np.ravel_multi_index((k[isMarked], j[isMarked], i[isMarked]), self._slices.stored.shape_kji)
        return _placesPrint(np.sort(places)) if places.size else None

    def prints(self) -> dict[int, str]:
        """Return a fingerprint of every slice that owns a marked voxel: 50 ms for a liver."""
        marked, start = self._marked()
        k, j, i = (places + first for places, first in zip(np.nonzero(marked), start, strict=True))
        indexes = self._slices.indexes((k, j, i)).astype(np.int32)
        order = np.argsort(indexes, kind="stable")
        places = np.ravel_multi_index((k, j, i), self._slices.stored.shape_kji)[order]
        found, firsts = np.unique(indexes[order], return_index=True)
        parts = np.split(places, firsts[1:])  # one empty part, if nothing is marked
        return {int(index): _placesPrint(part) for index, part in zip(found, parts, strict=False)}

    def _marked(self) -> tuple[Bools, tuple[int, int, int]]:
        """The block of the volume that the segment lies in, and its first voxel."""
        held = _heldBox(self._segmentationNode, self._segmentId)
        if held is None:
            return np.zeros((0, 0, 0), dtype=np.bool_), (0, 0, 0)
        layer = layerOf(self._segmentationNode, self._segmentId)
        marked: Bools = labelsIn(layer, held) == labelOf(self._segmentationNode, self._segmentId)
        return marked, (held[0].start, held[1].start, held[2].start)


def masksOn(volume: SlicedVolume, segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> SliceMasks:
    """Return a segment as masks of a volume's slices."""
    if volume.oblique is None:
        return StoredSliceMasks(segmentationNode, segmentId, volume.geometry.shape_kji, volume.stack.axis)
    return ObliqueSliceMasks(segmentationNode, segmentId, volume.oblique)


def writerOn(volume: SlicedVolume, writer: SegmentWriter) -> SliceWriter:
    """Return what writes masks of a volume's slices through `writer`."""
    return writer if volume.oblique is None else ObliqueWriter(writer, volume.oblique)


def _placesPrint(places: Places) -> str:
    """Return the fingerprint of voxels, by their places in the volume in ascending order."""
    return hashlib.blake2b(places.tobytes(), digest_size=8).hexdigest()


def _heldLayer(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> slicer.vtkOrientedImageData | None:
    """The layer of a segment; None for one that holds nothing yet, or is gone."""
    if segmentationNode.GetSegmentation().GetSegment(segmentId) is None:
        return None
    layer = layerOf(segmentationNode, segmentId)
    return None if layer is None or isEmpty(boxOf(layer)) else layer


def _heldBox(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> Box | None:
    """The smallest box around a segment; None for an empty one, and for one that is gone."""
    layer = _heldLayer(segmentationNode, segmentId)
    if layer is None:
        return None
    held = bounds(valuesOf(layer) == labelOf(segmentationNode, segmentId))
    return None if held is None else shifted(held, boxOf(layer))


def _around(first: Box | None, second: Box | None) -> Box | None:
    """The box around both; None stands for an empty one."""
    if first is None or second is None:
        return first or second
    k, j, i = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return k, j, i
