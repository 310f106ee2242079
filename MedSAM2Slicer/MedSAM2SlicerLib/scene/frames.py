"""The frames of a sequence, and segmentations that step with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Segment
from MedSAM2SlicerLib.scene.fitting import ijkToRas
from MedSAM2SlicerLib.scene.layers import BINARY_LABELMAP, Bools, cropped, grown, writeLabels

_MASKS_OF = "MedSAM2.MasksOf"  # what refers from a sequence of segmentations to that of their volumes
_VOLUMES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")
_LABEL = 1  # of a segment's voxels: each has a layer of its own


def volumeSequence(browserNode: slicer.vtkMRMLSequenceBrowserNode) -> slicer.vtkMRMLSequenceNode:
    """Return the sequence of a browser that holds volumes, the first one. Raises VolumeError if there is none."""
    for sequence in _sequences(browserNode):
        if sequence.GetDataNodeClassName() in _VOLUMES:
            return sequence
    text = _("{name} holds no images: choose a sequence of volumes.")
    raise VolumeError(text.format(name=repr(browserNode.GetName())))


def browserOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """Return the browser that a volume shows the current frame for; None for any other volume."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", volumeNode.GetScene())
    return next((one for one in browsers if one.IsProxyNodeID(volumeNode.GetID())), None)


class SegmentationFrames:
    """A sequence of segmentations in the browser of a sequence of volumes, with one for each of these.

    It is made with the first write; a later one continues with it.
    """

    def __init__(self, browserNode: slicer.vtkMRMLSequenceBrowserNode, volumes: slicer.vtkMRMLSequenceNode) -> None:
        self._browserNode, self._volumes = browserNode, volumes

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation in the scene, which is that of the browser's current frame; None before the first write."""
        sequence = self._found()
        return None if sequence is None else self._browserNode.GetProxyNode(sequence)

    def write(self, frame: int, masks: Mapping[Segment, Bools]) -> slicer.vtkMRMLSegmentationNode:
        """Replace segments of a frame by masks (k, j, i) on the grid of its volume; returns `node`.

        Segments of other names stay. Raises VolumeError if the sequence is gone.
        """
        if self._browserNode.GetScene() is None or self._volumes.GetScene() is None:
            text = _("{name} was removed from the scene: choose another sequence.")
            raise VolumeError(text.format(name=repr(self._volumes.GetName())))
        with _quiet(self._browserNode):
            sequence = self._found() or self._make()
            node: slicer.vtkMRMLSegmentationNode = self._browserNode.GetProxyNode(sequence)
            self._place(node)
            self._put(sequence, frame, masks)
        return node

    def _found(self) -> slicer.vtkMRMLSequenceNode | None:
        wanted = self._volumes.GetID()
        found = (one for one in _sequences(self._browserNode) if one.GetNodeReferenceID(_MASKS_OF) == wanted)
        return next(found, None)

    def _make(self) -> slicer.vtkMRMLSequenceNode:
        """A sequence that is empty in every frame: where one has nothing, Slicer shows that of another."""
        scene, name = self._browserNode.GetScene(), f"{self._volumes.GetName()} segmentation"
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        sequence.SetIndexName(self._volumes.GetIndexName())
        sequence.SetIndexUnit(self._volumes.GetIndexUnit())
        sequence.SetIndexType(self._volumes.GetIndexType())
        sequence.SetNodeReferenceID(_MASKS_OF, self._volumes.GetID())
        for frame in range(self._volumes.GetNumberOfDataNodes()):
            self._put(sequence, frame, {})
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        self._browserNode.AddSynchronizedSequenceNode(sequence)
        self._browserNode.AddProxyNode(node, sequence, False)
        self._browserNode.SetSaveChanges(sequence, True)  # else what a person edits goes with the next step
        return sequence

    def _place(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Let the node in the scene lie where the volume does; when somebody removes it, Slicer makes another one."""
        volumeNode = self._browserNode.GetProxyNode(self._volumes)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        if node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) != volumeNode.GetID():
            node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)

    def _put(self, sequence: slicer.vtkMRMLSequenceNode, frame: int, masks: Mapping[Segment, Bools]) -> None:
        value, inView = self._volumes.GetNthIndexValue(frame), self._inView(sequence, frame)
        before = inView or sequence.GetDataNodeAtValue(value)
        node = _segmentation(masks, ijkToRas(self._volumes.GetNthDataNode(frame)))
        if before is not None:
            _takeOver(node.GetSegmentation(), before.GetSegmentation())
        if inView is not None:
            inView.CopyContent(node)
        sequence.SetDataNodeAtValue(node, value)

    def _inView(self, sequence: slicer.vtkMRMLSequenceNode, frame: int) -> slicer.vtkMRMLSegmentationNode | None:
        """What the scene shows of a frame, with all that somebody painted; None for another than the current one."""
        isInView = frame == self._browserNode.GetSelectedItemNumber()
        return self._browserNode.GetProxyNode(sequence) if isInView else None


@contextmanager
def _quiet(browserNode: slicer.vtkMRMLSequenceBrowserNode) -> Iterator[None]:
    """Let the application hear nothing of a browser.

    At anything that it hears it gives all nodes of the browser the frame's content again. So the volume would seem to
    have new voxels, and a sequence that was just added would get a node beside ours. And it would save each step of our
    writing in the frame in view, the first of which is that nothing is there.
    """
    isQuiet = browserNode.GetDisableModifiedEvent()
    browserNode.SetDisableModifiedEvent(1)
    try:
        yield
    finally:
        browserNode.SetDisableModifiedEvent(isQuiet)


def _segmentation(masks: Mapping[Segment, Bools], matrix: vtk.vtkMatrix4x4) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation that is in no scene; segments have the same ID in every frame."""
    node = slicer.vtkMRMLSegmentationNode()
    node.GetSegmentation().SetSourceRepresentationName(BINARY_LABELMAP)
    for segment, mask in masks.items():
        made = slicer.vtkSegment()
        made.SetName(segment.name)
        made.SetColor(*segment.color)
        made.SetLabelValue(_LABEL)
        made.AddRepresentation(BINARY_LABELMAP, _layer(mask, matrix))
        node.GetSegmentation().AddSegment(made, segment.name)
    return node


def _takeOver(segmentation: slicer.vtkSegmentation, before: slicer.vtkSegmentation) -> None:
    """Keep the segments that there were before and that were not made anew."""
    for segmentId in before.GetSegmentIDs():
        if segmentation.GetSegment(segmentId) is None:
            segmentation.CopySegmentFromSegmentation(before, segmentId)


def _layer(mask: Bools, matrix: vtk.vtkMatrix4x4) -> slicer.vtkOrientedImageData:
    k, j, i = (slice(0, size) for size in mask.shape)
    layer = grown(slicer.vtkOrientedImageData(), (k, j, i), _LABEL, (k.stop, j.stop, i.stop), matrix)
    writeLabels(layer, (k, j, i), mask, _LABEL)
    return cropped(layer)


def _sequences(browserNode: slicer.vtkMRMLSequenceBrowserNode) -> list[slicer.vtkMRMLSequenceNode]:
    """The browser's sequences, the master first."""
    found = vtk.vtkCollection()
    browserNode.GetSynchronizedSequenceNodes(found, True)
    return [found.GetItemAsObject(place) for place in range(found.GetNumberOfItems())]
