"""The panel of the module and of the Segment Editor effect: it knows neither of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from medsam2_core.image.slicing import SliceStack
from MedSAM2SlicerLib import faults
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.prompts.promptnodes import otherMarkups
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text, views
from MedSAM2SlicerLib.ui.banner import Banner
from MedSAM2SlicerLib.ui.choices import AUTO, Choices
from MedSAM2SlicerLib.ui.disagreementcontrols import DisagreementControls
from MedSAM2SlicerLib.ui.icons import showIcons
from MedSAM2SlicerLib.ui.keyhints import hinted
from MedSAM2SlicerLib.ui.later import Later
from MedSAM2SlicerLib.ui.livecontrols import LiveControls
from MedSAM2SlicerLib.ui.messageline import MessageLine
from MedSAM2SlicerLib.ui.models import ModelControls
from MedSAM2SlicerLib.ui.optioncontrols import OptionControls
from MedSAM2SlicerLib.ui.part import Closing, otherSegments
from MedSAM2SlicerLib.ui.rangepopup import RangePopup
from MedSAM2SlicerLib.ui.redrawing import Redrawing
from MedSAM2SlicerLib.ui.replaycontrols import ReplayControls
from MedSAM2SlicerLib.ui.reviewcontrols import ReviewControls
from MedSAM2SlicerLib.ui.runcontrols import RunControls
from MedSAM2SlicerLib.ui.support import SupportControls
from MedSAM2SlicerLib.ui.timecontrols import TimeControls
from MedSAM2SlicerLib.ui.viewmessage import ViewMessage

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.ui.promptcontrols import PromptControls
    from MedSAM2SlicerLib.ui.services import Services
    from MedSAM2SlicerLib.ui.source import Source, SourceControls

_TICK_MILLISECONDS = 50
_FAULT_MILLISECONDS = 100
_ICON_NAMES = {
    "includeButton": "Include",
    "excludeButton": "Exclude",
    "boxButton": "Box",
    "propagateButton": "Propagate",
    "propagateAllButton": "Propagate",
    "stopButton": "Stop",
    "nextDoubtfulButton": "NextDoubtful",
    "acceptButton": "Accept",
    "lockButton": "Lock",
}


class Panel:
    """Joins the widgets of MedSAM2Slicer.ui to a controller. `changed` is emitted when a person chose something.

    `source` and `prompts` are where the two differ. A controller that continues with a session must be told its
    `choices` from the beginning: others would end it.
    """

    def __init__(
        self,
        ui: Any,
        controller: Controller,
        services: Services,
        source: SourceControls,
        prompts: PromptControls,
        choices: Choices | None = None,
    ) -> None:
        self.ui = ui
        self.controller = controller
        self._services = services
        self.changed = Signal()
        self._axis = AUTO  # that the controller was told last
        self.source, self.prompts = source, prompts
        self.line = MessageLine(ui, controller, services)
        self.inView = ViewMessage()
        self.banner = Banner(ui, services)
        self.models = ModelControls(ui, services)
        self.options = OptionControls(ui)
        self.range = RangePopup(ui)
        self.run = RunControls(ui, controller)
        self.live = LiveControls(ui, controller, services)
        self.time = TimeControls(ui, controller, services)
        self.review = ReviewControls(ui, controller)
        self.redrawing = Redrawing(ui, controller)
        self.disagreement = DisagreementControls(ui, controller)
        self.replay = ReplayControls(ui, controller)
        self.support = SupportControls(ui, services)
        showIcons(ui, _ICON_NAMES)
        if choices is not None:
            self.models.show(choices.model)
            self.options.show(choices)
        self._join()
        self._inUse = False
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MILLISECONDS)
        self._timer.connect("timeout()", guarded(self.tick))
        self._faultShowing = Later(self._showFault, _FAULT_MILLISECONDS)
        faults.listen(self._onFault)
        self._onSource()

    def actions(self) -> dict[str, Callable[[], object]]:
        """Return what each key does; the first times it also says so in the view."""
        return hinted(self._actions(), self._services, self._sayInView)

    def _actions(self) -> dict[str, Callable[[], object]]:
        return {
            "a": lambda: self.place("include"),
            "x": lambda: self.place("exclude"),
            "d": lambda: self.place("box"),
            "m": lambda: self.place("line"),
            "s": lambda: self.place("scribble"),
            "p": self.run.propagate,
            "Return": self.run.propagate,
            "Enter": self.run.propagate,  # of the number pad
            "u": self.live.toggle,
            "n": self.review.nextDoubtful,
            "k": self.review.accept,
            "l": self.review.lock,
            "Esc": self.escape,
        }

    def _sayInView(self, text: str) -> None:
        self.inView.show(text, views.clickedView() or self.prompts.view)

    @property
    def ticking(self) -> bool:
        """Whether the timer runs."""
        return bool(self._timer.active)

    def choices(self) -> Choices:
        """Return all choices but the nodes."""
        return self.options.choices(self.models.model())

    def show(self, source: Source, choices: Choices) -> None:
        """Show nodes and choices, of a scene just loaded for example, and use them."""
        # Choices that come after the segment would be a change of settings, which makes all that it has stale.
        if source != self.source.source():
            self._axis = choices.axis  # which does not ask to turn the segment before, or this one
        self._showChoices(choices)
        self.source.select(source)
        self._showChoices(choices)  # the range and the regions to choose from are the volume's

    def _showChoices(self, choices: Choices) -> None:
        if choices != self.choices():
            self.models.show(choices.model)
            self._tell(choices)
            self._offerSlices()
            self._offerRegions()
            self.options.show(choices)
            self._apply()
            self.update()

    def start(self) -> None:
        """Be in use: look what is missing, and keep the worker's answers coming."""
        self._inUse = True
        self.controller.setInUse(True)
        self.live.refresh()
        self.banner.refresh()
        self.update()
        self._timer.start()
        self._warm()

    def rest(self) -> None:
        """Be out of use: place nothing. A propagation goes on, as a run through time does, and with it the timer."""
        self._inUse = False
        self.controller.setInUse(False)
        self.prompts.stopPlacing()
        self._stopIfIdle()

    def close(self) -> None:
        """Release everything. Whoever made the controller closes it."""
        faults.unlisten(self._onFault)
        self._faultShowing.cancel()
        self._timer.stop()
        self._timer.deleteLater()  # which keeps the panel alive, with its controller and the volume's copy
        parts: list[Closing] = [self.source, self.prompts, self.line, self.review, self.redrawing, self.replay]
        for part in [*parts, self.disagreement, self.live, self.time, self.models, self.support, self.inView]:
            part.close()
        for signal, slot in self._heard():
            signal.disconnect(slot)

    def tick(self) -> None:
        """Deliver what the worker sent, follow the views and the scene's ROIs (called 20 times a second)."""
        self.source.follow()  # first: of another frame than the one in view the worker has nothing more to say
        self.controller.tick()
        self.review.follow()
        canPrompt = self._inUse and self.ui.includeButton.enabled
        self.controller.lookAhead.follow(self.review.shown if canPrompt else None)
        self.line.follow()
        self.prompts.list.follow()
        self._offerRegions()

    def place(self, kind: str) -> None:
        """Start or end placing prompts of a kind, if it can be done."""
        if self.ui.includeButton.enabled:
            self.prompts.place(kind)

    def escape(self) -> None:
        """Stop what is running, else leave place mode."""
        if self.controller.busy:
            self.run.stop()
        else:
            self.prompts.stopPlacing()

    def update(self) -> None:
        """Enable what can be used and say of the rest why not."""
        whyNoPrompt = self._whyNoPrompt()
        self.source.update()
        self._offerRegions()
        self.prompts.update(whyNoPrompt)
        self.run.update(whyNoPrompt or self._whyNotPropagate())
        self.time.update(whyNoPrompt)
        self.range.update(self.choices())
        self.review.update()
        self._showState()
        self.redrawing.update()
        self.disagreement.update()
        self.replay.update()
        self.support.update()

    def _join(self) -> None:
        self.source.changed.connect(self._onSource)
        self.options.changed.connect(self._onOption)
        self.options.drawingChanged.connect(self.redrawing.onChanged)
        self.models.changed.connect(self._onOption)
        self.models.refreshed.connect(self.update)
        self.prompts.changed.connect(self._onPrompts)
        self.prompts.firstPlaced.connect(self._onFirstPlaced)
        self.prompts.placing.connect(self._onPlacing)
        self.run.starting.connect(self.line.forget)
        self.redrawing.show.connect(self._showCut)
        self.run.stopping.connect(self.line.showStopping)
        self.review.measured.connect(self._showState)
        self.replay.said.connect(self.line.say)
        self.time.said.connect(self.line.say)
        self.time.ended.connect(self._stopIfIdle)
        self.line.said.connect(lambda message: self.inView.show(message, self.prompts.view))
        self.banner.changed.connect(self.update)
        self.banner.changed.connect(self._warm)
        self.banner.otherPython.connect(self.support.askForPython)
        self.support.changed.connect(self._onWorker)
        for part in (self.banner, self.support, self.source, self.prompts, self.replay, self.time):
            part.failed.connect(self.line.warn)
        for signal, slot in self._heard():
            signal.connect(slot)

    def _heard(self) -> list[tuple[Signal, Callable[..., None]]]:
        controller = self.controller
        heard: list[tuple[Signal, Callable[..., None]]] = [(controller.busyChanged, self._onBusy)]
        return [*heard, (controller.reviewed, self.update), (controller.starting, self.redrawing.awaitRun)]

    def _onFault(self, error: Exception) -> None:
        self._fault = error
        self._faultShowing.soon()

    def _showFault(self) -> None:
        """Say what went wrong, once those that go on have said what they have to: a run says so at its end."""
        if self.controller.busy:
            self._faultShowing.soon()
            return
        self.line.warn(text.faultText(self._fault))

    def _onBusy(self, _busy: bool) -> None:
        self.update()
        self._stopIfIdle()

    def _stopIfIdle(self) -> None:
        """Stop the timer where nobody waits for what the worker sends."""
        if not (self._inUse or self.controller.busy or self.time.isRunning):
            self._timer.stop()

    def _onSource(self) -> None:
        self._apply()
        self.prompts.refresh()
        self.review.refresh()
        self.update()
        self.changed.emit()

    def _onOption(self) -> None:
        self._apply()
        self.update()
        self.changed.emit()

    def _showCut(self, *cut: Any) -> None:
        self.options.showCut(*cut)
        self.changed.emit()

    def _onPrompts(self) -> None:
        if self.controller.review.stack != self._stackFor(self.choices()):  # the last prompt is gone
            self._apply()
        self.update()

    def _onPlacing(self, kind: str) -> None:
        if kind:
            self.line.forget()
        self._showState()

    def _showState(self) -> None:
        """Say what hinders, else what the segment is, else what to do next."""
        isPlacing = bool(self.prompts.placer.kind)
        state = "" if isPlacing else self.review.summary
        self.line.showState(self._whyNoPrompt() or state or self.prompts.hint())

    def _onFirstPlaced(self, view: Any) -> None:
        """Go across the view that the first prompt was placed in."""
        stack = views.stackOfView(self.controller, view)
        if (
            self.choices().axis == AUTO
            and stack != self.controller.review.stack
            and not self.controller.review.slices()
        ):
            self._apply(stack)

    def _onWorker(self) -> None:
        self.banner.refresh()
        self.update()
        self._warm()

    def _warm(self) -> None:
        """Let the model be opened before it is needed, if nothing is missing for that."""
        if not (self.banner.whyNot() or self.models.whyNot()):
            self._look(self._services.warm(self.models.model()))

    def _look(self, isHere: bool) -> None:
        """Let the model see the slice in view ahead of the first prompt, if the segment has none yet."""
        index = views.shownSlice(self.controller)
        if isHere and index is not None and not (self._whyNoPrompt() or self.controller.review.slices()):
            self.controller.warm(index)

    def _apply(self, stack: SliceStack | None = None) -> None:
        """Tell the controller the choices; their range first gets as long as there are slices along their axis."""
        self._tell(self.choices(), stack)
        self._offerSlices()
        self._tell(self.choices(), stack)
        self.review.showSlices()

    def _tell(self, choices: Choices, stack: SliceStack | None = None) -> None:
        self.controller.setOptions(choices.options(stack or self._stackFor(choices)))
        self._axis = choices.axis

    def _stackFor(self, choices: Choices) -> SliceStack:
        """The segment's own slices, unless somebody turned it by choosing an axis; else as its neighbors lie."""
        volume, own = self.controller.volumeNode, self.controller.review.ownStack()
        isTurned = choices.axis not in (AUTO, self._axis)
        if own is not None and not isTurned:
            return own
        if volume and choices.axis != AUTO:
            return views.stackOfPlane(volume, choices.axis)
        return next(reversed(self.controller.review.stacks()), SliceStack())

    def _offerSlices(self) -> None:
        """Let the range be of the slices that are worked on."""
        count, volume = self.controller.review.sliceCount(), self.controller.volumeNode
        self.options.setSlices(count, f"{volume.GetID()}/{self.controller.review.stack.name}" if volume else "")

    def _offerRegions(self) -> None:
        """Offer to stay inside the other segments, and the ROIs of the scene as they are named now."""
        rois = otherMarkups("vtkMRMLMarkupsROINode")
        named = [(roi.GetID(), _("{name} (ROI)").format(name=roi.GetName())) for roi in rois]
        self.options.setRegions([*otherSegments(self.controller), *named])

    def _whyNoPrompt(self) -> str:
        return self.source.whyNot() or self.controller.review.whyNot() or self.banner.whyNot() or self.models.whyNot()

    def _whyNotPropagate(self) -> str:
        # An edited, accepted or locked slice says what the object is, as a prompt does.
        given = self.controller.review.prompts() or any(one.isKept for one in self.controller.review.slices().values())
        return "" if given else _("Add a prompt first: Include (a), Box (d), or another.")
