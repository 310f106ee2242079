"""One segment at work: joins MRML events and the model process. Knows neither Qt nor torch.

The panel, the Segment Editor effect and the console are thin faces of it. Actions return at once and never raise:
signals report the results and errors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.controllersignals import ControllerSignals
from MedSAM2SlicerLib.disagreement import Disagreement
from MedSAM2SlicerLib.live import Live
from MedSAM2SlicerLib.lookahead import LookAhead
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.prompting import Prompting
from MedSAM2SlicerLib.prompts.promptviews import promptViews
from MedSAM2SlicerLib.review import Review
from MedSAM2SlicerLib.runner import Runner
from MedSAM2SlicerLib.scene.cut import wholeCut
from MedSAM2SlicerLib.scene.history import EditHistory, History
from MedSAM2SlicerLib.scene.scenewatch import SceneWatch
from MedSAM2SlicerLib.scene.slicereview import ACCEPTED, LOCKED
from MedSAM2SlicerLib.work.pace import KnownPaces, Paces
from MedSAM2SlicerLib.work.segmentwork import SegmentWork
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.work.workplace import Workplace
from MedSAM2SlicerLib.worker.client import WorkerClient


class Controller:
    """Prompts, preview, propagation and review of one segment of one volume.

    What is written obeys the masking and overwrite mode of `editorNode`, a Segment Editor's settings; `history` keeps
    its states for undo in place of one of the controller's own. It continues at the `workplace` of another one that
    was closed, if that is given. `review` answers questions, `prompting` makes and removes prompts, `live` propagates
    by itself, `lookAhead` sees the slice in view, `disagreement` shows where three axes differ. `paces` keep how long
    slices take.
    """

    def __init__(
        self,
        client: WorkerClient,
        editorNode: slicer.vtkMRMLSegmentEditorNode | None = None,
        history: History | None = None,
        workplace: Workplace | None = None,
        paces: Paces | None = None,
    ) -> None:
        self.workplace = workplace or Workplace(Target(editorNode=editorNode, history=history))
        self._signals = told = ControllerSignals()
        self.segmentChanged, self.promptsChanged, self.reviewed = (
            told.segmentChanged,
            told.promptsChanged,
            told.reviewed,
        )
        self.previewed, self.sliceDrawn, self.progressed = told.previewed, told.sliceDrawn, told.progressed
        self.busyChanged, self.finished, self.failed = told.busyChanged, told.finished, told.failed
        self.noticed, self.starting = told.noticed, told.starting
        self._client, self._runner = client, Runner(client, self.workplace, told, paces or KnownPaces())
        self.disagreement = Disagreement(client, self.workplace, self._runner, told)
        self.live = Live(self.workplace, self._runner, told)
        self.lookAhead = LookAhead(self._runner, self.warm)
        self.prompting = Prompting(self.workplace, self._runner, told, self.live.note)
        self.review = Review(self.workplace, self._runner)
        self._reason = ""  # `whyNot` at the last look
        self._scene = SceneWatch(self._onNodeRemoved, self._onSceneClosing)
        client.noticed.connect(self.noticed.emit)
        client.restarted.connect(self._onRestarted)
        told.undone.connect(self._onUndone)
        self.workplace.moved.connect(self._onMoved)
        self.workplace.watch()
        if self.segmentId in self.workplace.target.segmentIds():
            self._lookForEdits()

    @property
    def busy(self) -> bool:
        """Whether a propagation is running."""
        return self._runner.busy

    @property
    def waits(self) -> bool:
        """Whether an answer of the worker is still to come."""
        return self._runner.waits

    # What is worked on

    @property
    def volumeNode(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The volume the model looks at."""
        return self.workplace.volume.node

    @property
    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation that is written into; made with the first prompt if there is none."""
        return self.workplace.target.segmentationNode

    @property
    def segmentId(self) -> str:
        """The segment that is written into."""
        return self.workplace.target.segmentId

    @property
    def options(self) -> RunOptions:
        """How the next propagation runs; its stack is for segments that have none of their own yet."""
        return self.workplace.options

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Look at another volume, or at other voxels of this one; a running propagation ends."""
        if (isOther := volumeNode is not self.volumeNode) or self.workplace.volume.hasOtherVoxels:
            self._runner.abandon()
            self.live.leave()
            self.workplace.volume.close(self._client)
            self.workplace.useVolume(volumeNode)
            self._signals.tellAll()
            if not isOther:
                self.noticed.emit(_("The volume's voxels have changed: propagate again."))

    def setSegment(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str = "") -> None:
        """Work on another segment; a running propagation ends, and the prompts are those of that segment."""
        if segmentationNode is self.segmentationNode and segmentId == self.segmentId:
            return
        self._leaveSegment()
        self._lookForEdits()  # of the one that is left, which this one may overwrite
        target = self.workplace.target.moved(segmentationNode, segmentId)
        if segmentationNode is not self.segmentationNode:
            self.workplace.closeEarlierSessions(self._client, target)
        self.workplace.moveTo(target)
        self._lookForEdits()
        self.live.leave()
        self.prompting.previewAgain(self.workplace.takePutOff())

    def setOptions(self, options: RunOptions) -> None:
        """Choose how to propagate from now on; another stack than before is the segment's, if something comes of it."""
        workplace, before = self.workplace, self.options
        workplace.options = options
        if before.window != options.window:
            workplace.target.forgetWindow()
        isTurned, isNew = before.stack != options.stack, before.session() != options.session()
        if isTurned or isNew:
            awaited, wasLive = self._runner.previews, self._runner.makesWay
            self._runner.abandon()
            if isNew:
                workplace.target.noteNewSession()
            if isTurned and workplace.slicedIfUsable() is not None:
                workplace.target.turn(workplace.volume, options.stack)
            self._signals.tellAll()
            if not isTurned:  # what was under way goes on with the new settings
                self.prompting.previewAgain(awaited)
                if wasLive:
                    self.live.note()

    def setInUse(self, isInUse: bool) -> None:
        """Say whether somebody works with this now: the segment's prompts are seen then, and can be grabbed."""
        if isInUse:
            if not self.busy:
                self._lookForEdits()
            promptViews().use(self, self.segmentationNode, self.segmentId)
            self.prompting.previewAgain(self.workplace.takePutOff())
        else:
            promptViews().rest(self)

    def close(self, isForGood: bool = True) -> None:
        """Let go of the scene and of the client; a running propagation ends, results stay.

        Unless it `isForGood` the worker keeps its session, for the next controller to continue with.
        """
        self._leaveSegment()
        self.setInUse(False)
        if isForGood:
            self.disagreement.hide()
            self.workplace.closeSessions(self._client)
        self._client.noticed.disconnect(self.noticed.emit)
        self._client.restarted.disconnect(self._onRestarted)
        self.workplace.moved.disconnect(self._onMoved)
        self.workplace.edits.stop()
        self._scene.stop()

    # Actions

    def propagate(self) -> None:
        """Carry the segment through its intervals; the signals tell how it goes."""
        self.live.forget()
        if not self.busy:
            with self._signals.telling():
                self._runner.propagate([self.workplace.ensuredWork(self.workplace.sliced())])

    def propagateAll(self) -> None:
        """Carry all segments that have prompts, in one pass."""
        self.live.forget()
        if not self.busy:
            with self._signals.telling():
                self._runner.propagate(self.workplace.works())

    def warm(self, sliceIndex: int) -> None:
        """Have the worker open the volume and see a slice ahead of the first prompt, which tells what goes wrong."""
        with suppress(MedSAM2Error):
            self._runner.warm(sliceIndex)

    def redraw(self, *cut: Any, near: int | None = None) -> None:
        """Redraw what was propagated, without the model: at another `Cut`. Values left out are the usual ones.

        The slice `near`, which is looked at, comes first.
        """
        work = self.workplace.work()
        if work is not None and not self.busy:
            with self._signals.telling():
                self._runner.redraw([work], wholeCut(*cut), isStep=True, near=near)

    def redrawRun(self, *cut: Any, near: int | None = None) -> None:
        """As `redraw`, of all segments that the last propagation drew slices of, and in the same step for undo."""
        ran = [work for work in self._runner.ran if work.states.hasPropagated]
        if ran and not self.busy:
            with self._signals.telling():
                self._runner.redraw(ran, wholeCut(*cut), isStep=False, near=near)

    def stop(self) -> None:
        """End a propagation after the current slice; what is drawn stays."""
        self.live.forget()
        self._runner.stop()

    def undo(self) -> None:
        """Undo the last propagation or preview; a running one ends first."""
        self._travel(EditHistory.undo)

    def redo(self) -> None:
        """Redo what was undone last."""
        self._travel(EditHistory.redo)

    def removeSegment(self) -> None:
        """Remove the segment; undo brings it back, and its prompts with it."""
        if self.segmentId:
            self.workplace.target.removeSegment()

    def accept(self, sliceIndex: int) -> None:
        """Accept a slice, or no longer: propagations start from it and do not change it."""
        self._mark(sliceIndex, ACCEPTED)

    def lock(self, sliceIndex: int) -> None:
        """Lock or unlock a slice: nothing here changes it, prompts on it neither."""
        self._mark(sliceIndex, LOCKED)

    def disown(self, sliceIndex: int) -> None:
        """Let the next propagation draw a slice again that was edited with another tool."""
        work = self._workAtRest()
        if work is not None:
            work.disown(sliceIndex)
            self._signals.tellAll()
            self.live.note(sliceIndex)

    def tick(self) -> None:
        """Watch the worker's time-outs, the user's edits and `whyNot`; from a timer, about every 50 ms."""
        self._client.tick()
        self.workplace.volume.work()
        self._followWhyNot()
        self._runner.lookForMoves()
        self._runner.lookForEdits()
        if self.workplace.edits.settled and not self.busy:
            self._lookForEdits()
        self.live.tick()

    def _mark(self, sliceIndex: int, mark: str) -> None:
        work = self._workAtRest()
        if work is not None:
            self._lookForEdits()
            work.toggle(sliceIndex, mark)
            self.reviewed.emit()

    def _workAtRest(self) -> SegmentWork | None:
        """The segment at work; None while it is being propagated, too."""
        return None if self.busy else self.workplace.work()

    def _leaveSegment(self) -> None:
        """End what is under way; slices whose previews were to come are drawn when the segment is come back to."""
        self.workplace.putOff(self._runner.previews)
        self._runner.abandon()

    def _travel(self, step: Callable[[EditHistory], None]) -> None:
        """Undo or redo; an editor's own history has its own buttons."""
        self._runner.abandon()
        self.workplace.catchUp()  # else what was painted last would make edits of all that comes back
        self.live.leave()
        if isinstance(self.workplace.target.history, EditHistory):
            step(self.workplace.target.history)
            self.workplace.edits.noteTravel()
            self._lookForEdits()

    def _lookForEdits(self) -> None:
        isTravel = self.workplace.edits.isTravel
        if isTravel:
            self.live.leave()
        if self.workplace.lookForEdits():
            self._signals.tellAll()
            if not isTravel:
                self.live.note()

    def _onUndone(self) -> None:
        self.live.leave()
        self._signals.tellAll()

    def _followWhyNot(self) -> None:
        """Tell when there is another reason, or none any more: grids and transforms change without a word."""
        before, self._reason = self._reason, self.review.whyNot()
        if self._reason != before:
            self.reviewed.emit()

    # Events of the scene

    def _onMoved(self) -> None:
        promptViews().move(self, self.segmentationNode, self.segmentId)
        self.segmentChanged.emit()
        self._signals.tellAll()

    def _onNodeRemoved(self, node: slicer.vtkMRMLNode) -> None:
        gone = node is self.volumeNode, node is self.segmentationNode
        if any(gone):
            self._leave(*gone, _("'{name}' was removed: choose another one.").format(name=node.GetName()))

    def _onRestarted(self, reason: str) -> None:
        self.noticed.emit(_("{reason} It was started again; nothing that was drawn is lost.").format(reason=reason))

    def _onSceneClosing(self) -> None:
        self._leave(True, True, _("The scene was closed."))

    def _leave(self, volume: bool, segment: bool, reason: str) -> None:
        """Stop working on one or both; if a propagation ends with that, say why."""
        hadRun = self._runner.abandon()
        if volume:
            self.setVolume(None)
        if segment:
            self.setSegment(None)
        if hadRun:
            self.noticed.emit(reason)
