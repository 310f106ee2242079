"""The button Through time: the segment goes on through the frames of a sequence, and ends when it is pressed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.moments.throughtime import ThroughTime
from MedSAM2SlicerLib.scene.frames import browserOf
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text
from MedSAM2SlicerLib.ui.part import Part, explain
from MedSAM2SlicerLib.worker.conversation import Conversation

if TYPE_CHECKING:
    from medsam2_core.worker.time_steps import TimeStep
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.ui.services import Services


class TimeControls(Part):
    """Seen only where the volume shows a frame of a sequence. said(text), failed(text): one sentence. ended()."""

    def __init__(self, ui: Any, controller: Controller, services: Services) -> None:
        super().__init__(ui, controller)
        self.said, self.failed, self.ended = Signal(), Signal(), Signal()
        self._services, self._talk = services, Conversation()
        self._run: ThroughTime | None = None
        ui.throughTimeButton.connect("clicked()", guarded(self.toggle))

    @property
    def isRunning(self) -> bool:
        """Whether frames are still to come."""
        return self._talk.waits

    def toggle(self) -> None:
        """Start, or end after the current slice; frames that are done stay."""
        if self.isRunning:
            self._talk.cancel(keep=True)
        else:
            self._start()

    def update(self, whyNot: str) -> None:
        """Show the button where there are frames, and enable it unless there is a reason why not."""
        button, volumeNode = self.ui.throughTimeButton, self.controller.volumeNode
        button.visible = volumeNode is not None and browserOf(volumeNode) is not None
        button.text = _("Stop (time)") if self.isRunning else _("Through time")
        noSegment = "" if self.controller.segmentId else _("Segment the object in this frame first.")
        explain(button, "" if self.isRunning else self.controller.review.whyBusy() or whyNot or noSegment)

    def close(self) -> None:
        """Stop, and listen no more."""
        super().close()
        self._talk.leave()
        self._end()

    def _start(self) -> None:
        controller, current = self.controller, self._talk.current
        onStep, onDone, onError = current(self._onStep, last=False), current(self._onDone), current(self._onError)
        volumeNode, node, segmentId = controller.volumeNode, controller.segmentationNode, controller.segmentId
        if volumeNode is None or node is None:  # gone since the button was enabled
            return
        try:
            run = ThroughTime(volumeNode, node, segmentId, controller.options)
            self._run = run
            self._talk.ask(lambda: run.ask(self._services.client(), onStep, onDone, onError))
        except MedSAM2Error as error:
            self._onError(error)
            return
        if node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetSegmentVisibility(segmentId, False)  # in other frames it would be wrong
        self.said.emit(_("Through time: the other frames are being segmented…"))
        self.update("")

    def _onStep(self, step: TimeStep) -> None:
        if self._run is None:
            return
        try:
            self._run.write(step)
        except MedSAM2Error as error:
            self._talk.leave()
            self._onError(error)
            return
        self.said.emit(text.timeText(step.done, step.planned))

    def _onDone(self, isCanceled: bool) -> None:
        if self._run is not None:
            done = _("Stopped: the frames that are done are in {name}, their volumes in the table {table}.")
            if not isCanceled:
                done = _("All frames are in {name}, their volumes in the table {table}.")
            names = {"name": repr(self._run.node.GetName()), "table": repr(self._run.table.GetName())}
            self.said.emit(done.format(**names))
        self._end()

    def _onError(self, error: MedSAM2Error) -> None:
        if isinstance(error, Cancelled):  # before the worker had begun
            self._onDone(isCanceled=True)
            return
        self.failed.emit(str(error))
        self._end()

    def _end(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.close(self._services.client())
        self.update("")
        self.ended.emit()
