"""The segment a controller writes into, its neighbors at work, and their undo."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import RunObject
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.prompts.promptnodes import promptedSegments
from MedSAM2SlicerLib.prompts.promptset import PromptSet
from MedSAM2SlicerLib.record.runrecord import recordedWindow
from MedSAM2SlicerLib.scene.attributes import gridOf, isSameGrid, runText, storedSlices
from MedSAM2SlicerLib.scene.fitting import fitSegmentation
from MedSAM2SlicerLib.scene.history import EditHistory, History, NoHistory
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.oblique import masksOn, writerOn
from MedSAM2SlicerLib.scene.segments import SegmentWriter, ensureSegmentation
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.scene.slicemasks import SliceWriter
from MedSAM2SlicerLib.segmentnames import presentSegment
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse


class Target:
    """A segmentation and one of its segments; either may still have to be chosen or made.

    `history` replaces the segmentation's own undo, such as by that of Segment Editor.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        segmentId: str = "",
        editorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
        history: History | None = None,
    ) -> None:
        self.segmentationNode, self.segmentId = segmentationNode, segmentId
        self._editorNode, self._givenHistory = editorNode, history
        self.history: History | None = history
        if history is None and segmentationNode is not None:
            self.history = EditHistory(segmentationNode)
        self._works: dict[str, SegmentWork] = {}
        self._grids: dict[str, Float] = {}  # of oblique ones, by segment
        self._own: SegmentWork | None = None  # of the segment, while it is looked at on slices of another stack
        self._window: tuple[str, Window] | None = None
        self.groups = False
        """Whether all that is written until `closeStep` is one step for undo."""
        self._hasStep = False

    @property
    def segmentation(self) -> slicer.vtkMRMLSegmentationNode:
        """The segmentation. Raises VolumeError where it still has to be chosen or made."""
        if self.segmentationNode is None:
            raise VolumeError(_("No segmentation is chosen: choose one."))
        return self.segmentationNode

    def moved(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str) -> Target:
        """Return another segment as target; the segments of a segmentation share one history and the sessions."""
        self._settle()
        target = Target(segmentationNode, segmentId, self._editorNode, self._givenHistory)
        target.groups = self.groups
        if segmentationNode is self.segmentationNode:
            target.history, target._works, target._window = self.history, self._works, self._window
            target._grids = self._grids
        elif segmentationNode is not None:
            target._window = recordedWindow(segmentationNode, dict.fromkeys([segmentId, *target.segmentIds()]))
        return target

    def ensured(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Target:
        """Return this target if it is complete, else one whose segmentation and segment were made.

        Raises VolumeError for a segmentation that does not fit the volume, and for a segment that is gone.
        """
        if not (self.segmentationNode and self.segmentId):
            return self.moved(*ensureSegmentation(volumeNode, self.segmentationNode))
        presentSegment(self.segmentationNode, self.segmentId)
        fitSegmentation(volumeNode, self.segmentationNode)
        return self

    def stack(self) -> SliceStack | None:
        """Return the stack that the segment keeps to; None for one that has no prompts, and of which nothing is known.

        Its first prompt decides that, and it goes with the last one if nothing is drawn.
        """
        return self._stackOf(self.segmentId) if self.segmentId else None

    def stacks(self) -> list[SliceStack]:
        """List the stacks that segments keep to, as far as they were worked on here; the latest one last."""
        return list(dict.fromkeys(work.stack for work in self._works.values() if work.isSettled))

    def work(self, volume: SlicedVolume) -> SegmentWork:
        """Return the segment's prompts and slices, in a volume on the slices that it keeps to if it has any."""
        return self._work(self.segmentId, volume)

    def works(self, volume: VolumeInUse, stack: SliceStack) -> list[SegmentWork]:
        """Return all segments that have prompts, or slices somebody edited, each on the slices of its own stack."""
        prompted = promptedSegments(self.segmentation)
        known = {*prompted, *self._works}
        ids = [one for one in self.segmentIds() if one in known or storedSlices(self.segmentation, one) is not None]
        works = [self._work(one, volume.sliced(self._stackOf(one) or stack)) for one in ids]
        return [work for work in works if work.segmentId in prompted or work.states.kept()]

    def turn(self, volume: VolumeInUse, stack: SliceStack) -> None:
        """Look at the segment on slices of this stack; unless something comes of that, it goes back to its own ones."""
        self._settle()
        if not self.segmentId:
            return
        work = self.work(volume.sliced(self.stack() or stack))
        if work.stack != stack:
            self._own = work
            self._make(self.segmentId, volume.sliced(stack))

    def sentBeside(self, works: Sequence[SegmentWork], stack: SliceStack) -> list[RunObject]:
        """Return the objects of segments other than `works` that the worker's session along a stack has."""
        return [one.sent for one in self._beside(works) if one.sent is not None and one.stack == stack]

    def noticeOthers(self, works: Sequence[SegmentWork], written: bool | None = None) -> None:
        """Look for edits in segments other than `works`, before these may overwrite them, on their own slices each.

        `written` as in `SegmentWork.noticeEdits`.
        """
        for other in self._beside(works):
            other.noticeEdits(written)

    def noticeNeighbors(self, written: bool | None = None) -> None:
        """Look for edits in all segments but this one; `written` as in `SegmentWork.noticeEdits`."""
        for other in self._beside(()):
            if other.segmentId != self.segmentId:
                other.noticeEdits(written)

    def readStored(self, volume: SlicedVolume) -> None:
        """Look for edits in segments of which only the scene knows slices, and know these from now on.

        Else what they lose to a run would be taken for another tool's edit once they are chosen.
        """
        for one in self.segmentIds():
            stack = None if one in self._works else self._stackOf(one)
            if stack is not None:
                self._make(one, replace(volume, stack=stack))

    def remember(self, works: Sequence[SegmentWork], changed: Collection[str]) -> None:
        """Keep what is known of `works`, and of others of the segments `changed`, which they overwrote."""
        gaveWay = [other for other in self._beside(works) if other.segmentId in changed]
        for work in (*works, *gaveWay):
            work.remember()

    def noteGonePrompts(self, volume: VolumeInUse) -> None:
        """Prompts may be gone since the worker got them, or belong to another segment."""
        for work in self._beside(()):
            work.noteGonePrompts(PromptPlacer(volume.sliced(work.stack)))

    def noteNewSession(self) -> None:
        """The worker forgets what it has drawn."""
        for work in self._works.values():
            work.noteNewSession()

    def noteClosedSessions(self, volume: VolumeInUse) -> None:
        """The worker may have forgotten the sessions along some stacks."""
        for work in self._works.values():
            if not volume.holds(work.stack):
                work.noteClosedSession()

    def window(self, chosen: Window | str, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> Window | str:
        """Return what `chosen` stands for once the segmentation was propagated: "auto" is the window it was done in.

        Slices that are corrected in another window than their neighbors fit neither these nor the record.
        """
        if chosen != "auto" or self._window is None or volumeNode is None:
            return chosen
        volumeNodeId, window = self._window
        recorded = any(runText(self.segmentation, one) is not None for one in self.segmentIds())
        return window if recorded and volumeNodeId == volumeNode.GetID() else chosen

    def noteWindow(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, window: Window) -> None:
        """A propagation saw the volume in this window."""
        self._window = volumeNode.GetID(), window

    def forgetWindow(self) -> None:
        """Somebody chose a window: what "auto" stands for is found again."""
        self._window = None

    def removeSegment(self) -> None:
        """Remove the segment, as one step for undo."""
        if self.segmentationNode is not None and self.history is not None:
            self.history.saveState()
            self.segmentationNode.GetSegmentation().RemoveSegment(self.segmentId)

    def segmentIds(self) -> list[str]:
        """List the segments of the segmentation."""
        if self.segmentationNode is None:
            return []
        return list(self.segmentationNode.GetSegmentation().GetSegmentIDs())

    def writer(self, volume: SlicedVolume, segmentId: str = "", isStep: bool = True) -> SliceWriter:
        """Return what writes into a segment, this one if none is named, as the Segment Editor's settings allow.

        Segments that it has taken as prompts lose nothing to it. Unless it `isStep` for undo of its own, it goes with
        the step before.
        """
        editorNode = self._editorNode or editorNodeOf(self.segmentation)
        self.readStored(volume)
        named, history = segmentId or self.segmentId, self.history if isStep and not self._hasStep else NoHistory()
        spared = self._works[named].sources if named in self._works else ()
        noted = partial(_noteWritten, self._works, volume.stack)
        writer = SegmentWriter(self.segmentation, named, volume.node, editorNode, history, spared, noted)
        return writerOn(volume, writer)

    def write(self, volume: SlicedVolume, masks: Mapping[int, Bools | None]) -> SliceWriter:
        """Write slices as one step for undo; returns the writer, which knows what it was not allowed to write."""
        writer = self.writer(volume)
        writer.begin()
        self._hasStep = self.groups
        writer.writeSlices(masks, volume.stack.axis)
        writer.end()
        self.remember([], writer.written.segmentIds - {self.segmentId})
        return writer

    def closeStep(self) -> None:
        """Have what is written from now on be another step for undo."""
        self._hasStep = False

    def _beside(self, works: Sequence[SegmentWork]) -> list[SegmentWork]:
        self._dropMoved()
        present = self.segmentIds()
        return [other for other in self._works.values() if other not in works and other.segmentId in present]

    def _dropMoved(self) -> None:
        """Forget oblique works whose voxels were moved since, by hardening a transform: the scene knows their slices.

        Segments of which nothing is drawn yet have no voxels to move.
        """
        for segmentId in [one for one, work in self._works.items() if work.stack.plane is not None]:
            grid = gridOf(self.segmentation, segmentId)
            if grid is not None and not isSameGrid(self._grids.setdefault(segmentId, grid), grid):
                del self._works[segmentId], self._grids[segmentId]

    def _stackOf(self, segmentId: str) -> SliceStack | None:
        self._dropMoved()
        work = self._works.get(segmentId)
        if work is not None:
            return work.stack if work.isSettled else None
        states, _prints = storedSlices(self.segmentation, segmentId) or (None, {})
        known = states is not None and (bool(states) or segmentId in promptedSegments(self.segmentation))
        return states.stack if states is not None and known else None

    def _work(self, segmentId: str, volume: SlicedVolume) -> SegmentWork:
        work = self._works.get(segmentId)
        if work is None or work.stack != volume.stack:
            return self._make(segmentId, volume)
        work.masks = masksOn(volume, self.segmentation, segmentId)
        return work

    def _make(self, segmentId: str, volume: SlicedVolume) -> SegmentWork:
        before, node = self._works.get(segmentId), self.segmentation
        objectId = max((one.objectId for one in self._works.values()), default=0) + 1
        prompts = PromptSet(node, segmentId) if before is None else before.prompts
        masks = masksOn(volume, node, segmentId)
        self._works[segmentId] = SegmentWork(node, prompts, objectId, volume.stack, masks)
        return self._works[segmentId]

    def _settle(self) -> None:
        """A look at slices of another stack is over: the segment keeps its own if nothing came of it."""
        if self._own is not None and not self._works[self.segmentId].states:
            self._works[self.segmentId] = self._own
        self._own = None


def editorNodeOf(segmentationNode: slicer.vtkMRMLSegmentationNode) -> slicer.vtkMRMLSegmentEditorNode | None:
    """Return the node with the masking that the user set for a segmentation in the module Segment Editor.

    None if that module was not opened, or works on another segmentation, whose settings would mean other segments.
    """
    node = segmentationNode.GetScene().GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    return node if node is not None and node.GetSegmentationNode() is segmentationNode else None


def _noteWritten(
    works: Mapping[str, SegmentWork], stack: SliceStack, segmentIds: Collection[str], indexes: Collection[int]
) -> None:
    """Note for those of the segments that are at work, by ID, that this program wrote slices of a stack there."""
    for segmentId in works.keys() & set(segmentIds):
        works[segmentId].noteWritten(stack, indexes)
