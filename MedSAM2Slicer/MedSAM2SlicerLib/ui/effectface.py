"""All there is of the effect while it is active: panel, keys, gestures, and what joins them to Segment Editor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import slicer.util
import vtk
from slicer.util import VTKObservationMixin

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.mouse.slicegestures import SliceGestures
from MedSAM2SlicerLib.ui import effectchoices
from MedSAM2SlicerLib.ui.effectpanel import EditorSource, GestureControls
from MedSAM2SlicerLib.ui.escapekey import EscapeKey
from MedSAM2SlicerLib.ui.panel import Panel
from MedSAM2SlicerLib.ui.shortcuts import Shortcuts
from MedSAM2SlicerLib.ui.source import Source

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services
    from MedSAM2SlicerLib.work.workplace import Workplace

_UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "MedSAM2Slicer.ui"


class EffectHistory:
    """Segment Editor's own undo, as the controller's `History`."""

    def __init__(self, scriptedEffect: Any) -> None:
        self._effect = scriptedEffect

    def saveState(self) -> None:
        """Save the segmentation as it is; Segment Editor's Undo goes back to it."""
        self._effect.saveStateForUndo()


class EffectFace(VTKObservationMixin):
    """Lives from `activate` to `deactivate`; after `close` nothing of it is left, and what was drawn stays.

    `node` is the Segment Editor's: what is selected there, masking, and the effect's parameters. It continues at
    the `workplace` of the previous face: a slice painted with another effect is a correction in the same session.
    """

    def __init__(self, scriptedEffect: Any, services: Services, workplace: Workplace | None) -> None:
        super().__init__()
        self._effect = scriptedEffect
        self._following = False
        self.node = scriptedEffect.parameterSetNode()
        self.controller = services.makeController(self.node, EffectHistory(scriptedEffect), workplace)
        self.uiWidget = slicer.util.loadUI(str(_UI_FILE))
        self.uiWidget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        scriptedEffect.addOptionsWidget(self.uiWidget)
        self.uiWidget.show()
        self.uiWidget.layout().setContentsMargins(0, 0, 0, 0)  # the options have margins of their own
        source, self._prompts = EditorSource(self.ui, self.controller), GestureControls(self.ui, self.controller)
        choices = effectchoices.read(scriptedEffect)
        self.panel = Panel(self.ui, self.controller, services, source, self._prompts, choices)
        self.gestures = SliceGestures(
            scriptedEffect,
            self._prompts.addPoint,
            self._prompts.addBox,
            self._mayDraw,
            self._prompts.addStroke,
            self._prompts.isDrawing,
        )
        keys = {key: action for key, action in self.panel.actions().items() if key != "Esc"}  # see EscapeKey
        self._shortcuts = Shortcuts(self.uiWidget, keys)
        self._escape = EscapeKey(self._stop)
        self._start()

    @property
    def isPlacing(self) -> bool:
        """Whether a prompt is being placed in Slicer's place mode."""
        return bool(self.panel.prompts.placer.kind)

    def follow(self) -> None:
        """Work on what Segment Editor has selected, with the choices that its node has."""
        if self._following or not self._mayExchange():
            return
        self._following = True
        try:
            self.panel.show(_selected(self.node), effectchoices.read(self._effect))
        finally:
            self._following = False

    def save(self) -> None:
        """Save the choices in the Segment Editor node."""
        if not self._following and self._mayExchange():
            effectchoices.write(self._effect, self.panel.choices())

    def close(self) -> None:
        """End a run and let go of everything but the worker's session."""
        self.removeObservers()
        self._escape.remove()
        self._shortcuts.remove()
        self.gestures.cancel()
        self.panel.changed.disconnect(self.save)
        self.panel.close()
        self.controller.close(isForGood=False)
        self.uiWidget.hide()
        self.uiWidget.setParent(None)
        self.uiWidget.deleteLater()

    def _start(self) -> None:
        self.follow()
        self.panel.changed.connect(self.save)
        self.addObserver(self.node, vtk.vtkCommand.ModifiedEvent, self._onNode)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndBatchProcessEvent, self._onNode)
        self.panel.start()
        self._shortcuts.install()
        self._escape.install()

    def _mayExchange(self) -> bool:
        """Whether the node can be read and written; of a scene that is still loading, nodes are missing."""
        return self._effect.parameterSetNode() is self.node and not slicer.mrmlScene.IsBatchProcessing()

    @guarded
    def _onNode(self, _caller: Any, _event: Any) -> None:
        self.follow()

    def _mayDraw(self) -> bool:
        """Whether a gesture may begin: prompts can be used, and the segment is seen, or the person wants it so."""
        # A dialog that asked has also swallowed the release of the button.
        self._shortcuts.claim()
        if not self._prompts.mayPrompt():
            return False
        return bool(self._effect.confirmCurrentSegmentVisible() == self._effect.ConfirmedWithoutDialog)

    def _stop(self) -> bool:
        """Stop what is going on; return whether anything was."""
        if self.gestures.cancel():
            return True
        goesOn = self.controller.busy or self.isPlacing
        if goesOn:
            self.panel.escape()
        return goesOn


def _selected(editorNode: slicer.vtkMRMLSegmentEditorNode) -> Source:
    """What a Segment Editor works on; no segment where the selected one was removed."""
    segmentation, segmentId = editorNode.GetSegmentationNode(), editorNode.GetSelectedSegmentID() or ""
    isThere = segmentation is not None and segmentation.GetSegmentation().GetSegment(segmentId) is not None
    return Source(editorNode.GetSourceVolumeNode(), segmentation, segmentId if isThere else "")
