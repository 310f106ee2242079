"""What a controller works on: a volume, a segment of a segmentation, and how it is to be propagated."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import slicer

from medsam2_core.errors import MedSAM2Error, VolumeError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.prompts.promptnodes import PromptItem
from MedSAM2SlicerLib.scene.fitting import whyNoFit
from MedSAM2SlicerLib.scene.overlay import Overlay
from MedSAM2SlicerLib.scene.scenewatch import EditWatch
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.work.planning import Plan
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

_numbers = itertools.count()  # of owners: controllers share a worker, and have sessions of their own there


class Workplace:
    """The state of a controller, which outlives it: another one can continue here once that is closed.

    `edits` tells what other tools do to the segmentation, as long as it is watched; `overlay` is what the views show in
    front. moved(): it is another segment.
    """

    def __init__(self, target: Target) -> None:
        self.moved = Signal()
        self.volume, self.target, self.options = VolumeInUse(None), target, RunOptions()
        self.edits, self.overlay = EditWatch(), Overlay()
        self._owners: dict[str, str] = {}  # by segmentation, see `_keyOf`
        self._awaited: dict[tuple[str, str], tuple[SliceStack, list[int]]] = {}  # by segmentation and segment

    @property
    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation that is written into; made with the first prompt if there is none."""
        return self.target.segmentationNode

    @property
    def stack(self) -> SliceStack:
        """The slices that are worked on: the segment's own, which its first prompt decides, else those chosen."""
        return self.target.stack() or self.options.stack

    def sliced(self) -> SlicedVolume:
        """Return the volume on these slices. Raises VolumeError without a usable volume."""
        return self.volume.sliced(self.stack)

    def slicedIfUsable(self) -> SlicedVolume | None:
        """As `sliced`; None without a usable volume.

        That is none whose oblique slices lie elsewhere than the segmentation's: all on them would count as edited.
        """
        try:
            volume = self.sliced()
            isElsewhere = volume.oblique is not None and self._whyNoFit(volume.node)
            return volume if volume.slicing.count and not isElsewhere else None
        except MedSAM2Error:
            return None

    def plan(self) -> Plan:
        """Return what segments are propagated with, in the window that the segmentation's propagations keep using."""
        return Plan(self.target, replace(self.options, window=self.window()))

    def window(self) -> Window | str:
        """Return the window as `volumes.windowOf` reads it."""
        return self.target.window(self.options.window, self.volume.node)

    def work(self) -> SegmentWork | None:
        """Return the segment at work; None where there is none, or no usable volume."""
        volume = self.slicedIfUsable() if self.target.segmentId else None
        return None if volume is None else self.target.work(volume)

    def works(self) -> list[SegmentWork]:
        """Return all segments that can be propagated. Raises VolumeError without a usable volume that they fit."""
        if whyNot := self._whyNoFit(self.volume.usable):
            raise VolumeError(whyNot)
        return [] if self.segmentationNode is None else self.target.works(self.volume, self.options.stack)

    def ensuredWork(self, volume: SlicedVolume) -> SegmentWork:
        """Return the segment at work, which is made where none is chosen, in the volume that `sliced` gave.

        Raises VolumeError for a segmentation that does not fit it.
        """
        ensured = self.target.ensured(volume.node)
        if ensured is not self.target:
            self.moveTo(ensured)
        return self.target.work(volume)

    def prompts(self) -> list[PromptItem]:
        """List the segment's prompts by slice; none if one of them cannot be used, which a preview explains."""
        volume = self.slicedIfUsable() if self.target.segmentId else None
        return [] if volume is None else self.target.work(volume).prompts.items(PromptPlacer(volume))

    def useVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Look at another volume; a range belongs to the one it was chosen on."""
        if self.volume.node is not None:
            self.options = replace(self.options, first=None, last=None)
        self.volume = VolumeInUse(volumeNode)
        self._awaited.clear()
        self.target.noteNewSession()

    def moveTo(self, target: Target) -> None:
        """Work on another segment."""
        if target.segmentationNode is not self.segmentationNode:
            self.edits.follow(target.segmentationNode)
            if "" in self._owners and _keyOf(target) not in self._owners:
                self._owners[_keyOf(target)] = self._owners.pop("")
        self.target = target
        self.moved.emit()

    def putOff(self, indexes: Sequence[int]) -> None:
        """The segment is left before these slices of it were drawn, which were asked for."""
        if indexes:
            self._awaited[_keyOf(self.target), self.target.segmentId] = self.stack, list(indexes)

    def takePutOff(self) -> list[int]:
        """Return, and forget, the slices that are to be drawn now that the segment is come back to."""
        stack, indexes = self._awaited.pop((_keyOf(self.target), self.target.segmentId), (None, []))
        return indexes if stack == self.stack else []

    def look(self, window: Window | str, works: Sequence[SegmentWork]) -> None:
        """Notice what is to be known before the worker is asked for segments. Raises VolumeError.

        That is other voxels than before, or another window, with which all sessions are new, and edits.
        """
        if self.volume.isOther(self._owner(), window):
            self.target.noteNewSession()
        self.catchUp()
        for work in works:
            work.noticeEdits()

    def watch(self) -> None:
        """Begin to watch for edits; the segments beside the one at work may have been edited before."""
        self.edits.follow(self.segmentationNode)
        self.target.noticeNeighbors()

    def lookForEdits(self) -> bool:
        """Notice what other tools have done to the segments; whether that was anything to the one at work."""
        written, pending = self.edits.written, self.edits.pending
        self.edits.forget()
        if pending:
            self.target.noticeNeighbors(written)
        work = self.work()
        return work is not None and work.noticeEdits(written)

    def catchUp(self) -> None:
        """Notice edits, if there are any, before something is written over them."""
        if self.edits.pending:
            self.lookForEdits()

    def openSession(self, client: WorkerClient, options: RunOptions) -> str:
        """Have the worker know the segmentation's session along a stack; returns its key. Raises VolumeError."""
        session = self.volume.openSession(client, self._owner(), options, self.target.stacks())
        self.target.noteClosedSessions(self.volume)
        return session

    def closeSessions(self, client: WorkerClient) -> None:
        """Have the worker forget the segmentation's sessions."""
        if self.segmentationNode is not None:
            self.volume.closeSessions(client, self._owner())

    def closeEarlierSessions(self, client: WorkerClient, target: Target) -> None:
        """Have the worker forget what it knows of a segmentation that is come back to: objects get new numbers."""
        if (owner := self._owners.get(_keyOf(target))) is not None:
            self.volume.closeSessions(client, owner)

    def remember(self, work: SegmentWork) -> None:
        """Have the scene know of a segment that this program wrote, after a look at what others did before."""
        work.remember()
        self.edits.forget()

    def _whyNoFit(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
        return "" if self.segmentationNode is None else whyNoFit(volumeNode, self.segmentationNode)

    def _owner(self) -> str:
        """Whose sessions in the worker these are. What was seen before there was a segmentation is the new one's."""
        key = _keyOf(self.target)
        if key not in self._owners:
            self._owners[key] = str(next(_numbers))
        return self._owners[key]


def _keyOf(target: Target) -> str:
    """Name a target's segmentation; "" for one still to be made."""
    return target.segmentationNode.GetID() if target.segmentationNode else ""
