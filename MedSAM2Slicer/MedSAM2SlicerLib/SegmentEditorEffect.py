"""The effect "MedSAM-2" of Segment Editor: Slicer's calls, handed on to `ui.effectface` while the effect is active."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _

from MedSAM2SlicerLib.faults import attempt, guarded
from MedSAM2SlicerLib.ui import effectchoices

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.effectface import EffectFace
    from MedSAM2SlicerLib.ui.services import Services
    from MedSAM2SlicerLib.work.workplace import Workplace

_MODULE_FOLDER = Path(__file__).resolve().parents[1]


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """One for each Segment Editor. `face` is what there is to see and to click; None while the effect is inactive."""

    def __init__(self, scriptedEffect: Any) -> None:
        scriptedEffect.name = "MedSAM-2"  # not translated: scripts and scenes find the effect by it
        scriptedEffect.title = _("MedSAM-2")
        scriptedEffect.perSegment = True
        scriptedEffect.requireSegments = True
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.face: EffectFace | None = None
        self._isBeginning = False
        self._services: Services | None = None
        self._workplace: tuple[Any, Workplace] | None = None  # with the Segment Editor's node that it belongs to

    def clone(self) -> Any:
        """Make another one, for another Segment Editor."""
        from MedSAM2SlicerLib.effectregistration import makeEffect

        return makeEffect()

    def icon(self) -> Any:
        """Return what the effect's button shows."""
        from MedSAM2SlicerLib.ui import effectlooks

        return effectlooks.icon()

    def createCursor(self, _widget: Any) -> Any:
        """Return the mouse cursor of the views: Slicer's own would carry the icon, which hides what is clicked on."""
        from MedSAM2SlicerLib.ui import effectlooks

        return effectlooks.cursor()

    def helpText(self) -> str:
        """Return what Segment Editor shows above the options."""
        gestures = [
            _("<b>Left-click:</b> this belongs to the object. Its mask on the slice is drawn at once."),
            _("<b>Left-click after x:</b> this does not belong to it; <b>a</b> goes back."),
            _("<b>Drag:</b> a box around the object."),
            _("<b>p:</b> carry the mask through all slices; <b>Esc</b> stops and keeps what is done."),
            _("Then correct a slice with any tool, and propagate again: only the slices it affects are drawn again."),
        ]
        title = _("Segment an object from a click or a box on one slice")
        # Slicer shows what is before the first <br>, an ellipsis, and the rest when it is asked for.
        return f"<html>{title}<br><ul>{''.join(f'<li>{one}</li>' for one in gestures)}</ul></html>"

    @guarded
    def setMRMLDefaults(self) -> None:
        """Give the Segment Editor node the effect's parameters; it may be another node than before."""
        effectchoices.setDefaults(self.scriptedEffect)
        if self.face and self.face.node is not self.scriptedEffect.parameterSetNode():
            self.activate()

    @guarded
    def updateGUIFromMRML(self) -> None:
        """Show the effect's parameters, of which some may have changed."""
        if self.face:
            self.face.follow()

    @guarded
    def updateMRMLFromGUI(self) -> None:
        """Save what is chosen."""
        if self.face:
            self.face.save()

    @guarded
    def sourceVolumeNodeChanged(self) -> None:
        """Work on the new volume."""
        if self.face:
            self.face.follow()

    @guarded
    def layoutChanged(self) -> None:
        """Give up a box that is being dragged: its view may be gone."""
        if self.face:
            self.face.gestures.cancel()

    @guarded
    def activate(self) -> None:
        """Begin; all that is seen is built now.

        Segment Editor calls this again within the call if the segmentation changes meanwhile, since to it the effect is
        active only afterwards.
        """
        from MedSAM2SlicerLib.ui.effectface import EffectFace

        if self._isBeginning:
            return
        self.deactivate()
        if self._services is None:
            self._services = self.makeServices()
        self._isBeginning = True
        try:
            self.face = EffectFace(self.scriptedEffect, self._services, self._takeWorkplace())
        finally:
            self._isBeginning = False

    @guarded
    def deactivate(self) -> None:
        """End, with a propagation that may be running; what it has drawn stays. The model stays loaded."""
        face, self.face = self.face, None  # first: what is written while it ends may bring this call again
        if face:
            face.close()
            self._workplace = face.node, face.controller.workplace

    @guarded
    def cleanup(self) -> None:
        """Release everything: this Segment Editor is closed."""
        self.deactivate()
        if self._services is not None:
            self._closeWorkplace()
            self._services.close()
            self._services = None

    def processInteractionEvents(self, callerInteractor: Any, eventId: int, viewWidget: Any) -> bool:
        """Take a mouse event of a view; return whether it was used."""
        if self.face is None:
            return False
        # Nobody else should use an event that failed on the way.
        return bool(attempt(self.face.gestures.process, callerInteractor, eventId, viewWidget, otherwise=True))

    @guarded
    def interactionNodeModified(self, interactionNode: Any) -> None:
        """End the effect if the mouse is taken for something else, but not for placing one of its own prompts."""
        isTaken = interactionNode.GetCurrentInteractionMode() != slicer.vtkMRMLInteractionNode.ViewTransform
        if isTaken and not (self.face and self.face.isPlacing):
            self.scriptedEffect.selectEffect("")

    def _takeWorkplace(self) -> Workplace | None:
        """What to continue with; nothing if that belongs to another Segment Editor node, whose masking was another."""
        if self._workplace and self._workplace[0] is not self.scriptedEffect.parameterSetNode():
            self._closeWorkplace()
        workplace, self._workplace = self._workplace, None
        return workplace[1] if workplace else None

    def _closeWorkplace(self) -> None:
        if self._workplace and self._services:
            self._services.makeController(workplace=self._workplace[1]).close()
            self._workplace = None

    def makeServices(self) -> Services:
        """Return what the panel needs beside the controller; self tests hand in others."""
        from MedSAM2SlicerLib.ui.services import Services

        return Services(_MODULE_FOLDER)
