"""The frames of a sequence, and segmentations that step with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.segments import Segment
from MedSAM2SlicerLib.scene.fitting import ijkToRas
from MedSAM2SlicerLib.scene.handdrawn import keepNote, noteWritten
from MedSAM2SlicerLib.scene.layers import BINARY_LABELMAP, MASK_LABEL, Bools, layerWith
from MedSAM2SlicerLib.segmentnames import segmentsCalled

_MASKS_OF = "MedSAM2.MasksOf"  # what refers from a sequence of segmentations to that of their volumes
_CARRIED = "MedSAM2.CarriedFrom"  # what refers from one to the segmentation whose segments it has in every frame
_VOLUMES = ("vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")


def volumeSequence(browserNode: slicer.vtkMRMLSequenceBrowserNode) -> slicer.vtkMRMLSequenceNode:
    """Return the sequence of a browser that holds volumes, the first one. Raises VolumeError if there is none."""
    for sequence in _sequences(browserNode):
        if sequence.GetDataNodeClassName() in _VOLUMES:
            return sequence
    text = _("{name} holds no images: choose a sequence of volumes.")
    raise VolumeError(text.format(name=repr(browserNode.GetName())))


def indexValues(sequence: slicer.vtkMRMLSequenceNode) -> list[str]:
    """List what the frames of a sequence are found by."""
    return [sequence.GetNthIndexValue(frame) for frame in range(sequence.GetNumberOfDataNodes())]


def browserOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """Return the browser that a volume shows the current frame for; None for any other volume."""
    browsers = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", volumeNode.GetScene())
    return next((one for one in browsers if one.IsProxyNodeID(volumeNode.GetID())), None)


class VolumeFrames:
    """The frames of a sequence of volumes by their numbers when this was made, whatever is removed or added later.

    Raises VolumeError, which says what to do, for a frame that was removed, and once the sequence is.
    """

    def __init__(self, browserNode: slicer.vtkMRMLSequenceBrowserNode, sequence: slicer.vtkMRMLSequenceNode) -> None:
        self.browserNode, self.sequence = browserNode, sequence
        self.values: list[str] = indexValues(sequence)

    @property
    def shown(self) -> int | None:
        """The browser's current frame; None for one that was not there yet."""
        master = self.browserNode.GetMasterSequenceNode()
        selected = self.browserNode.GetSelectedItemNumber()
        if master is None or not 0 <= selected < master.GetNumberOfDataNodes():
            return None
        value = master.GetNthIndexValue(selected)
        return self.values.index(value) if value in self.values else None

    @property
    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode:
        """The volume in the scene, which shows the browser's current frame."""
        isThere = self.browserNode.GetScene() is not None and self.sequence.GetScene() is not None
        node: slicer.vtkMRMLScalarVolumeNode | None = self.browserNode.GetProxyNode(self.sequence) if isThere else None
        if node is None:
            text = _("{name} was removed from the scene: choose another sequence.")
            raise VolumeError(text.format(name=repr(self.sequence.GetName())))
        return node

    def node(self, frame: int) -> slicer.vtkMRMLScalarVolumeNode:
        """Return the volume that the sequence holds for a frame."""
        node: slicer.vtkMRMLScalarVolumeNode | None = self.sequence.GetDataNodeAtValue(self.values[frame])
        if node is None:
            text = _("Frame {frame} was removed from {name}: start again with the frames that are left.")
            raise VolumeError(text.format(frame=frame, name=repr(self.sequence.GetName())))
        return node

    def show(self, frame: int) -> None:
        """Have the browser step to a frame."""
        self.node(frame)
        master = self.browserNode.GetMasterSequenceNode()
        self.browserNode.SetSelectedItemNumber(master.GetItemNumberFromIndexValue(self.values[frame]))


class SegmentationFrames:
    """A sequence of segmentations in the browser of a sequence of volumes, with one for each of these.

    It is made with the first write; a later one continues with it. What is carried from a `source` is apart, since
    another segmentation may have segments of the same names; where that is such a sequence itself, it goes on in it.
    """

    def __init__(
        self,
        browserNode: slicer.vtkMRMLSequenceBrowserNode,
        volumes: slicer.vtkMRMLSequenceNode,
        source: slicer.vtkMRMLSegmentationNode | None = None,
    ) -> None:
        self.frames = VolumeFrames(browserNode, volumes)
        self._browserNode = browserNode
        self._source = source
        self._carried: slicer.vtkMRMLSequenceNode | None = None

    @property
    def node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation in the scene, which is that of the browser's current frame; None before the first write."""
        sequence = self._found()
        return None if sequence is None else self._browserNode.GetProxyNode(sequence)

    def places(self) -> dict[int, tuple[slicer.vtkMRMLSegmentationNode, slicer.vtkMRMLScalarVolumeNode]]:
        """Return the segmentation of each frame and the volume it lies on; of the frame in view, those in the scene."""
        sequence, volumes = self._found(), self.frames.sequence
        if sequence is None:
            return {}
        pairs = [(sequence.GetDataNodeAtValue(one), volumes.GetDataNodeAtValue(one)) for one in self.frames.values]
        if self.frames.shown is not None:
            pairs[self.frames.shown] = self.node, self._browserNode.GetProxyNode(volumes)
        return {frame: pair for frame, pair in enumerate(pairs) if None not in pair}

    def write(
        self, frame: int, masks: Mapping[Segment, Bools], *, isHandDrawn: bool = False
    ) -> slicer.vtkMRMLSegmentationNode:
        """Replace segments of a frame by masks (k, j, i) on the grid of its volume; returns `node`.

        Segments of other names stay, and what `isHandDrawn` goes on to be a person's. Raises VolumeError if the frame
        or the sequence is gone.
        """
        volumeNode, frameNode = self.frames.volumeNode, self.frames.node(frame)
        value, isInView = self.frames.values[frame], frame == self.frames.shown
        with _quiet(self._browserNode):
            sequence = self._found() or self._make()
            node: slicer.vtkMRMLSegmentationNode = self._browserNode.GetProxyNode(sequence)
            _place(node, volumeNode)
            # Only the scene has all that somebody painted in the frame in view.
            before = node if isInView else sequence.GetDataNodeAtValue(value)
            content = _segmentation(masks, ijkToRas(frameNode), before, isHandDrawn)
            if isInView:
                node.CopyContent(content)
            sequence.SetDataNodeAtValue(content, value)
        return node

    def _found(self) -> slicer.vtkMRMLSequenceNode | None:
        wanted = self.frames.sequence.GetID()
        found = [one for one in _sequences(self._browserNode) if one.GetNodeReferenceID(_MASKS_OF) == wanted]
        source = self._source
        if source is None:
            return next((one for one in found if not one.GetAttribute(_CARRIED)), None)
        if self._carried not in found:  # else it is that, though its source may be gone
            isFrom = partial(_isCarriedFrom, source, self._browserNode)
            self._carried = next(filter(isFrom, found), None)
        return self._carried

    def _make(self) -> slicer.vtkMRMLSequenceNode:
        """A sequence that is empty in every frame: where one has nothing, Slicer shows that of another."""
        volumes = self.frames.sequence
        scene, name = volumes.GetScene(), f"{volumes.GetName()} segmentation"
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
        sequence.SetIndexName(volumes.GetIndexName())
        sequence.SetIndexUnit(volumes.GetIndexUnit())
        sequence.SetIndexType(volumes.GetIndexType())
        sequence.SetNodeReferenceID(_MASKS_OF, volumes.GetID())
        if self._source is not None:
            sequence.SetNodeReferenceID(_CARRIED, self._source.GetID())
            sequence.SetAttribute(_CARRIED, "1")  # which stays when the source, and with it what refers to it, goes
            self._carried = sequence
        for value in indexValues(volumes):
            sequence.SetDataNodeAtValue(_empty(), value)
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        self._browserNode.AddSynchronizedSequenceNode(sequence)
        self._browserNode.AddProxyNode(node, sequence, False)
        self._browserNode.SetSaveChanges(sequence, True)  # else what a person edits goes with the next step
        return sequence


def _isCarriedFrom(
    source: slicer.vtkMRMLSegmentationNode,
    browserNode: slicer.vtkMRMLSequenceBrowserNode,
    sequence: slicer.vtkMRMLSequenceNode,
) -> bool:
    """Whether a sequence of segmentations holds what is carried from one, or is that one."""
    isSource = browserNode.GetProxyNode(sequence) is source
    return isSource or bool(sequence.GetNodeReferenceID(_CARRIED) == source.GetID())


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


def _place(node: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Let the node in the scene lie where the volume does; when somebody removes it, Slicer makes another one."""
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    if node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) != volumeNode.GetID():
        node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)


def _empty() -> slicer.vtkMRMLSegmentationNode:
    """A segmentation that is in no scene."""
    node = slicer.vtkMRMLSegmentationNode()
    node.GetSegmentation().SetSourceRepresentationName(BINARY_LABELMAP)
    return node


def _segmentation(
    masks: Mapping[Segment, Bools],
    matrix: vtk.vtkMatrix4x4,
    before: slicer.vtkMRMLSegmentationNode | None,
    isHandDrawn: bool,
) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation with these segments, and those of other names that there were."""
    node = _empty()
    for segment, mask in masks.items():
        made = slicer.vtkSegment()
        made.SetName(segment.name)
        made.SetColor(*segment.color)
        made.SetLabelValue(MASK_LABEL)
        made.AddRepresentation(BINARY_LABELMAP, layerWith(mask, matrix))
        segmentId = _idFor(segment.name, before)
        same = None if before is None else before.GetSegmentation().GetSegment(segmentId)
        if isHandDrawn and same is not None:
            keepNote(made, same)
        else:
            noteWritten(made, mask)
        node.GetSegmentation().AddSegment(made, segmentId)
    if before is not None:
        _takeOver(node.GetSegmentation(), before.GetSegmentation())
    return node


def _idFor(name: str, before: slicer.vtkMRMLSegmentationNode | None) -> str:
    """The ID of a segment: its name in every frame, but where somebody gave that to another one, or renamed it."""
    if before is None:
        return name
    named = segmentsCalled(before, name)
    if named:
        return name if name in named else named[0]
    return before.GetSegmentation().GenerateUniqueSegmentID(name)


def _takeOver(segmentation: slicer.vtkSegmentation, before: slicer.vtkSegmentation) -> None:
    """Keep the segments of before that were not made again."""
    for segmentId in before.GetSegmentIDs():
        if segmentation.GetSegment(segmentId) is None:
            segmentation.CopySegmentFromSegmentation(before, segmentId)


def _sequences(browserNode: slicer.vtkMRMLSequenceBrowserNode) -> list[slicer.vtkMRMLSequenceNode]:
    """The browser's sequences, the master first."""
    found = vtk.vtkCollection()
    browserNode.GetSynchronizedSequenceNodes(found, True)
    return [found.GetItemAsObject(place) for place in range(found.GetNumberOfItems())]
