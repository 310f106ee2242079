"""A small parameter node wrapper: typed attributes kept as text and node references in a scripted module node."""

from __future__ import annotations

import json
import typing
from typing import Any

import slicer


def parameterNodeWrapper(kind: type) -> type:
    """Give a class of annotations properties that read and write the node handed to its constructor."""
    hints = typing.get_type_hints(kind)
    defaults = {name: getattr(kind, name, None) for name in hints}

    def __init__(self: Any, parameterNode: Any) -> None:  # noqa: N807
        self.parameterNode = parameterNode

    kind.__init__ = __init__
    for name, hint in hints.items():
        isNode = isinstance(hint, type) and issubclass(hint, slicer.vtkMRMLNode)
        setattr(kind, name, _nodeProperty(name, hint) if isNode else _valueProperty(name, hint, defaults[name]))
    for name in ("AddObserver", "RemoveObserver", "StartModify", "EndModify", "Modified"):
        setattr(kind, name, lambda self, *values, name=name: getattr(self.parameterNode, name)(*values))
    return kind


def _nodeProperty(name: str, hint: type) -> property:
    def write(self: Any, node: Any) -> None:
        if node is not None and not isinstance(node, hint):
            raise TypeError(f"{name} takes a {hint.__name__}, not {node!r}.")
        self.parameterNode.SetNodeReferenceID(name, node.GetID() if node else None)

    return property(lambda self: self.parameterNode.GetNodeReference(name), write)


def _valueProperty(name: str, hint: type, default: Any) -> property:
    def read(self: Any) -> Any:
        text = self.parameterNode.GetParameter(name)
        return json.loads(text) if text else default

    def write(self: Any, value: Any) -> None:
        accepted = (int, float) if hint is float else hint
        if not isinstance(value, accepted):
            raise TypeError(f"{name} takes a {hint.__name__}, not {value!r}.")
        self.parameterNode.SetParameter(name, json.dumps(value))

    return property(read, write)
