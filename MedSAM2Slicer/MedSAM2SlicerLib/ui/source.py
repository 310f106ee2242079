"""The volume, the segmentation and the segment that the panel works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer.util
from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.scene.geometry import volumeToWorldMatrix
from MedSAM2SlicerLib.scene.segments import ensureSegmentation
from MedSAM2SlicerLib.scene.volumes import checkedGeometry
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.ui.part import Part, explain

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller


@dataclass(frozen=True)
class Source:
    """What is worked on; nodes can be None and the segment's ID empty."""

    volume: Any = None
    segmentation: Any = None
    segmentId: str = ""


class SourceControls(Part):
    """Selectors of nodes and segment. `changed` is emitted after the controller was told; `failed` has a message."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        super().__init__(ui, controller)
        self.changed, self.failed = Signal(), Signal()
        self._quiet = False
        self.hear(controller.segmentChanged, self._follow)
        for label in slicer.util.findChildren(ui.segmentSelector, name="label_Segment"):
            label.hide()  # the selector brings one along, and the form has its own
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", guarded(self._onChosen))
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", guarded(self._onSegmentationChosen))
        ui.segmentSelector.connect("currentSegmentChanged(QString)", guarded(self._onChosen))
        ui.addSegmentButton.connect("clicked()", guarded(self.addSegment))
        ui.removeSegmentButton.connect("clicked()", guarded(self.removeSegment))

    def source(self) -> Source:
        """Return what is selected."""
        segmentation = self.ui.segmentationSelector.currentNode()
        segmentId = self.ui.segmentSelector.currentSegmentID() if segmentation else ""
        # The selector remembers the segment of the segmentation before.
        known = segmentation and segmentation.GetSegmentation().GetSegment(segmentId)
        return Source(self.ui.volumeSelector.currentNode(), segmentation, segmentId if known else "")

    def select(self, source: Source) -> None:
        """Select nodes and segment; nothing is told if they are selected already."""
        if source == self.source():
            self.update()
            return
        self._show(source)
        self._onChosen()

    def whyNot(self) -> str:
        """Return why the volume cannot be used, nothing if it can."""
        volume = self.source().volume
        if not volume:
            return _("Choose a volume first.")
        try:
            checkedGeometry(volume)
            volumeToWorldMatrix(volume)
        except VolumeError as error:
            return str(error)
        return ""

    def addSegment(self) -> None:
        """Add an empty segment, in a new segmentation if there is none, and select it."""
        source = self.source()
        try:
            segmentation, segmentId = ensureSegmentation(source.volume, source.segmentation)
        except VolumeError as error:
            self.failed.emit(str(error))
            return
        self.select(Source(source.volume, segmentation, segmentId))

    def removeSegment(self) -> None:
        """Remove the selected segment, and its prompts with it; undo brings both back."""
        self.controller.removeSegment()
        self._onChosen()

    def follow(self) -> None:
        """Notice other voxels in the volume; take up a segment that undo brought back, of which no selector tells."""
        self.controller.setVolume(self.source().volume)
        if self.source().segmentId and not self.controller.segmentId:
            self._onChosen()

    def update(self) -> None:
        """Enable what can be used."""
        explain(self.ui.addSegmentButton, "" if self.source().volume else _("Choose a volume first."))
        explain(self.ui.removeSegmentButton, "" if self.source().segmentId else _("No segment is chosen."))

    def _show(self, source: Source) -> None:
        self._quiet = True
        try:
            self.ui.volumeSelector.setCurrentNode(source.volume)
            self.ui.segmentationSelector.setCurrentNode(source.segmentation)
            self.ui.segmentSelector.setCurrentNode(source.segmentation)
            self.ui.segmentSelector.setCurrentSegmentID(source.segmentId)
        finally:
            self._quiet = False

    def _onSegmentationChosen(self, node: Any) -> None:
        quiet, self._quiet = self._quiet, True
        self.ui.segmentSelector.setCurrentNode(node)
        self._quiet = quiet
        self._onChosen()

    def _onChosen(self) -> None:
        if not self._quiet:
            source = self.source()
            self.controller.setVolume(source.volume)
            self.controller.setSegment(source.segmentation, source.segmentId)
            self.update()
            self.changed.emit()

    def _follow(self) -> None:
        """Select what the controller works on: it makes a segmentation or a segment where none is chosen."""
        made = Source(self.source().volume, self.controller.segmentationNode, self.controller.segmentId)
        if made != self.source():
            self._show(made)
            self.update()
            self.changed.emit()
