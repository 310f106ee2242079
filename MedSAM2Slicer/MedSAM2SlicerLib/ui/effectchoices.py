"""The panel's choices as parameters of the effect, which a scene saves in its Segment Editor node."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import slicer.util

from MedSAM2SlicerLib.ui.choices import Choices


def setDefaults(scriptedEffect: Any) -> None:
    """Give the node each parameter that it lacks."""
    for field in fields(Choices):
        scriptedEffect.setParameterDefault(field.name, _toText(field.default))


def read(scriptedEffect: Any) -> Choices:
    """Return the choices; a parameter that is missing, or is nonsense, counts as its default."""
    return Choices(**{field.name: _read(scriptedEffect, field.name, field.default) for field in fields(Choices)})


def write(scriptedEffect: Any, choices: Choices) -> None:
    """Save the choices; whoever follows the node is told once."""
    with slicer.util.NodeModify(scriptedEffect.parameterSetNode()):
        for field in fields(Choices):
            scriptedEffect.setParameter(field.name, _toText(getattr(choices, field.name)))


def _read(scriptedEffect: Any, name: str, default: Any) -> Any:
    if not scriptedEffect.parameterDefined(name):  # as Slicer sees it, an empty text is not
        return default
    text = scriptedEffect.parameter(name)
    if isinstance(default, str):
        return text
    try:
        return type(default)(json.loads(text))
    except (TypeError, ValueError):
        return default


def _toText(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
