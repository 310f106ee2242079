"""What a controller works on: a volume, a segment of a segmentation, and what is known of its slices."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.run.stack import SliceStack
from MedSAM2SlicerLib.conversation import Conversation
from MedSAM2SlicerLib.fitting import whyNotUsable
from MedSAM2SlicerLib.geometry import viewAxes
from MedSAM2SlicerLib.layers import Bools
from MedSAM2SlicerLib.measures import Measures, measureSegment
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.passing import Pass, Redraw
from MedSAM2SlicerLib.planning import Plan
from MedSAM2SlicerLib.promptnodes import PromptItem
from MedSAM2SlicerLib.prompts import PromptPlacer
from MedSAM2SlicerLib.promptviews import promptViews
from MedSAM2SlicerLib.running import tellEmptied
from MedSAM2SlicerLib.runrecord import RunRecord, loadRun, writeRun
from MedSAM2SlicerLib.scenewatch import EditWatch
from MedSAM2SlicerLib.script import pythonScript
from MedSAM2SlicerLib.segmentwork import SegmentWork
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.slicemasks import SliceWriter
from MedSAM2SlicerLib.slicestates import ACCEPTED, EDITED, LOCKED, PROMPTED, Cut, SliceReview
from MedSAM2SlicerLib.target import Target
from MedSAM2SlicerLib.volumeinuse import VolumeInUse
from MedSAM2SlicerLib.volumes import checkedGeometry

_numbers = itertools.count()  # of sessions: controllers share a worker


@dataclass(frozen=True)
class Kept:
    """What a controller works on, and the worker's session on it: another one can continue with it."""

    target: Target
    volume: VolumeInUse = field(default_factory=lambda: VolumeInUse(None))
    options: RunOptions = field(default_factory=RunOptions)
    number: int = field(default_factory=lambda: next(_numbers))


class Workplace:
    """Answers questions and notes what the user says of slices; what draws or asks the worker is the controller's."""

    def __init__(self, kept: Kept) -> None:
        self.segmentChanged = Signal()
        self.promptsChanged = Signal()
        self.reviewed = Signal()
        self.noticed = Signal()  # one sentence
        self._volume, self._target, self._options, self._number = kept.volume, kept.target, kept.options, kept.number
        self._pass: Pass | Redraw | None = None
        self._talk = Conversation()
        self._reason = ""  # `whyNot` at the last look
        self._edits = EditWatch()
        self._edits.follow(self.segmentationNode)

    @property
    def kept(self) -> Kept:
        """What another controller can continue with, once this one is closed."""
        return Kept(self._target, self._volume, self._options, self._number)

    @property
    def busy(self) -> bool:
        """Whether a propagation is running."""
        return self._pass is not None

    def whyNot(self) -> str:
        """Return why the chosen volume and segmentation cannot be worked on, nothing if they can."""
        return whyNotUsable(self.volumeNode, self.segmentationNode)

    @property
    def waits(self) -> bool:
        """Whether an answer of the worker is still to come."""
        return self._talk.waits

    def whyBusy(self) -> str:
        """Return why to wait while a propagation runs, nothing if none does."""
        return _("A propagation is running. Stop it first (Esc).") if self.busy else ""

    @property
    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The volume the model looks at."""
        return self._volume.node

    @property
    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation that is written into; made with the first prompt if there is none."""
        return self._target.segmentationNode

    @property
    def segmentId(self) -> str:
        """The segment that is written into."""
        return self._target.segmentId

    @property
    def options(self) -> RunOptions:
        """How the next propagation runs; its stack is for segments that have none of their own yet."""
        return self._options

    @property
    def stack(self) -> SliceStack:
        """The slices that are worked on: the segment's own, which its first prompt decides, else those chosen."""
        return self._target.stack() or self._options.stack

    def ownStack(self) -> SliceStack | None:
        """The slices that the segment keeps to, None while its first prompt is still to decide that."""
        return self._target.stack()

    def stacks(self) -> list[SliceStack]:
        """The stacks that segments keep to, as far as they were worked on here; the latest one last."""
        return self._target.stacks()

    def sliceCount(self) -> int:
        """Number of slices along the axis; 0 without a usable volume."""
        try:
            return self._volume.slicing(self.stack).count
        except MedSAM2Error:
            return 0

    def sliceCentreRas(self, sliceIndex: int) -> tuple[float, float, float]:
        """World position of a slice's middle. Raises VolumeError without a usable volume."""
        return self._volume.sliceCentreRas(self.stack, sliceIndex)

    def modelView(self, sliceIndex: int) -> npt.NDArray[np.uint8]:
        """Return a slice (rows, columns) as the model sees it. Raises VolumeError without a usable volume."""
        return self._volume.modelView(self._goingOn().window, self.stack, sliceIndex)

    def prompts(self) -> list[PromptItem]:
        """List the segment's prompts by slice; none if one of them cannot be used, which a preview explains."""
        work = self._work()
        return [] if work is None else work.prompts.items(self._placer())

    def edited(self) -> list[int]:
        """List the slices that another tool has changed; they are prompts too."""
        work = self._work()
        return [] if work is None else [one for one in work.states.kept() if work.states.slices[one].origin == EDITED]

    def segmentsWithPrompts(self) -> int:
        """Return how many segments `propagateAll` would carry."""
        try:
            return len(self._prompted())
        except MedSAM2Error:
            return 0

    def intervals(self) -> list[tuple[int, int]]:
        """List the slices, half-open, that a propagation would go through; nothing if that is the whole range."""
        work = self._work()
        if work is None:
            return []
        plan = self._plan()
        affected = plan.intervals(work)
        return [] if affected == [plan.span(work.stack)] else affected

    def slices(self) -> Mapping[int, SliceReview]:
        """What is known of each slice, by index."""
        work = self._work()
        if work is None:
            return {}
        return work.states.slices if self._pass is None else self._pass.reviews(work)

    def stops(self) -> dict[str, str]:
        """Why each direction ended, as a sentence."""
        work = self._work()
        return {} if work is None else dict(work.stops)

    def doubtful(self) -> list[int]:
        """List the slices worth a look, the most doubtful first."""
        work = self._work()
        return [] if work is None else work.states.doubtful()

    def nextDoubtful(self, after: int | None) -> int | None:
        """Return the slice to look at when slice `after` has been: the next less doubtful one, at last the worst."""
        ranking = self.doubtful()
        place = ranking.index(after) + 1 if after in ranking else 0
        return ranking[place % len(ranking)] if ranking else None

    def setInUse(self, isInUse: bool) -> None:
        """Say whether somebody works with this now: the segment's prompts are seen then, and can be grabbed."""
        if isInUse:
            promptViews().use(self, self.segmentationNode, self.segmentId)
        else:
            promptViews().rest(self)

    def removeSegment(self) -> None:
        """Remove the segment; undo brings it back, and its prompts with it."""
        if self.segmentId:
            self._target.removeSegment()

    def accept(self, sliceIndex: int) -> None:
        """Accept a slice, or no longer: propagations start from it and do not change it."""
        self._mark(sliceIndex, ACCEPTED)

    def lock(self, sliceIndex: int) -> None:
        """Lock or unlock a slice: nothing here changes it, prompts on it neither."""
        self._mark(sliceIndex, LOCKED)

    def disown(self, sliceIndex: int) -> None:
        """Let the next propagation draw a slice again that was edited with another tool."""
        work = self._work()
        if work is not None and not self.busy:
            work.disown(sliceIndex)
            self._tellAll()

    def whyNotRedraw(self) -> str:
        """Return why threshold and smoothing have nothing to draw from, nothing if they have."""
        work = self._work()
        return "" if work is None else self._whyNotRedraw([work])

    def cut(self) -> Cut | None:
        """Return how the segment is drawn from what was propagated; None if nothing was, as far as that is known."""
        work = self._work()
        return None if work is None else work.states.cut

    def measures(self) -> Measures | None:
        """Volume and axes of the segment; None where there is none."""
        if self.segmentId not in self._target.segmentIds():  # a segment that was removed is still the one at work
            return None
        measured = measureSegment(self.segmentationNode, self.segmentId, self.stack.axis)
        return measured if self.stack.plane is None else replace(measured, sliceIndex=None)  # of a stored slice

    def script(self) -> str:
        """Return Python code that makes the segment again. Raises MedSAM2Error if no run is recorded."""
        return pythonScript(self._record(), self.volumeNode)

    def saveRun(self, path: Path) -> None:
        """Write a file for `medsam2 propagate --prompts`. Raises MedSAM2Error if that cannot be done."""
        writeRun(self._record(), path)

    def _whyNotRedraw(self, works: Sequence[SegmentWork]) -> str:
        if all(work.isKeptToRedraw for work in works):
            return ""
        return _("Propagate this segment again first: the model's results for it are no longer in memory.")

    def _plan(self) -> Plan:
        return Plan(self._target, self._volume, self._options)

    def _goingOn(self) -> RunOptions:
        return self._plan().options(self.stack)

    def _owner(self) -> str:
        """Whose sessions in the worker these are."""
        return f"{self._number}/{self.segmentationNode.GetID()}"

    def _lookAtVolume(self) -> None:
        """Notice other voxels than before, or another window, with which all sessions are new. Raises VolumeError."""
        if self._volume.isOther(self._owner(), self._goingOn().window):
            self._target.noteNewSession()

    def _useVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Look at another volume; a range belongs to the one it was chosen on."""
        if self._volume.node is not None:
            self._options = replace(self._options, first=None, last=None)
        self._volume = VolumeInUse(volumeNode)

    def _placer(self) -> PromptPlacer:
        return self._volume.placer(self.stack)

    def _work(self) -> SegmentWork | None:
        """The segment at work; None where there is none, or no usable volume."""
        if not self.segmentId or not self.sliceCount():
            return None
        return self._target.work(self._volume, self._options.stack)

    def _ensured(self) -> SegmentWork:
        """The segment at work, which is made where none is chosen. Raises VolumeError."""
        checkedGeometry(self._volume.node)
        ensured = self._target.ensured(self._volume.node)
        if ensured is not self._target:
            self._moveTo(ensured)
        return self._target.work(self._volume, self._options.stack)

    def _addPoint(self, positionRas: Sequence[float], include: bool) -> int:
        """Make a point prompt; returns its slice. Raises MedSAM2Error where there cannot be one."""
        (placed,) = self._placer().points([positionRas], [include])
        self._ensured().prompts.addPoint(positionRas, include)
        return placed.prompt.slice_index

    def _addBox(
        self, cornerRas: Sequence[float], oppositeRas: Sequence[float], viewNode: slicer.vtkMRMLSliceNode | None
    ) -> int:
        """Make a box prompt, the only one of its slice; returns that. Raises MedSAM2Error where there cannot be one."""
        placed, prompts = self._placer().box([cornerRas, oppositeRas]), self._ensured().prompts
        prompts.dropBoxes(placed.prompt.slice_index, self._placer())
        prompts.addBox([cornerRas, oppositeRas], viewAxes(viewNode))
        return placed.prompt.slice_index

    def _addLine(self, lineNode: slicer.vtkMRMLMarkupsLineNode) -> int:
        """Make a line of the scene a prompt; returns its slice. Raises MedSAM2Error where it cannot be one."""
        placer = self._placer()
        placed, work = placer.line(lineNode), self._ensured()
        work.prompts.takeLine(lineNode)
        self._target.noteGonePrompts(self._volume)
        return placed.prompt.slice_index

    def _mark(self, sliceIndex: int, mark: str) -> None:
        work = self._work()
        if work is not None and not self.busy:
            self._lookForEdits()
            work.toggle(sliceIndex, mark)
            self.reviewed.emit()

    def _keepBox(self, nodeId: str) -> None:
        """Remove other boxes on the slice of a box. Raises MedSAM2Error where there can be no prompts."""
        for item in self.prompts():
            if item.nodeId == nodeId:
                self._ensured().prompts.dropBoxes(item.sliceIndex, self._placer(), nodeId)

    def _addSegment(self, segmentId: str, sliceIndex: int | None) -> tuple[SegmentWork, Collection[int]]:
        """Take and draw what a segment marks; returns the work and the slices. Raises MedSAM2Error if it is nothing."""
        work = self._ensured()
        masks = work.takeSegment(segmentId, sliceIndex, self._placer())
        self._write(masks)
        return work, masks.keys()

    def _write(self, masks: Mapping[int, Bools | None]) -> SliceWriter:
        """Write slices as one step for undo; returns the writer, which knows what it was not allowed to write."""
        writer = self._target.write(self._volume, masks, self.stack)
        if said := tellEmptied(writer.emptied):
            self.noticed.emit(said)
        return writer

    def _corrected(self, taken: Collection[int]) -> int | None:
        """The first of the slices whose mask was taken that has prompts of other kinds too: these correct it."""
        corrects = (one for one in self.prompts() if one.kind != "segment")
        return next((one.sliceIndex for one in corrects if one.sliceIndex in taken), None)

    def _takeBack(self, work: SegmentWork, indexes: set[int]) -> bool:
        """Let slices whose prompts are gone show what was there before them; whether they had drawn any."""
        reviews = work.states.slices
        known = [reviews[index] for index in sorted(indexes) if index in reviews]
        bases = {
            one.sliceIndex: work.takeBase(one.sliceIndex) for one in known if one.origin == PROMPTED and not one.isKept
        }
        if bases:
            self._write(bases)
        for index, base in bases.items():
            work.noteCleared(index, base is not None)
        return bool(bases)

    def _prompted(self) -> list[SegmentWork]:
        return [] if self.segmentationNode is None else self._target.works(self._volume, self._options.stack)

    def _record(self) -> RunRecord:
        work = self._work()
        if work is not None and work.states.hasUntold:
            raise PromptError(
                _(
                    "The record does not say how all slices were drawn, for example because a propagation was "
                    "interrupted: propagate again first."
                )
            )
        record = loadRun(self.segmentationNode, self.segmentId) if self.segmentId else None
        if record is None:
            raise PromptError(_("There is no run to repeat yet: propagate first."))
        return record

    def _followWhyNot(self) -> None:
        """Tell when there is another reason, or none any more: grids and transforms change without a word."""
        before, self._reason = self._reason, self.whyNot()
        if self._reason != before:
            self.reviewed.emit()

    def _moveTo(self, target: Target) -> None:
        """Work on another segment."""
        if target.segmentationNode is not self.segmentationNode:
            self._edits.follow(target.segmentationNode)
        self._target = target
        promptViews().move(self, self.segmentationNode, self.segmentId)
        self.segmentChanged.emit()
        self._tellAll()

    def _lookForEdits(self) -> None:
        """Notice what other tools have done to the segment."""
        written, isTravel = self._edits.written, self._edits.isTravel
        self._edits.forget()
        work = self._work()
        if isTravel:
            self._target.noticeOthers([] if work is None else [work])
        if work is not None and work.noticeEdits(written):
            self._tellAll()

    def _remember(self, work: SegmentWork) -> None:
        """Note that the segment is as this program wrote it."""
        work.remember()
        self._edits.forget()

    def _tellAll(self) -> None:
        self.reviewed.emit()
        self.promptsChanged.emit()
