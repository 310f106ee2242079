"""PySide6 with the manners of PythonQt: one flat namespace, properties as attributes, signals by their signature.

What PythonQt refuses is refused here too, or mistakes would first show in Slicer: an unknown attribute cannot be set, a
property is not a method, and a signal that does not exist cannot be connected. Tooltips become rich text, as Slicer's
application makes them.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

# The first two are virtual functions: Qt would take a property of this name for an override. The last is also static.
_METHODS = {"sizeHint", "minimumSizeHint", "singleShot"}
_NOISE = ("QObject::connect", "propagateSizeHints")  # the first: scene connections, made in `QUiLoader.load`

_plain: set[type] = set()  # classes that are C++ to PythonQt: no attribute can be added to their objects


def makeQt(widgets: list[type]) -> types.ModuleType:
    """Return the module `qt`; `widgets` are the classes that .ui files may name beside Qt's own."""
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            if name[0] in "qQ" or name == "Qt":
                setattr(module, name, getattr(source, name))
    for kind in sorted(_classes(module), key=lambda one: len(one.__mro__)):
        _plain.add(kind)
        _showProperties(kind)
        _replaceConnect(kind)
    _plain.update(widgets)
    _changeObject()
    _wrapToolTips()
    module.QUiLoader = _loader(widgets)
    QtCore.qInstallMessageHandler(_onMessage)
    return module


def _classes(module: types.ModuleType) -> set[type]:
    found = vars(module).values()
    return {one for one in found if isinstance(one, type) and issubclass(one, QtCore.QObject)}


def _showProperties(kind: type) -> None:
    meta = kind.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name not in _METHODS:
            setattr(kind, name, _property(name))


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        return QtCore.QObject.property(self, name)

    def write(self: Any, value: Any) -> None:
        if not QtCore.QObject.setProperty(self, name, value):
            raise TypeError(f"{type(self).__name__}.{name} cannot be set to {value!r}.")

    return property(read, write)


def _changeObject() -> None:
    base = QtCore.QObject
    base.name = _property("objectName")
    base.className = lambda self: self.metaObject().className()
    base.__setattr__ = _setAttribute


def _wrapToolTips() -> None:
    """What is set as plain text comes back as a paragraph, so that Qt breaks its lines."""
    plainSet = QtWidgets.QWidget.setToolTip
    QtWidgets.QWidget.setToolTip = lambda self, text: plainSet(self, _richText(text))
    read = QtWidgets.QWidget.toolTip.fget
    QtWidgets.QWidget.toolTip = property(read, lambda self, text: self.setToolTip(text))


def _richText(text: str) -> str:
    isPlain = text and not QtGui.Qt.mightBeRichText(text)
    return str(QtGui.Qt.convertFromPlainText(text, QtCore.Qt.WhiteSpaceNormal)) if isPlain else text


def _setAttribute(self: Any, name: str, value: Any) -> None:
    if type(self) in _plain and not hasattr(type(self), name) and not name.startswith("_"):
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}, and PythonQt adds none.")
    QtCore.QObject.__base__.__setattr__(self, name, value)  # `object`'s own does not do for plain objects


def _replaceConnect(kind: type) -> None:
    # Setting `connect` itself is not enough: PySide6 looks for it before it looks into the class.
    plainGet = kind.__getattribute__
    kind.__getattribute__ = lambda self, name: _connector(self) if name == "connect" else plainGet(self, name)


def _connector(self: Any) -> Callable[..., bool]:
    return lambda signature, function: _connect(self, signature, function)


def _connect(self: Any, signature: str, function: Callable[..., object]) -> bool:
    """Connect as PythonQt does: the function gets as many arguments as the signature has and it takes."""
    name = signature.partition("(")[0]
    kinds = re.search(r"\((.*)\)", signature)
    own = getattr(type(self), "signatures", ())
    if signature not in own and self.metaObject().indexOfSignal(signature) < 0:
        raise ValueError(f"{type(self).__name__} has no signal {signature}.")
    given = len([one for one in kinds[1].split(",") if one]) if kinds else 0
    count = min(given, _positional(function))
    getattr(self, name).connect(lambda *values: function(*values[:count]))
    return True


def _positional(function: Callable[..., object]) -> int:
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 99
    return sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)


def _loader(widgets: list[type]) -> type:
    known = {kind.__name__: kind for kind in widgets}

    class QUiLoader(QtUiTools.QUiLoader):
        """Makes the stand-ins where a .ui file names them, and connects the scene as the file says."""

        def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:
            if className not in known:
                return super().createWidget(className, parent, name)
            widget = known[className](parent)
            widget.setObjectName(name)
            return widget

        def load(self, file: Any) -> Any:
            top = super().load(file)
            children = {child.objectName: child for child in [top, *top.findChildren(QtWidgets.QWidget)]}
            for child in children.values():
                child.setToolTip(child.toolTip)
            for link in ElementTree.parse(file.fileName()).iter("connection"):  # noqa: S314 (our own file)
                sender, signal, receiver, slot = (
                    link.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")
                )
                children[sender].connect(signal, getattr(children[receiver], slot.partition("(")[0]))
            return top

    return QUiLoader


def _onMessage(_kind: Any, _context: Any, message: str) -> None:
    if not any(noise in message for noise in _NOISE):
        sys.stderr.write(f"Qt: {message}\n")
