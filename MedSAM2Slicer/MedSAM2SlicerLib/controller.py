"""One segment at work: joins MRML events and the model process. Knows neither Qt nor torch.

The panel, the Segment Editor effect and the console are thin faces of it. Actions return at once and never raise: what
comes of them, errors too, is told by signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error
from medsam2_core.run.prompts import RunObject
from medsam2_core.worker.results import ObjectAnswer, Propagated, Step
from MedSAM2SlicerLib.calls import Call
from MedSAM2SlicerLib.client import WorkerClient
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.promptnodes import PromptItem
from MedSAM2SlicerLib.prompts import PromptPlacer
from MedSAM2SlicerLib.promptset import PromptSet
from MedSAM2SlicerLib.recording import Recording
from MedSAM2SlicerLib.review import SliceReview, nextDoubtful, reviewAnswer, reviewRecord
from MedSAM2SlicerLib.running import OBJECT_ID, Running
from MedSAM2SlicerLib.scenewatch import SceneWatch
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.target import Target
from MedSAM2SlicerLib.volumeinuse import VolumeInUse
from MedSAM2SlicerLib.volumes import checkedGeometry


class Controller:
    """Prompts, preview, propagation and review of one segment of one volume.

    What is written obeys the masking and overwrite mode of `editorNode`, a Segment Editor's settings.
    """

    def __init__(self, client: WorkerClient, editorNode: slicer.vtkMRMLSegmentEditorNode | None = None) -> None:
        self.segmentChanged = Signal()
        self.promptsChanged = Signal()
        self.previewed = Signal()  # slice index
        self.sliceDrawn = Signal()  # slice index
        self.progressed = Signal()  # Progress
        self.reviewed = Signal()
        self.busyChanged = Signal()  # bool
        self.finished = Signal()  # summary, one sentence
        self.failed = Signal()  # message, one sentence
        self.noticed = Signal()  # message, one sentence
        self._client = client
        client.noticed.connect(self.noticed.emit)
        self._volume = VolumeInUse(None)
        self._target = Target(editorNode=editorNode)
        self._options = RunOptions()
        self._reviews: dict[int, SliceReview] = {}
        self._stops: dict[str, str] = {}
        self._call: Call | None = None
        self._running: Running | None = None
        self._recording: Recording | None = None
        self._waitingPreview: int | None = None
        self._generation = 0
        self._watch = SceneWatch(self._onNodeRemoved, self._onSceneClosing)

    # What is worked on

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
        """How the next propagation runs."""
        return self._options

    @property
    def busy(self) -> bool:
        """Whether a propagation is running."""
        return self._running is not None

    def setVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
        """Look at another volume; a running propagation ends."""
        if volumeNode is not self._volume.node:
            self._abandon()
            self._volume.close(self._client)
            self._volume = VolumeInUse(volumeNode)
            self._forgetResults()

    def setSegment(self, segmentationNode: slicer.vtkMRMLSegmentationNode | None, segmentId: str = "") -> None:
        """Work on another segment; a running propagation ends, and the prompts are those of that segment."""
        if segmentationNode is self.segmentationNode and segmentId == self.segmentId:
            return
        self._abandon()
        self._target = self._target.moved(segmentationNode, segmentId)
        self.segmentChanged.emit()
        self._forgetResults()

    def setOptions(self, options: RunOptions) -> None:
        """Choose how to propagate from now on."""
        before, self._options = self._options, options
        if before.axis != options.axis:
            self._abandon()
            self._forgetResults()

    def axis(self) -> int:
        """The array axis (0, 1, 2 for k, j, i) slices are counted along."""
        return self._options.axis or 0

    def sliceCount(self) -> int:
        """Number of slices along the axis; 0 without a usable volume."""
        try:
            return self._volume.slicing(self.axis()).count
        except MedSAM2Error:
            return 0

    def sliceCentreRas(self, sliceIndex: int) -> tuple[float, float, float]:
        """World position of a slice's middle. Raises VolumeError without a usable volume."""
        return self._volume.sliceCentreRas(self.axis(), sliceIndex)

    def modelView(self, sliceIndex: int) -> npt.NDArray[np.uint8]:
        """Return a slice (rows, columns) as the model sees it. Raises VolumeError without a usable volume."""
        return self._volume.modelView(self._options.window, self.axis(), sliceIndex)

    # Prompts

    def promptNode(self, kind: str) -> slicer.vtkMRMLMarkupsNode:
        """Return the markups node that the next include, exclude, box or curve prompt is placed into.

        Makes a segmentation and a segment where none is chosen. Raises MedSAM2Error without a usable volume.
        """
        return self._ensuredPrompts().nodeToPlace(kind)

    def prompts(self) -> list[PromptItem]:
        """List the segment's prompts by slice; none if one of them cannot be used, which a preview explains."""
        if self._target.prompts is None or self._volume.node is None:
            return []
        return self._target.prompts.items(self._placer())

    def addSegmentPrompt(self, segmentId: str, sliceIndex: int | None = None) -> None:
        """Take what a segment marks on a slice (None: on all slices it marks) as the truth there."""
        with self._telling():
            self._ensuredPrompts().addSegment(segmentId, sliceIndex, self._placer())
        self.promptsChanged.emit()

    def removePrompt(self, item: PromptItem) -> None:
        """Remove a prompt; a slice that it alone had drawn is emptied, others are drawn anew."""
        if self._target.prompts is not None:
            self._target.prompts.remove(item)
        self.promptsChanged.emit()
        if any(other.sliceIndex == item.sliceIndex for other in self.prompts()):
            self.preview(item.sliceIndex)
        else:
            self._clear(item.sliceIndex)

    def removeAllPrompts(self) -> None:
        """Remove every prompt of the segment; what is drawn stays."""
        if self._target.prompts is not None:
            self._target.prompts.removeAll()
        self.promptsChanged.emit()

    # Actions

    def preview(self, sliceIndex: int) -> None:
        """Draw the prompts' answer on a slice. While one is on its way only the latest other slice waits."""
        self.promptsChanged.emit()
        if self.busy:
            return
        if self._call is not None:
            self._waitingPreview = sliceIndex
            return
        with self._telling():
            objects = self._objects()
            onDone, onError = self._current(partial(self._onPreview, sliceIndex)), self._current(self._onError)
            self._call = self._client.predict(self._session(), sliceIndex, objects, onDone, onError)

    def propagate(self) -> None:
        """Carry the segment through the range; the signals tell how it goes."""
        if self.busy:
            return
        with self._telling():
            objects = self._objects()
            first, last = self._options.range(self._volume.slicing(self.axis()).count)
            session = self._session()
            self._abandon()
            self._recording = Recording(self._volume, self._options, (first, last), objects[0])
            self._running = Running(self._target.writer(self._volume.node), self.axis())
            self.busyChanged.emit(True)
            onStep, onDone, onError = (self._current(one) for one in (self._onStep, self._onDone, self._onError))
            direction, stop = self._options.direction, self._options.stopRules()
            self._call = self._client.propagate(session, objects, first, last, direction, stop, onStep, onDone, onError)

    def stop(self) -> None:
        """End a propagation after the slice at hand; what is drawn stays."""
        if self._call is not None:
            self._call.cancel()

    def undo(self) -> None:
        """Take back the last propagation or preview; a running one ends first."""
        self._abandon()
        if self._target.history is not None:
            self._target.history.undo()
            self._forgetResults()

    def redo(self) -> None:
        """Bring back what was undone last."""
        self._abandon()
        if self._target.history is not None:
            self._target.history.redo()
            self._forgetResults()

    def tick(self) -> None:
        """Watch the worker's time-outs; from a timer, about every 50 ms. What it sends comes by the event loop."""
        self._client.tick()

    def close(self) -> None:
        """Let go of the scene and of the client; a running propagation ends, results stay."""
        self._abandon()
        self._client.noticed.disconnect(self.noticed.emit)
        self._watch.stop()

    # Review

    def slices(self) -> dict[int, SliceReview]:
        """What is known of each slice, by index."""
        return dict(self._reviews if self._running is None else self._reviews | self._running.reviews)

    def stops(self) -> dict[str, str]:
        """Why each direction ended, as a sentence."""
        return dict(self._stops)

    def nextDoubtful(self, after: int) -> int | None:
        """Return the next slice worth a look behind `after`, from the start again at the end; None if there is none."""
        return nextDoubtful(self.slices(), after)

    def volumeMl(self) -> float:
        """Volume of the segment in mL; 0 where there is none."""
        return self._target.volumeMl()

    # Answers of the worker

    def _current(self, slot: Callable[..., None]) -> Callable[..., None]:
        """Call `slot` only as long as nothing newer has been asked for: late answers of what was left go nowhere."""
        generation = self._generation

        def guarded(*values: object) -> None:
            if generation == self._generation:
                slot(*values)

        return guarded

    def _onPreview(self, sliceIndex: int, answers: tuple[ObjectAnswer, ...]) -> None:
        self._call = None
        with self._telling():
            for answer in answers:
                self._drawPreview(sliceIndex, answer)
            self.previewed.emit(sliceIndex)
            self.reviewed.emit()
        waiting, self._waitingPreview = self._waitingPreview, None
        if waiting is not None:
            self.preview(waiting)

    def _drawPreview(self, sliceIndex: int, answer: ObjectAnswer) -> None:
        mask = answer.mask.full(self._volume.slicing(self.axis()).shape)
        self._target.write(self._volume.node, {sliceIndex: mask}, self.axis())
        self._reviews[sliceIndex] = reviewAnswer(sliceIndex, answer, "prompt")
        if not mask.any():
            self.noticed.emit(
                _("Nothing found here on slice {index}. Try a box, or another window (now: {window}).").format(
                    index=sliceIndex, window=self._volume.prepared(self._options.window).window.name
                )
            )

    def _onStep(self, step: Step) -> None:
        try:
            progress = self._running.write(step)
        except MedSAM2Error as error:  # the segment is gone: nothing later could be written either
            self._abandon()
            self.failed.emit(str(error))
            return
        self.progressed.emit(progress)
        self.sliceDrawn.emit(step.slice_index)

    def _onDone(self, result: Propagated) -> None:
        running, self._running, self._call = self._running, None, None
        with self._telling():
            record = running.finish(result, set(self._reviews))
            if record is not None:
                self._reviews, self._stops = reviewRecord(record), record.stopped
                self._recording.save(self.segmentationNode, self.segmentId, self._client.modelFacts, result)
        self.busyChanged.emit(False)
        self.reviewed.emit()
        self.finished.emit(running.summary(result, self._stops, self.volumeMl()))

    def _onError(self, error: MedSAM2Error) -> None:
        running, self._running, self._call = self._running, None, None
        self._waitingPreview = None
        if running is not None:
            running.end()
            self._reviews |= running.reviews
            self.busyChanged.emit(False)
            self.reviewed.emit()
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

    def _session(self) -> str:
        """Open the segment's session; returns its key."""
        key = f"{self.segmentationNode.GetID()}/{self.segmentId}"
        self._volume.openSession(self._client, key, self._options)
        return key

    def _placer(self) -> PromptPlacer:
        return self._volume.placer(self.axis())

    def _ensuredPrompts(self) -> PromptSet:
        """The prompts of the segment, which is made where none is chosen. Raises VolumeError."""
        checkedGeometry(self._volume.node)
        before, self._target = self._target, self._target.ensured(self._volume.node)
        if before is not self._target:
            self.segmentChanged.emit()
        return self._target.prompts

    def _objects(self) -> list[RunObject]:
        return self._ensuredPrompts().objects(self._placer(), OBJECT_ID, self._reviews)

    def _clear(self, sliceIndex: int) -> None:
        if self.busy:
            return
        self._abandon()  # a preview on its way would draw the slice again
        drawn = self._reviews.get(sliceIndex)
        if drawn is not None and drawn.state == "prompted":
            del self._reviews[sliceIndex]
            with self._telling():
                self._target.write(self._volume.node, {sliceIndex: None}, self.axis())
            self.reviewed.emit()

    def _forgetResults(self) -> None:
        self._reviews, self._stops = {}, {}
        self.reviewed.emit()
        self.promptsChanged.emit()

    # Events of the scene

    def _onNodeRemoved(self, node: slicer.vtkMRMLNode) -> None:
        if node is self._volume.node or node is self.segmentationNode:
            self._leave(_("'{name}' was removed: choose another one.").format(name=node.GetName()))
            if node is self._volume.node:
                self.setVolume(None)
            else:
                self.setSegment(None)

    def _onSceneClosing(self) -> None:
        self._leave(_("The scene was closed."))
        self.setVolume(None)
        self.setSegment(None)

    def _leave(self, reason: str) -> None:
        if self._abandon():
            self.noticed.emit(reason)

    def _abandon(self) -> bool:
        """Cancel what is running and forget it; whether a propagation was. What it has drawn stays."""
        self._generation += 1
        running, self._running = self._running, None
        call, self._call, self._waitingPreview = self._call, None, None
        if call is not None:
            call.cancel()
        if running is None:
            return False
        running.end()
        self._reviews |= running.reviews
        self.busyChanged.emit(False)
        return True
