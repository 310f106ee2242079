"""`slicer.app`, `slicer.modules` and the main window, with this one module in it."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets

from standin import parameternode, pythonqt, scenefiles, scripted, segmenteditor, widgets
from standin.editormodule import SegmentEditorModule
from standin.sliceviews import LayoutManager

MODULE_FILE = Path(__file__).resolve().parents[2] / "MedSAM2Slicer.py"
_FOCUS = "focusChanged(QWidget*,QWidget*)"
_SIGNALS = ("startupCompleted()", _FOCUS)
_LOGICS = {
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "volumes": "vtkSlicerVolumesLogic",
}


class Application:
    """What the module asks of `slicer.app`."""

    applicationName = "Slicer"
    applicationVersion = "0.0.0 (stand-in)"
    revision = "0"
    platform = sys.platform

    def __init__(self, qtApplication: Any, temporaryPath: str) -> None:
        self._qt = qtApplication
        self.temporaryPath = temporaryPath
        self.mainWindow: Any = None
        self.views: Any = None
        self.restarted = False
        self.exitCode = 0
        self._options = types.SimpleNamespace(runPythonAndExit=True)
        self.logic = slicer.vtkMRMLApplicationLogic()
        self._listeners: dict[str, list[Any]] = {signature: [] for signature in _SIGNALS}
        qtApplication.focusChanged.connect(self._onFocus)

    def connect(self, signature: str, function: Any) -> None:
        self._listeners[signature].append(function)

    def disconnect(self, signature: str, function: Any) -> None:
        self._listeners[signature].remove(function)

    def _onFocus(self, *widgets: Any) -> None:
        for function in self._listeners[_FOCUS]:
            function(*widgets)

    def applicationLogic(self) -> Any:
        return self.logic

    def layoutManager(self) -> LayoutManager:
        return self.views

    def processEvents(self) -> None:
        self._qt.processEvents()
        # What deleteLater() was called on goes only in the outermost event loop, which tests never come back to.
        self._qt.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)

    def clipboard(self) -> Any:
        return self._qt.clipboard()

    def topLevelWidgets(self) -> list[Any]:
        return [self.mainWindow]

    def testingEnabled(self) -> bool:
        return True

    def startupEnvironment(self) -> Any:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def moduleManager(self) -> Any:
        return slicer.modules.manager

    def restart(self) -> None:
        self.restarted = True

    def commandOptions(self) -> Any:
        return self._options

    def exit(self, code: int) -> None:
        self.exitCode = code


class ModuleWidget(widgets.qMRMLWidget):
    """A qSlicerScriptedLoadableModuleWidget: the parent of the module's widget class."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._self: Any = None
        self.isEntered = False
        QtWidgets.QVBoxLayout(self)

    def self(self) -> Any:
        return self._self

    def reload(self) -> None:
        """Make the widget class again from what `sys.modules` has, as Slicer does."""
        name = self._file.stem
        self._self = getattr(sys.modules[name], f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._self)
        self._self.setup()

    def setEntered(self, entered: bool) -> None:
        if entered != self.isEntered:
            self.isEntered = entered
            (self._self.enter if entered else self._self.exit)()


class Module:
    """A qSlicerScriptedLoadableModule."""

    def __init__(self, file: Path) -> None:
        self.name, self.path = file.stem, str(file)
        specification = importlib.util.spec_from_file_location(self.name, file)
        loaded = importlib.util.module_from_spec(specification)
        sys.modules[self.name] = loaded
        specification.loader.exec_module(loaded)
        self.title, self.categories, self.dependencies, self.contributors = "", [], [], []
        self.helpText = self.acknowledgementText = ""
        self.instance = getattr(loaded, self.name)(self)
        self._widget: ModuleWidget | None = None

    def widgetRepresentation(self) -> ModuleWidget:
        if self._widget is None:
            self._widget = ModuleWidget(Path(self.path))
            self._widget.setMRMLScene(slicer.mrmlScene)
            self._widget.reload()
        return self._widget


class ModuleManager:
    """Knows the module, Segment Editor, and names to go to."""

    def __init__(self, module: Module, editorModule: SegmentEditorModule) -> None:
        self._module, self._editorModule = module, editorModule
        self.selectedModule = ""

    def module(self, name: str) -> Module | None:
        return self._module if name == self._module.name else None

    def selectModule(self, name: str) -> None:
        widget, isEditor = self._module.widgetRepresentation(), name == self._editorModule.name
        self.selectedModule = name
        if self._editorModule.isOpen and not isEditor:
            self._editorModule.self().setEntered(False)
        widget.setEntered(name == self._module.name)
        slicer.app.mainWindow.takeCentralWidget()
        shown = self._editorModule.self().editor if isEditor else widget
        slicer.app.mainWindow.setCentralWidget(shown)
        shown.setVisible(isEditor or name == self._module.name)
        if isEditor:
            self._editorModule.self().setEntered(True)

    def disconnect(self, *_signal: Any) -> None:
        """Nothing was connected."""


class MainWindow(QtWidgets.QMainWindow):
    def moduleSelector(self) -> ModuleManager:
        return slicer.modules.manager


def install() -> None:
    """Make `import qt`, `import ctk` and all of `slicer` work in this process."""
    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["Slicer"])
    folder = tempfile.mkdtemp(prefix="standin-")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, folder)
    application.setOrganizationName("standin")
    sys.modules["qt"] = pythonqt.makeQt([*widgets.WIDGETS, ModuleWidget, MainWindow])
    sys.modules["ctk"] = types.ModuleType("ctk")
    for kind in widgets.WIDGETS:
        setattr(sys.modules["ctk"] if kind.__name__.startswith("ctk") else slicer, kind.__name__, kind)
    slicer.qSlicerScriptedLoadableModuleWidget, slicer.qSlicerScriptedLoadableModule = ModuleWidget, Module
    _installPackages()
    segmenteditor.install()
    _installScene(Application(application, folder))
    scenefiles.install()
    slicer.modules.medsam2slicer = Module(MODULE_FILE)
    slicer.modules.segmenteditor = SegmentEditorModule()
    slicer.modules.manager = ModuleManager(slicer.modules.medsam2slicer, slicer.modules.segmenteditor)
    sys.modules["MedSAM2Slicer"].registerEffect()  # as at the end of Slicer's start


def _installPackages() -> None:
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = i18n.translate = lambda *contextAndText: contextAndText[-1]
    replacements = {"i18n": i18n, "parameterNodeWrapper": parameternode, "ScriptedLoadableModule": scripted}
    for name, module in replacements.items():
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def _installScene(app: Application) -> None:
    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.app = app
    app.logic.SetMRMLScene(slicer.mrmlScene)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
    if not slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode"):
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetSingletonTag("default")
        slicer.mrmlScene.AddNode(crosshair)
    slicer.modules = types.SimpleNamespace()
    for name, kind in _LOGICS.items():
        logic = getattr(slicer, kind)()
        logic.SetMRMLScene(slicer.mrmlScene)
        setattr(slicer.modules, name, types.SimpleNamespace(logic=lambda logic=logic: logic))
    app.views = LayoutManager(slicer.mrmlScene)
    app.mainWindow = MainWindow()
    app.mainWindow.setObjectName("qSlicerMainWindow")
    app.mainWindow.resize(520, 1000)
    app.mainWindow.show()
