"""The module Segment Editor: one editor, whose node is the scene's own. It keeps Slicer's order of calls."""

from __future__ import annotations

from typing import Any

import slicer

_TAG = "SegmentEditor"


class SegmentEditorWidget:
    """What `slicer.modules.segmenteditor.widgetRepresentation().self()` is."""

    def __init__(self) -> None:
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.parameterSetNode: Any = None
        self.isEntered = False
        self._selectParameterNode()
        self.editor.setMRMLScene(slicer.mrmlScene)
        scene = slicer.mrmlScene
        scene.AddObserver(scene.StartCloseEvent, self._onStartClose)
        scene.AddObserver(scene.EndCloseEvent, self._onSceneChanged)
        scene.AddObserver(scene.EndImportEvent, self._onSceneChanged)

    def setEntered(self, entered: bool) -> None:
        if entered == self.isEntered:
            return
        self.isEntered = entered
        if entered:
            self._selectParameterNode()
        else:
            self.editor.setActiveEffect(None)
            self.editor.removeViewObservations()

    def _selectParameterNode(self) -> None:
        node = slicer.mrmlScene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(_TAG)
            node = slicer.mrmlScene.AddNode(node)
        if node is not self.parameterSetNode:
            self.parameterSetNode = node
            self.editor.setMRMLSegmentEditorNode(node)

    def _onStartClose(self, _scene: Any, _event: str) -> None:
        self.parameterSetNode = None
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()

    def _onSceneChanged(self, _scene: Any, _event: str) -> None:
        if self.isEntered:
            self._selectParameterNode()


class SegmentEditorModule:
    """Its widget is made when somebody first asks for it."""

    name = "SegmentEditor"

    def __init__(self) -> None:
        self._widget: SegmentEditorWidget | None = None

    @property
    def isOpen(self) -> bool:
        return self._widget is not None

    def widgetRepresentation(self) -> SegmentEditorModule:
        return self

    def self(self) -> SegmentEditorWidget:
        self._widget = self._widget or SegmentEditorWidget()
        return self._widget
