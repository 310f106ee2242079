"""What to check after a propagation: the confidence plot, the next doubtful slice, the volume, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.ui import text, thumbnail, views
from MedSAM2SlicerLib.ui.part import Part, explain
from MedSAM2SlicerLib.ui.plot import ConfidencePlot

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller

_THUMBNAIL = 192  # pixels


class ReviewControls(Part):
    """Follows the slice in view; a click on the plot goes to a slice."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.plot = ConfidencePlot()
        self.plot.clicked.connect(self.goTo)
        ui.plotFrame.layout().addWidget(self.plot)
        ui.nextDoubtfulButton.connect("clicked()", self.nextDoubtful)
        ui.undoButton.connect("clicked()", controller.undo)
        ui.redoButton.connect("clicked()", controller.redo)
        ui.advancedSection.connect("contentsCollapsed(bool)", self._showThumbnail)
        self.shown: int | None = None
        self.hear(controller.reviewed, self.refresh)
        self.hear(controller.sliceDrawn, lambda _index: self.showSlices())

    def goTo(self, index: int) -> None:
        """Bring a slice into view."""
        views.showSlice(self.controller, index)
        self.follow()

    def nextDoubtful(self) -> None:
        """Go to the next slice that the model is not sure of."""
        if self.ui.nextDoubtfulButton.enabled:
            self.goTo(self.controller.nextDoubtful(-1 if self.shown is None else self.shown))

    def follow(self) -> None:
        """Mark the slice in view; called often, so that it does little."""
        shown = views.shownSlice(self.controller)
        if shown != self.shown:
            self.shown = shown
            self.plot.setCurrent(shown)
            self._showThumbnail()

    def refresh(self) -> None:
        """Show all there is to review."""
        self.showSlices()
        self._showThumbnail()
        self.showVolume()
        stops = self.controller.stops()
        self.ui.stopsLabel.text = "\n".join(f"{_directionName(way)}: {reason}" for way, reason in stops.items())
        self.ui.stopsLabel.visible = bool(stops)

    def showVolume(self) -> None:
        """Show the segment's volume."""
        drawn = self.controller.segmentId
        self.ui.volumeMlLabel.text = text.milliliters(self.controller.volumeMl()) if drawn else "–"

    def update(self) -> None:
        """Enable what can be used."""
        doubtful = self.controller.nextDoubtful(-1)
        explain(self.ui.nextDoubtfulButton, _("No slice is in doubt.") if doubtful is None else "")
        whyNot = "" if self.controller.segmentId else _("There is nothing to take back.")
        explain(self.ui.undoButton, whyNot)
        explain(self.ui.redoButton, whyNot)

    def showSlices(self) -> None:
        """Show the confidence of the slices."""
        self.plot.showSlices(self.controller.slices(), self.controller.sliceCount())

    def _showThumbnail(self) -> None:
        label = self.ui.thumbnailLabel
        if self.ui.advancedSection.collapsed:
            return
        if self.shown is None:
            label.text = _("No slice is in view.")
            return
        try:
            thumbnail.show(label, self.controller.modelView(self.shown), _THUMBNAIL)
        except MedSAM2Error as error:
            label.text = str(error)


def _directionName(direction: str) -> str:
    names = {"forward": _("Forward"), "backward": _("Backward")}
    return names.get(direction, direction)
