"""Whatever Qt or the scene calls is guarded: an exception there must reach the panel and the log, and nobody else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2]
SOURCES = sorted([*(MODULE / "MedSAM2SlicerLib").rglob("*.py"), *MODULE.glob("*.py")])
EVENTS_OF_QT = {"paintEvent", "mousePressEvent", "mouseMoveEvent", "mouseReleaseEvent", "eventFilter"}


def _isGuarded(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("guarded", "faults.guarded")


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            yield node


def _methods(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _endsHere(method: ast.FunctionDef) -> bool:
    """Whether a method is decorated, or is one call of `attempt`."""
    decorated = any(ast.unparse(one) == "guarded" for one in method.decorator_list)
    return decorated or "attempt(" in ast.unparse(method.body[-1])


def _slots(tree: ast.Module) -> Iterator[ast.expr]:
    """What is connected to Qt's signals, which are named by their signature, and what timers call."""
    for call in _calls(tree, "connect"):
        if len(call.args) == 2:
            yield call.args[1]
    for call in _calls(tree, "singleShot"):
        yield call.args[1]


def _observers(tree: ast.Module) -> Iterator[ast.expr]:
    """What observes MRML and VTK, by the mixin's way and by VTK's own."""
    yield from (call.args[2] for call in _calls(tree, "addObserver"))
    yield from (call.args[1] for call in _calls(tree, "AddObserver"))


def _bare(tree: ast.Module) -> Iterator[ast.AST]:
    methods = _methods(tree)
    for slot in [*_slots(tree), *_observers(tree)]:
        if _isGuarded(slot):
            continue
        if isinstance(slot, ast.Name):  # from a table of events and methods
            yield from (one for name, one in methods.items() if name.startswith("_on") and not _endsHere(one))
        elif not (isinstance(slot, ast.Attribute) and slot.attr in methods and _endsHere(methods[slot.attr])):
            yield slot
    yield from (one for name, one in methods.items() if name in EVENTS_OF_QT and not _endsHere(one))


@pytest.mark.parametrize("source", SOURCES, ids=lambda one: one.stem)
def test_slots_and_observers_are_guarded(source: Path) -> None:
    bare = _bare(ast.parse(source.read_text(encoding="utf-8")))
    assert [f"{source.name}:{one.lineno} {ast.unparse(one).splitlines()[0]}" for one in bare] == []
