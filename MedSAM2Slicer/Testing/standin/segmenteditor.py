"""Segment Editor around its own MRML half: the widget that runs effects, and the effects' host and factory.

Slicer's order of calls is kept, and how it finds an effect's class: in the module that is called like its folder.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from standin.widgets import ctkFittedTextBrowser, qMRMLWidget

_EVENTS = (
    *(f"{button}Button{event}Event" for button in ("Left", "Middle", "Right") for event in ("Press", "Release")),
    *("LeftButtonDoubleClickEvent", "MouseMoveEvent", "MouseWheelForwardEvent", "KeyPressEvent"),
)
_UNDO_STATES = 10


class AbstractScriptedSegmentEditorEffect:
    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)


class qSlicerSegmentEditorEffectFactory:
    """Knows the effects that each Segment Editor gets a clone of."""

    _instance: Any = None

    def __init__(self) -> None:
        self.effects: list[Any] = []

    @classmethod
    def instance(cls) -> qSlicerSegmentEditorEffectFactory:
        cls._instance = cls._instance or cls()
        return cls._instance

    def registerEffect(self, effect: Any) -> None:
        self.effects.append(effect)


class qSlicerSegmentEditorScriptedEffect(QtCore.QObject):
    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = range(3)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.title = ""
        self.perSegment, self.requireSegments = True, False
        self.editor: Any = None
        self._python: Any = None
        self._frame = QtWidgets.QFrame()
        QtWidgets.QFormLayout(self._frame)

    def setPythonSource(self, path: str) -> bool:
        folder, name = Path(path).parent.name, Path(path).stem
        kind = getattr(sys.modules.get(folder), name, None)
        if kind is None:
            specification = importlib.util.spec_from_file_location(folder, path)
            sys.modules[folder] = importlib.util.module_from_spec(specification)
            specification.loader.exec_module(sys.modules[folder])
            kind = getattr(sys.modules[folder], name)
        self._python = kind(self)
        setattr(slicer, folder, self._python)
        return True

    def self(self) -> Any:
        return self._python

    def call(self, name: str, *values: Any, default: Any = None) -> Any:
        """Call a method of the Python class, which need not have it."""
        method = getattr(self._python, name, None)
        return default if method is None else method(*values)

    def parameterSetNode(self) -> Any:
        return self.editor and self.editor.mrmlSegmentEditorNode()

    def optionsFrame(self) -> Any:
        return self._frame

    def addOptionsWidget(self, widget: Any) -> None:
        self._frame.layout().addRow(widget)

    def renderer(self, view: Any) -> Any:
        return view.renderer

    def addActor2D(self, view: Any, actor: Any) -> None:
        view.renderer.AddViewProp(actor)

    def removeActor2D(self, view: Any, actor: Any) -> None:
        view.renderer.RemoveViewProp(actor)

    def selectEffect(self, name: str) -> None:
        self.editor.setActiveEffectByName(name)

    def saveStateForUndo(self) -> None:
        self.editor.saveStateForUndo()

    def confirmCurrentSegmentVisible(self) -> int:
        return self.ConfirmedWithoutDialog

    def parameterDefined(self, name: str) -> bool:
        return bool(self.parameterSetNode().GetAttribute(f"{self.name}.{name}"))

    def parameter(self, name: str) -> str:
        value = self.parameterSetNode().GetAttribute(f"{self.name}.{name}")
        if value is None:
            raise AssertionError(f"Parameter named {name} cannot be found for effect {self.name}")
        return str(value)

    def setParameter(self, name: str, value: str | int | float) -> None:
        node, attribute = self.parameterSetNode(), f"{self.name}.{name}"
        if (node.GetAttribute(attribute) or "") == str(value):
            return
        disabled = node.GetDisableModifiedEvent()
        node.SetDisableModifiedEvent(1)
        node.SetAttribute(attribute, str(value))
        node.SetDisableModifiedEvent(disabled)
        node.InvokeCustomModifiedEvent(node.EffectParameterModified)

    def setParameterDefault(self, name: str, value: str | int | float) -> None:
        if not self.parameterDefined(name):
            self.setParameter(name, value)


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Chooses nodes and effect as its node says, and offers the active effect every event of the slice views first."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetMaximumNumberOfUndoStates(_UNDO_STATES)
        self._node: Any = None
        self._volume: Any = None
        self._active: Any = None
        self._tags: list[tuple[Any, int]] = []
        self._nodeTags: list[tuple[Any, int]] = []
        self._segmentationTags: list[tuple[Any, int]] = []
        self._viewsObserved = False
        self._help = ctkFittedTextBrowser(self)
        self._help.setObjectName("EffectHelpBrowser")
        self._effects = [effect.call("clone") for effect in qSlicerSegmentEditorEffectFactory.instance().effects]
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self._help)
        addButton = QtWidgets.QPushButton("Add", self)
        addButton.setObjectName("AddSegmentButton")
        addButton.clicked.connect(self._onAddSegment)
        layout.addWidget(addButton)
        slicer.app.layoutManager().layoutChanged.connect(self._onLayoutChanged)
        for effect in self._effects:
            effect.editor = self
            effect.call("icon")
            effect.call("setupOptionsFrame")
            effect.optionsFrame().setVisible(False)
            layout.addWidget(effect.optionsFrame())

    def mrmlSegmentEditorNode(self) -> Any:
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        _release(self._nodeTags)
        self._node = node
        self._logic.SetSegmentEditorNode(node)
        if node is None:
            return
        for effect in self._effects:
            effect.call("setMRMLDefaults")
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        for caller, event, slot in (
            (node, vtk.vtkCommand.ModifiedEvent, self._update),
            (node, node.EffectParameterModified, self._tellParameters),
            (interaction, vtk.vtkCommand.ModifiedEvent, self._tellInteraction),
            (slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, lambda *_: self.setSegmentationNode(None)),
        ):
            self._nodeTags.append((caller, caller.AddObserver(event, slot)))
        self._update()

    def setSegmentationNode(self, node: Any) -> None:
        _release(self._segmentationTags)
        self._logic.SetSegmentationNode(node)
        if node is not None:
            self._segmentationTags.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)))
        self.setActiveEffectByName("")

    def setSourceVolumeNode(self, node: Any) -> None:
        self._logic.SetSourceVolumeNode(node)

    def setCurrentSegmentID(self, segmentId: str) -> None:
        self._node.SetSelectedSegmentID(segmentId)

    def effectByName(self, name: str) -> Any:
        return next((effect for effect in self._effects if effect.name == name), None)

    def activeEffect(self) -> Any:
        return self._active

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self.effectByName(name))

    def setActiveEffect(self, effect: Any) -> None:
        if self._node is not None:
            self._node.SetActiveEffectName(effect.name if effect else "")

    def removeViewObservations(self) -> None:
        _release(self._tags)
        self._viewsObserved = False

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()

    def redo(self) -> None:
        self._logic.Redo()

    def _update(self, *_event: Any) -> None:
        self._checkMask()
        wanted = self.effectByName(self._node.GetActiveEffectName() or "")
        if wanted is not self._active:
            self._switch(wanted)
        volume = self._node.GetSourceVolumeNode()
        if volume is not self._volume:
            self._volume = volume
            for effect in self._effects:
                effect.call("sourceVolumeNodeChanged")

    def _onAddSegment(self) -> None:
        segmentation = self._node.GetSegmentationNode().GetSegmentation()
        self._node.SetSelectedSegmentID(segmentation.AddEmptySegment())

    def _checkMask(self) -> None:
        """Edit everywhere where the segment to stay inside is not there, or not named yet."""
        segmentation = self._node.GetSegmentationNode()
        isInside = self._node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
        segment = self._node.GetMaskSegmentID() or ""
        if isInside and segmentation and not segmentation.GetSegmentation().GetSegment(segment):
            self._node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)

    def _onLayoutChanged(self) -> None:
        if not self._viewsObserved:
            return
        self._observeViews()
        if self._node is None:
            raise RuntimeError("Slicer would end here: call removeViewObservations() before the editor has no node.")
        for effect in self._effects:
            effect.call("layoutChanged")

    def _switch(self, wanted: Any) -> None:
        """As in Slicer, the new effect counts as active only at the end: a change of the segmentation starts over."""
        before = self._active
        self.removeViewObservations()
        if before:
            before.optionsFrame().setVisible(False)
            before.call("deactivate")
        if wanted:
            self._observeViews()
            wanted.optionsFrame().setVisible(True)
            wanted.call("updateGUIFromMRML")
            wanted.call("activate")
            self._help.setCollapsibleText(wanted.call("helpText"))
        self._active = wanted

    def _observeViews(self) -> None:
        self.removeViewObservations()
        self._viewsObserved = True
        manager = slicer.app.layoutManager()
        for view in map(manager.sliceWidget, manager.sliceViewNames()):
            interactor = view.sliceView().interactor()
            for event in _EVENTS:
                tags: list[int] = []
                slot = self._offer(view, vtk.vtkCommand.GetEventIdFromString(event), tags)
                tags.append(interactor.AddObserver(event, slot, 1.0))
                self._tags.append((interactor, tags[0]))

    def _offer(self, view: Any, event: int, tags: list[int]) -> Any:
        def slot(interactor: Any, _event: str) -> None:
            if self._node is None or self._active is None:
                return
            used = self._active.call("processInteractionEvents", interactor, event, view, default=False)
            assert isinstance(used, bool)
            # VTK keeps the flag until it is asked about it, which is after this.
            interactor.GetCommand(tags[0]).SetAbortFlag(used)

        return slot

    def _tellParameters(self, *_event: Any) -> None:
        for effect in self._effects:
            effect.call("updateGUIFromMRML")

    def _tellInteraction(self, interaction: Any, _event: str) -> None:
        if self._active:
            self._active.call("interactionNodeModified", interaction)


def _release(tags: list[tuple[Any, int]]) -> None:
    for caller, tag in tags:
        caller.RemoveObserver(tag)
    tags.clear()


def install() -> None:
    """Put the classes where Slicer has them."""
    slicer.qMRMLSegmentEditorWidget = qMRMLSegmentEditorWidget
    slicer.qSlicerSegmentEditorEffectFactory = qSlicerSegmentEditorEffectFactory
    for name, kind in (
        ("SegmentEditorEffects", AbstractScriptedSegmentEditorEffect),
        ("qSlicerSegmentationsEditorEffectsPythonQt", qSlicerSegmentEditorScriptedEffect),
    ):
        sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[name], kind.__name__, kind)
