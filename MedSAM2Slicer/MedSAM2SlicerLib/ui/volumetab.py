"""The tab Volume: the panel, joined to the module's parameter node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import slicer
import slicer.util
import vtk
from slicer.util import VTKObservationMixin

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui.choices import Choices
from MedSAM2SlicerLib.ui.panel import Panel
from MedSAM2SlicerLib.ui.promptcontrols import PromptControls
from MedSAM2SlicerLib.ui.shortcuts import Shortcuts
from MedSAM2SlicerLib.ui.source import Source, SourceControls

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services


class VolumeTab:
    """Shows what the parameter node says, and writes into it what a person chooses.

    `findNode` returns the scene's parameter node, with the fields of `Choices`, volume, segmentation and segmentId.
    """

    def __init__(self, uiFile: str, services: Services, findNode: Callable[[], Any]) -> None:
        self._findNode = findNode
        self._parameterNode: Any = None
        self._isEntered = self._showing = False
        self.widget = slicer.util.loadUI(uiFile)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        controller = services.makeController()
        source, prompts = SourceControls(self.ui, controller), PromptControls(self.ui, controller)
        self.panel = Panel(self.ui, controller, services, source, prompts)
        self.panel.changed.connect(self._onPanelChanged)
        self.shortcuts = Shortcuts(self.widget, self.panel.actions())
        self.panel.prompts.placed.connect(self.shortcuts.claim)
        self._observed = VTKObservationMixin()
        scene = slicer.mrmlScene
        self._observed.addObserver(scene, scene.StartCloseEvent, self._onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndBatchProcessEvent):
            self._observed.addObserver(scene, event, self._onSceneEndClose)
        self.initializeParameterNode()

    def enter(self) -> None:
        """Come to the front."""
        self._isEntered = True
        self.initializeParameterNode()
        self.shortcuts.install()
        self.panel.start()

    def exit(self) -> None:
        """Be hidden; a propagation goes on."""
        self._isEntered = False
        self.shortcuts.remove()
        self.panel.rest()

    def close(self) -> None:
        """Release everything but the widget."""
        self._observed.removeObservers()
        self._parameterNode = None
        self.shortcuts.remove()
        self.panel.close()
        self.panel.controller.close()

    def use(self, source: Source, choices: Choices) -> None:
        """Work on these nodes, with these choices."""
        self.initializeParameterNode()
        self._write(source, choices)

    def initializeParameterNode(self) -> None:
        """Use the scene's parameter node; the first volume is chosen if none is."""
        # Always the one found: one held while a scene was loading goes on to say that the scene's nodes are missing.
        self.setParameterNode(self._findNode())
        if not self._parameterNode.volume:
            volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
            self._parameterNode.volume = next((one for one in volumes if not _isLabelmap(one)), None)

    def setParameterNode(self, parameterNode: Any) -> None:
        """Show this parameter node, None for none, and follow it."""
        # The node itself is observed: the mixin keeps what it has observed, and a wrapper reads all with every change.
        modified = vtk.vtkCommand.ModifiedEvent
        if self._parameterNode:
            self._observed.removeObserver(self._parameterNode.parameterNode, modified, self._onParameterNode)
        self._parameterNode = parameterNode
        if parameterNode:
            self._observed.addObserver(parameterNode.parameterNode, modified, self._onParameterNode)
            self._onParameterNode()

    @guarded
    def _onSceneStartClose(self, _caller: Any, _event: Any) -> None:
        """Forget the parameter node, which goes with the scene."""
        self.panel.prompts.stopPlacing()
        self.setParameterNode(None)

    @guarded
    def _onSceneEndClose(self, _caller: Any, _event: Any) -> None:
        """Start over in the scene that was emptied or loaded."""
        if self._isEntered:
            self.initializeParameterNode()

    @guarded
    def _onParameterNode(self, _caller: Any = None, _event: Any = None) -> None:
        # Of a scene that is still loading, nodes are missing; _onSceneEndClose comes back here at its end.
        if slicer.mrmlScene.IsBatchProcessing():
            return
        node = self._parameterNode
        choices = Choices(**{field.name: getattr(node, field.name) for field in fields(Choices)})
        self._showing = True
        try:
            self.panel.show(Source(node.volume, node.segmentation, node.segmentId), choices)
        finally:
            self._showing = False

    def _onPanelChanged(self) -> None:
        if self._parameterNode and not self._showing and not slicer.mrmlScene.IsBatchProcessing():
            self._write(self.panel.source.source(), self.panel.choices())

    def _write(self, source: Source, choices: Choices) -> None:
        node = self._parameterNode
        with slicer.util.NodeModify(node):
            node.volume, node.segmentation, node.segmentId = source.volume, source.segmentation, source.segmentId
            for field in fields(Choices):
                setattr(node, field.name, getattr(choices, field.name))


def _isLabelmap(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> bool:
    return bool(volumeNode.IsA("vtkMRMLLabelMapVolumeNode"))
