"""One segment at work: joins MRML events and the model process. Knows neither Qt nor torch.

The panel, the Segment Editor effect and the console are thin faces of it. Actions return at once and never raise: what
comes of them, errors too, is told by signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error, PromptError
from medsam2_core.worker.results import ObjectAnswer, Propagated, Step
from MedSAM2SlicerLib.client import WorkerClient
from MedSAM2SlicerLib.history import EditHistory, History
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.passing import Pass, Redraw
from MedSAM2SlicerLib.promptnodes import PromptItem
from MedSAM2SlicerLib.running import whyEmpty
from MedSAM2SlicerLib.scenewatch import SceneWatch
from MedSAM2SlicerLib.segmentwork import SegmentWork
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.slicestates import reviewAnswer
from MedSAM2SlicerLib.target import Target
from MedSAM2SlicerLib.workplace import Kept, Workplace


class Controller(Workplace):
    """Prompts, preview, propagation and review of one segment of one volume.

    What is written obeys the masking and overwrite mode of `editorNode`, a Segment Editor's settings; `history` keeps
    its states for undo in place of one of the controller's own. It continues with what was `kept` of another one.
    """

    def __init__(
        self,
        client: WorkerClient,
        editorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
        history: History | None = None,
        kept: Kept | None = None,
    ) -> None:
        super().__init__(kept or Kept(Target(editorNode=editorNode, history=history)))
        self.previewed, self.sliceDrawn = Signal(), Signal()  # slice index
        self.progressed, self.busyChanged = Signal(), Signal()  # Progress; bool
        self.finished, self.failed = Signal(), Signal()  # one sentence
        self._client = client
        client.noticed.connect(self.noticed.emit)
        self._ran: Sequence[SegmentWork] = ()  # of the last pass that came to its end
        self._scene = SceneWatch(self._onNodeRemoved, self._onSceneClosing)
        if self.segmentId in self._target.segmentIds():
            self._lookForEdits()

    # What is worked on

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Look at another volume, or at other voxels of this one; a running propagation ends."""
        if (isOther := volumeNode is not self._volume.node) or self._volume.hasOtherVoxels:
            self._abandon()
            self._volume.close(self._client)
            self._useVolume(volumeNode)
            self._target.noteNewSession()
            self._tellAll()
            if not isOther:
                self.noticed.emit(_("The volume's voxels have changed: propagate again."))

    def setSegment(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str = "") -> None:
        """Work on another segment; a running propagation ends, and the prompts are those of that segment."""
        if segmentationNode is self.segmentationNode and segmentId == self.segmentId:
            return
        self._abandon()
        self._lookForEdits()  # of the one that is left, which this one may overwrite
        self._moveTo(self._target.moved(segmentationNode, segmentId))
        self._lookForEdits()

    def setOptions(self, options: RunOptions) -> None:
        """Choose how to propagate from now on; another stack than before is the segment's, if something comes of it."""
        before, self._options = self._options, options
        if before.window != options.window:
            self._target.forgetWindow()
        isTurned, isNew = before.stack != options.stack, before.session() != options.session()
        if isTurned or isNew:
            self._abandon()
            if isNew:
                self._target.noteNewSession()
            if isTurned and self.sliceCount():
                self._target.turned(self._volume, options.stack)
            self._tellAll()

    # Prompts

    def promptNode(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        """Return the markups node that the next prompt of a kind of `promptnodes.KINDS` is placed into.

        Makes a segmentation and a segment where none is chosen. Raises MedSAM2Error without a usable volume.
        """
        return self._ensured().prompts.nodeToPlace(kind)

    def addPoint(self, positionRas: Sequence[float], include: bool = True) -> None:
        """Put a point (world, mm) on the object, or on what does not belong to it, and draw the slice."""
        with self._telling():
            self.preview(self._addPoint(positionRas, include))

    def addBox(
        self,
        cornerRas: Sequence[float],
        oppositeRas: Sequence[float],
        viewNode: slicer.vtkMRMLSliceNode | None = None,
    ) -> None:
        """Put a box around the object between two corners (world, mm) in a slice view, and draw the slice."""
        with self._telling():
            self.preview(self._addBox(cornerRas, oppositeRas, viewNode))

    def addSegmentPrompt(self, segmentId: str, sliceIndex: int | None = None) -> None:
        """Take what a segment marks on a slice (None: on all slices it marks) as the truth there, and draw that."""
        with self._telling():
            if whyNot := self.whyBusy():
                raise PromptError(whyNot)
            self._abandon()  # a preview on its way would draw over it
            self._lookForEdits()
            work, drawn = self._addSegment(segmentId, sliceIndex)
            self._remember(work)
            self._tellAll()
            self._preview(self._corrected(drawn))

    def addLinePrompt(self, lineNode: slicer.vtkMRMLMarkupsLineNode) -> None:
        """Take a line of the scene along the object's longest diameter, and draw the slice; moved, it still counts."""
        with self._telling():
            self.preview(self._addLine(lineNode))

    def removePrompt(self, item: PromptItem) -> None:
        """Remove a prompt; a slice that it alone had drawn is as it was before, others are redrawn."""
        work = self._work()
        if work is None:
            return
        before = {item.sliceIndex} | {other.sliceIndex for other in self.prompts()}
        work.removePrompt(item)
        self.promptsChanged.emit()
        left = {other.sliceIndex for other in self.prompts()}
        self._clear(work, before - left)
        if item.sliceIndex in left:
            self.preview(item.sliceIndex)

    def keepBox(self, nodeId: str) -> None:
        """Of the boxes on a slice keep this one, which was drawn last."""
        with self._telling():
            self._keepBox(nodeId)

    def removeAllPrompts(self) -> None:
        """Remove every prompt of the segment; what is drawn stays."""
        work = self._work()
        if work is not None:
            self._dropPreview()
            work.removePrompts()
        self._tellAll()

    # Actions

    def preview(self, sliceIndex: int) -> None:
        """Draw the prompts' answer on a slice. While the worker is busy only the latest slice waits."""
        self.promptsChanged.emit()
        self._preview(sliceIndex)

    def propagate(self) -> None:
        """Carry the segment through its intervals; the signals tell how it goes."""
        if not self.busy:
            with self._telling():
                self._start([self._ensured()])

    def propagateAll(self) -> None:
        """Carry all segments that have prompts, in one pass."""
        if not self.busy:
            with self._telling():
                self._start(self._prompted())

    def redraw(self, threshold: float = 0.5, smoothingMm: float = 0.0) -> None:
        """Redraw what was propagated, without the model: at another probability, smoothed across slices (mm)."""
        work = self._work()
        self._redraw([] if work is None else [work], (threshold, smoothingMm), isStep=True)

    def redrawRun(self, threshold: float, smoothingMm: float) -> None:
        """As `redraw`, of all segments of the last propagation and in the same step for undo."""
        self._redraw(self._ran, (threshold, smoothingMm), isStep=False)

    def stop(self) -> None:
        """End a propagation after the slice at hand; what is drawn stays."""
        if self._talk.waits:
            self._talk.cancel()
        else:  # something went wrong with the answer that was its end
            self._abandon()

    def undo(self) -> None:
        """Undo the last propagation or preview; a running one ends first."""
        self._travel(EditHistory.undo)

    def redo(self) -> None:
        """Redo what was undone last."""
        self._travel(EditHistory.redo)

    def tick(self) -> None:
        """Watch the worker's time-outs, the user's edits and `whyNot`; from a timer, about every 50 ms."""
        self._client.tick()
        self._volume.work()
        self._followWhyNot()
        if self._edits.settled and not self.busy and not self.waits:
            self._lookForEdits()

    def close(self, isForGood: bool = True) -> None:
        """Let go of the scene and of the client; a running propagation ends, results stay.

        Unless it `isForGood` the worker keeps its session, for the next controller to continue with.
        """
        self._abandon()
        self.setInUse(False)
        if isForGood and self.segmentationNode is not None:
            self._volume.closeSessions(self._client, self._owner())
        self._client.noticed.disconnect(self.noticed.emit)
        self._scene.stop()
        self._edits.stop()

    # Answers of the worker

    def _onPreview(self, work: SegmentWork, sliceIndex: int, answers: tuple[ObjectAnswer, ...]) -> None:
        with self._telling():
            for answer in answers:
                if answer.object_id == work.objectId:
                    self._drawPreview(work, sliceIndex, answer)
            self.previewed.emit(sliceIndex)
            self.reviewed.emit()
        self._preview(self._talk.takeLater())

    def _drawPreview(self, work: SegmentWork, sliceIndex: int, answer: ObjectAnswer) -> None:
        mask = answer.mask.full(self._volume.slicing(work.stack).shape)
        writer = self._write({sliceIndex: mask})
        work.notePreview(reviewAnswer(sliceIndex, answer, "prompt"))
        self._remember(work)
        if not work.marks(sliceIndex):
            self.noticed.emit(whyEmpty(sliceIndex, writer, self._volume.window(self._goingOn().window).name))

    def _onStep(self, step: Step) -> None:
        try:
            progress = self._pass.write(step)
        except MedSAM2Error as error:  # the segment is gone: nothing later could be written either
            self._abandon()
            self.failed.emit(str(error))
            return
        self.progressed.emit(progress)
        self.sliceDrawn.emit(step.slice_index)

    def _onDone(self, result: Propagated) -> None:
        try:
            self._pass.settle(result, self._client.modelFacts)
            if self._pass.goesOn:
                self._ask()
                return
            summary = self._pass.finish()
        except MedSAM2Error as error:
            self._onError(error)
            return
        self._ran, self._pass, later = self._pass.works, None, self._talk.takeLater()
        self._target.noteGonePrompts(self._volume)
        self._edits.forget()
        self.busyChanged.emit(False)
        self.reviewed.emit()
        if summary:
            self.finished.emit(summary)
        self._preview(later)

    def _onError(self, error: MedSAM2Error) -> None:
        self._talk.leave()
        self._breakOff()
        if not isinstance(error, Cancelled):
            self.failed.emit(str(error))

    # Pieces

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn an error on purpose into the signal `failed`."""
        try:
            yield
        except MedSAM2Error as error:
            self.failed.emit(str(error))

    def _preview(self, sliceIndex: int | None) -> None:
        """As `preview`, of prompts that were told of when they changed; None is nothing to draw."""
        if self.busy or self.waits or sliceIndex is None:
            self._talk.later = sliceIndex
            return
        with self._telling():
            work = self._ensured()
            self._lookAtVolume()
            session = self._session(self._goingOn())
            work.noticeEdits(self._edits.written)
            work.keepStack()
            objects = self._plan().objects([work], work.stack, opened=sliceIndex)
            onDone = self._talk.current(partial(self._onPreview, work, sliceIndex))
            onError = self._talk.current(self._onError)
            self._talk.ask(lambda: self._client.predict(session, sliceIndex, objects, onDone, onError))

    def _start(self, works: Sequence[SegmentWork]) -> None:
        """Propagate these segments. Raises MedSAM2Error if there is nothing to go from."""
        if not works:
            raise PromptError(_("No segment has a prompt: click on the object or draw a box first."))
        self._lookAtVolume()
        for work in works:
            work.noticeEdits(self._edits.written)
        legs = self._plan().legs(works)
        self._abandon()
        self._run(Pass(self._target, self._volume, legs))

    def _redraw(self, works: Sequence[SegmentWork], cut: tuple[float, float], isStep: bool) -> None:
        if self.busy or not works:
            return
        with self._telling():
            self._abandon()
            self._lookAtVolume()
            if whyNot := self._whyNotRedraw(works):
                raise PromptError(whyNot)
            self._run(Redraw(self._target, self._volume, self._plan().legsToRedraw(works), cut, isStep))

    def _run(self, running: Pass | Redraw) -> None:
        self._pass = running
        self.busyChanged.emit(True)
        self._ask()

    def _ask(self) -> None:
        """Have the worker do what comes next in the pass."""
        running, session, current = self._pass, self._session(self._pass.options), self._talk.current
        slots = current(self._onStep, last=False), current(self._onDone), current(self._onError)
        self._talk.ask(lambda: running.ask(self._client, session, *slots))

    def _session(self, options: RunOptions) -> str:
        """Open the segmentation's session along a stack; returns its key."""
        session = self._volume.openSession(self._client, self._owner(), options, self._target.stacks())
        self._target.noteClosedSessions(self._volume)
        return session

    def _clear(self, work: SegmentWork, indexes: set[int]) -> None:
        """Take back what prompts that are gone had drawn on slices."""
        if indexes and (not self.busy or self._talk.later in indexes):
            self._dropPreview()
        if self.busy:
            return
        with self._telling():
            if self._takeBack(work, indexes):
                self._remember(work)
                self._tellAll()

    def _dropPreview(self) -> None:
        """Forget a preview that is on its way, or waits for the end of a propagation: it would draw a slice again."""
        if self.busy:
            self._talk.later = None
        else:
            self._abandon()

    def _travel(self, step: Callable[[EditHistory], None]) -> None:
        """Undo or redo; an editor's own history has its own buttons."""
        self._abandon()
        if isinstance(self._target.history, EditHistory):
            step(self._target.history)
            self._lookForEdits()

    # Events of the scene

    def _onNodeRemoved(self, node: slicer.vtkMRMLNode) -> None:
        gone = node is self._volume.node, node is self.segmentationNode
        if any(gone):
            self._leave(*gone, _("'{name}' was removed: choose another one.").format(name=node.GetName()))

    def _onSceneClosing(self) -> None:
        self._leave(True, True, _("The scene was closed."))

    def _leave(self, volume: bool, segment: bool, reason: str) -> None:
        """Stop working on one or both; if a propagation ends with that, say why."""
        hadRun = self._abandon()
        if volume:
            self.setVolume(None)
        if segment:
            self.setSegment(None)
        if hadRun:
            self.noticed.emit(reason)

    def _abandon(self) -> bool:
        """Cancel what is running and forget it; whether a propagation was. What it has drawn stays."""
        self._talk.leave()
        return self._breakOff()

    def _breakOff(self) -> bool:
        ended, self._pass = self._pass, None
        if ended is None:
            return False
        ended.breakOff()
        self._edits.forget()
        self.busyChanged.emit(False)
        self.reviewed.emit()
        return True
