"""A small parameter node wrapper: typed attributes kept as text and node references in a scripted module node.

As the real one it answers from a cache, which it fills when it is made and whenever its node says that it was modified:
of a scene that is still loading, it remembers that the nodes are missing.
"""

from __future__ import annotations

import json
import typing
import weakref
from collections.abc import Callable
from typing import Any

import slicer
import slicer.util
import vtk


class _Parameter:
    """One attribute: how it is kept in the node, and what was read there last."""

    def __init__(self, node: Any, name: str, hint: type, default: Any) -> None:
        self._node, self._name, self._hint, self._default = node, name, hint, default
        self._isNode = issubclass(hint, slicer.vtkMRMLNode)
        self._isWriting = False
        self.value = self._read()
        itself = weakref.ref(self)
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _onModified(itself()))
        weakref.finalize(self, node.RemoveObserver, tag)

    def write(self, value: Any) -> None:
        if not self._accepts(value):
            raise TypeError(f"{self._name} takes a {self._hint.__name__}, not {value!r}.")
        self._isWriting = True
        try:
            with slicer.util.NodeModify(self._node):
                if self._isNode:
                    self._node.SetNodeReferenceID(self._name, value.GetID() if value else None)
                else:
                    self._node.SetParameter(self._name, json.dumps(value))
                self.value = self._read()
        finally:
            self._isWriting = False

    def onModified(self) -> None:
        if not self._isWriting:
            self.value = self._read()

    def _accepts(self, value: Any) -> bool:
        accepted = (int, float) if self._hint is float else self._hint
        return isinstance(value, accepted) or (self._isNode and value is None)

    def _read(self) -> Any:
        if self._isNode:
            return self._node.GetNodeReference(self._name)
        text = self._node.GetParameter(self._name)
        return json.loads(text) if text else self._default


def _onModified(parameter: _Parameter | None) -> None:
    if parameter is not None:
        parameter.onModified()


def parameterNodeWrapper(kind: type) -> type:
    """Give a class of annotations properties that read and write the node handed to its constructor."""
    hints = typing.get_type_hints(kind)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def __init__(self: Any, parameterNode: Any) -> None:  # noqa: N807
        self.parameterNode = parameterNode
        self.parameters = {name: _Parameter(parameterNode, name, hint, defaults[name]) for name, hint in hints.items()}

    kind.__init__ = __init__
    for name in hints:
        setattr(kind, name, property(_reader(name), _writer(name)))
    for name in ("AddObserver", "RemoveObserver", "StartModify", "EndModify", "Modified"):
        setattr(kind, name, lambda self, *values, name=name: getattr(self.parameterNode, name)(*values))
    return kind


def _reader(name: str) -> Callable[[Any], Any]:
    return lambda self: self.parameters[name].value


def _writer(name: str) -> Callable[[Any, Any], None]:
    return lambda self, value: self.parameters[name].write(value)
