"""What to check after a propagation: the drift strip, doubtful slices, accepting and locking, measures, undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.scene.slicereview import ACCEPTED, LOCKED
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui import text, thumbnail, views
from MedSAM2SlicerLib.ui.driftstrip import DriftStrip
from MedSAM2SlicerLib.ui.later import Later
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.scene.measures import Measures

_THUMBNAIL = 192  # pixels
_MEASURES_EVERY = 300  # ms: measuring takes up to 20 ms


class ReviewControls(Part):
    """Follows the slice in view; a click on the strip goes to a slice. measured(): `summary` has changed."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.measured = Signal()
        self.summary = ""
        """The segment in a line; empty where it marks nothing."""
        self.strip = DriftStrip()
        self.strip.clicked.connect(self.goTo)
        ui.stripFrame.layout().addWidget(self.strip)
        ui.nextDoubtfulButton.connect("clicked()", guarded(self.nextDoubtful))
        ui.acceptButton.connect("clicked()", guarded(self.accept))
        ui.lockButton.connect("clicked()", guarded(self.lock))
        ui.undoButton.connect("clicked()", guarded(controller.undo))
        ui.redoButton.connect("clicked()", guarded(controller.redo))
        ui.advancedSection.connect("contentsCollapsed(bool)", guarded(self._showThumbnail))
        self.shown: int | None = None
        self._measuring = Later(self._showMeasures, _MEASURES_EVERY)
        self.hear(controller.reviewed, self.refresh)
        self.hear(controller.segmentChanged, self._forgetMeasures)
        self.hear(controller.sliceDrawn, lambda _index: self.showSlices())

    def goTo(self, index: int) -> None:
        """Bring a slice into view."""
        views.showSlice(self.controller, index)
        self.follow()

    def goToFirst(self) -> None:
        """Go to the most doubtful slice, else to the first that is prompted or drawn."""
        review = self.controller.review
        anchors = [index for index, one in review.slices().items() if one.isAnchor]
        first = next(iter([*review.doubtful(), *sorted(anchors), *sorted(review.slices())]), None)
        if first is not None:
            self.goTo(first)

    def nextDoubtful(self) -> None:
        """Go to the slice that most deserves a look, or from one of these to the next."""
        index = self.controller.review.nextDoubtful(self.shown)
        if index is None:
            self.controller.noticed.emit(self._whyNoDoubt())
        else:
            self.goTo(index)
            self._sayWhyDoubtful(index)

    def accept(self) -> None:
        """Accept the slice in view, or undo that."""
        self._mark(self.controller.accept)

    def lock(self) -> None:
        """Lock the slice in view, or unlock it."""
        self._mark(self.controller.lock)

    def follow(self) -> None:
        """Mark the slice in view; called often, so that it does little."""
        shown = views.shownSlice(self.controller)
        if shown != self.shown:
            self.shown = shown
            self.strip.setCurrent(shown)
            self._showMarks()
            self._showThumbnail()

    def refresh(self) -> None:
        """Show all there is to review; the slice in view is another one where the slices are."""
        self.shown = views.shownSlice(self.controller)
        self.strip.setCurrent(self.shown)
        self.showSlices()
        self._showThumbnail()
        self._measuring.soon()

    def update(self) -> None:
        """Enable what can be used."""
        explain(self.ui.nextDoubtfulButton, self._whyNoDoubt())
        self._showMarks()
        whyNot = "" if self.controller.segmentationNode else _("There is nothing to undo.")
        explain(self.ui.undoButton, whyNot)
        explain(self.ui.redoButton, whyNot)

    def close(self) -> None:
        """Stop listening and measuring."""
        super().close()
        self._measuring.cancel()

    def showSlices(self) -> None:
        """Show state and confidence of the slices."""
        controller = self.controller
        self.strip.showSlices(controller.review.slices(), controller.review.doubtful(), controller.review.sliceCount())

    def _mark(self, toggle: Callable[[int], None]) -> None:
        whyNot = self._whyNoMark()
        if whyNot or self.shown is None:
            self.controller.noticed.emit(whyNot)
        else:
            toggle(self.shown)
        self._showMarks()

    def _showMarks(self) -> None:
        """Show of the slice in view whether it is accepted or locked."""
        review = None if self.shown is None else self.controller.review.slices().get(self.shown)
        for button, state in ((self.ui.acceptButton, ACCEPTED), (self.ui.lockButton, LOCKED)):
            explain(button, self._whyNoMark())
            button.checked = review is not None and review.state == state

    def _sayWhyDoubtful(self, index: int) -> None:
        if self.shown == index:
            doubtful = self.controller.review.doubtful()
            place = doubtful.index(index) + 1, len(doubtful)
            self.controller.noticed.emit(text.doubtText(self.controller.review.slices()[index], *place))

    def _whyNoDoubt(self) -> str:
        return "" if self.controller.review.doubtful() else _("No slice is in doubt.")

    def _whyNoMark(self) -> str:
        if not self.controller.segmentId:
            return _("There is no segment yet.")
        return self.controller.review.whyBusy() or (views.whyUnseen(self.controller) if self.shown is None else "")

    def _showMeasures(self) -> None:
        if self.controller.busy:  # the end of the propagation asks again
            return
        measures = self.controller.review.measures()
        segmentation = self.controller.segmentationNode
        self.summary = "" if measures is None or segmentation is None else self._text(segmentation, measures)
        self.measured.emit()

    def _forgetMeasures(self) -> None:
        self.summary = ""
        self.measured.emit()

    def _text(self, segmentationNode: Any, measures: Measures) -> str:
        name = segmentationNode.GetSegmentation().GetSegment(self.controller.segmentId).GetName()
        return text.segmentText(name, measures, self.controller.review.stops())

    def _showThumbnail(self) -> None:
        label = self.ui.thumbnailLabel
        if self.ui.advancedSection.collapsed:
            return
        if self.shown is None:
            label.text = views.whyUnseen(self.controller)
            return
        try:
            thumbnail.show(label, self.controller.review.modelView(self.shown), _THUMBNAIL)
        except MedSAM2Error as error:
            label.text = str(error)
