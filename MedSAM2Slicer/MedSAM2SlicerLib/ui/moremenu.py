"""The menu More: prompts that are needed less often than points and boxes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.prompts.promptnodes import otherMarkups
from MedSAM2SlicerLib.ui.icons import icon
from MedSAM2SlicerLib.ui.part import explain, otherSegments

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller


class MoreMenu:
    """Starts to place a line or an outline (`place`), or takes a segment or a line of the scene as it is."""

    def __init__(self, ui: Any, controller: Controller, place: Callable[[str], None]) -> None:
        self._controller, self._place = controller, place
        self._button = ui.moreButton
        self.menu = qt.QMenu(self._button)
        self._add(_("Line along the longest diameter"), "Line", "line", "\tm")
        self._add(_("Outline"), "Outline", "curve")
        self._add(_("Scribble"), "Outline", "scribble", "\ts")
        self.segments = self.menu.addMenu(_("From segment"))
        self.lines = self.menu.addMenu(_("From line, such as a RECIST measurement"))
        self.segments.setIcon(icon("Segment"))
        self.scribbles = self.menu.addMenu(_("From segment as scribble"))
        self.scribbles.setIcon(icon("Segment"))
        self.menu.connect("aboutToShow()", guarded(self.fill))
        self._button.setMenu(self.menu)

    def fill(self) -> None:
        """Offer the other segments of the segmentation, and the lines of the scene."""
        self.segments.clear()
        for segmentId, name in otherSegments(self._controller):
            action = self.segments.addAction(name)
            action.connect("triggered()", guarded(partial(self._controller.prompting.addSegmentPrompt, segmentId)))
        self.scribbles.clear()
        for segmentId, name in otherSegments(self._controller):
            action = self.scribbles.addAction(name)
            action.connect("triggered()", guarded(partial(self._controller.prompting.addSegmentScribble, segmentId)))
        self.lines.clear()
        for line in otherMarkups("vtkMRMLMarkupsLineNode"):
            action = self.lines.addAction(line.GetName())
            action.connect("triggered()", guarded(partial(self._takeLine, line.GetID())))
        for menu in (self.segments, self.scribbles, self.lines):
            menu.menuAction().setEnabled(bool(menu.actions()))

    def showPlacing(self, kind: str) -> None:
        """Show which of them is being placed, if one is."""
        names = {"line": _("Line m"), "curve": _("Outline"), "scribble": _("Scribble s")}
        self._button.text = names.get(kind, _("More"))
        self._button.checked = kind in names

    def update(self, whyNot: str) -> None:
        """Enable the button unless there is a reason why not."""
        explain(self._button, whyNot)

    def _add(self, name: str, iconName: str, kind: str, key: str = "") -> None:
        action = self.menu.addAction(f"{name}{key}")  # a menu shows what is behind a tab as the key
        action.setIcon(icon(iconName))
        action.connect("triggered()", guarded(partial(self._place, kind)))

    def _takeLine(self, nodeId: str) -> None:
        self._controller.prompting.addLinePrompt(slicer.mrmlScene.GetNodeByID(nodeId))
