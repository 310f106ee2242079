"""What the Slicer-facing files may import, and that the widgets they name are in a .ui file."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import CEILING
from sources import imports

MODULE = Path(__file__).parents[2]
LIBRARY = MODULE / "MedSAM2SlicerLib"
UI_FILES = sorted((MODULE / "Resources/UI").glob("*.ui"))
SOURCES = sorted([*LIBRARY.rglob("*.py"), *MODULE.glob("*.py")])
ALLOWED = sys.stdlib_module_names | {
    "MedSAM2SlicerLib",
    "medsam2_core",
    "slicer",
    "vtk",
    "numpy",
    # Modules of Slicer and of the PyTorch extension, imported where they are used.
    "SampleData",
    "PyTorchUtils",
    "qSlicerSegmentationsEditorEffectsPythonQt",
    "SegmentEditorEffects",
}

# Slicer's Qt side is not in slicer-core. Whatever is asked of a stand-in is a class, which is enough to import a file.
IMPORT_ALL = """
import importlib, importlib.abc, importlib.machinery, sys, types
class Anything(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return stand_in(name)
def stand_in(name):
    return Anything(name, (), {"__init__": lambda self, *a, **k: None, "__call__": lambda self, *a, **k: self})
class Module(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return stand_in(name)
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    NAMES = {"qt", "ctk", "SegmentEditorEffects"}
    def find_spec(self, name, path=None, target=None):
        if name in self.NAMES or name.startswith("slicer."):
            return importlib.machinery.ModuleSpec(name, self)
    def create_module(self, spec):
        return Module(spec.name)
    def exec_module(self, module):
        for name in ("ScriptedLoadableModule", "Widget", "Logic", "Test"):
            name = name if name.startswith("S") else "ScriptedLoadableModule" + name
            setattr(module, name, stand_in(name))
import slicer
sys.meta_path.append(Finder())
for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _name(source: Path) -> str:
    return ".".join(source.relative_to(MODULE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("source", SOURCES, ids=_name)
def test_a_file_imports_only_what_slicer_has(source: Path) -> None:
    in_ui = LIBRARY / "ui" in source.parents
    assert set(imports(source)) <= ALLOWED | ({"qt", "ctk"} if in_ui else set())


@pytest.mark.skipif(importlib.util.find_spec("slicer") is None, reason="slicer-core is not installed")
def test_importing_the_slicer_side_leaves_torch_out() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, *map(_name, SOURCES)]
    done = subprocess.run(command, cwd=MODULE, capture_output=True, encoding="utf-8", timeout=CEILING, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"MedSAM2SlicerLib", "medsam2_core"} <= loaded
    assert not loaded & {"torch", "SimpleITK", "scipy"}


def test_no_class_of_qt_is_asked_for_its_subclasses() -> None:
    """PythonQt's classes do not derive from each other as Qt's do: `inherits` knows what `isinstance` does not."""
    asked = [
        f"{source.name}:{node.lineno}"
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance"
        if any(isinstance(one, ast.Name) and one.id in ("qt", "ctk") for one in ast.walk(node))
    ]
    assert asked == []


def _widgets_used(source: Path) -> Iterator[str]:
    """What a file asks of `ui` or `self.ui`."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and _is_ui(node.value):
            yield node.attr


def _is_ui(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "ui") or (isinstance(node, ast.Attribute) and node.attr == "ui")


def test_every_widget_that_the_code_names_is_in_a_ui_file() -> None:
    texts = [path.read_text(encoding="utf-8") for path in UI_FILES]
    names = {name for text in texts for name in re.findall(r'<widget class="\w+" name="(\w+)"', text)}
    used = {name: source.name for source in SOURCES for name in _widgets_used(source)}
    assert used
    assert {name: file for name, file in used.items() if name not in names} == {}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_private_members_are_touched_by_their_own_class_alone(path: Path) -> None:
    for scope in ast.parse(path.read_text(encoding="utf-8")).body:
        touched = [one for one in ast.walk(scope) if isinstance(one, ast.Attribute) and re.match("_[^_]", one.attr)]
        own = {one.attr for one in touched if ast.unparse(one.value) == "self"}
        others = {ast.unparse(one) for one in touched if one.attr not in own and ast.unparse(one.value) != "super()"}
        assert not others, f"line {scope.lineno}"
