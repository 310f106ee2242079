"""The tool's keys, which exist only while it is in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

from MedSAM2SlicerLib.faults import guarded

_ENTER = ("Return", "Enter")
_TAKERS = ("QLineEdit", "QAbstractSpinBox", "QComboBox", "QAbstractItemView")  # of Enter
_FOCUS = "focusChanged(QWidget*,QWidget*)"


class Shortcuts:
    """Keys that act in the window of `widget` while that is on the screen; none of Slicer's own is among them.

    They belong to the widget and not to the main window, so that Qt itself silences them when the widget is hidden.
    Enter is left to the widget with the focus if that uses it.
    """

    def __init__(self, widget: Any, actions: Mapping[str, Callable[[], object]]) -> None:
        self._widget, self._actions = widget, actions
        self._installed: dict[str, Any] = {}

    def install(self) -> None:
        """Let the keys act."""
        self.remove()
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(self._widget)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", guarded(action))
            self._installed[key] = shortcut
        slicer.app.connect(_FOCUS, self._onFocus)
        self.follow(qt.QApplication.focusWidget())

    def remove(self) -> None:
        """Let them act no more."""
        if self._installed:
            slicer.app.disconnect(_FOCUS, self._onFocus)
        for shortcut in self._installed.values():
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()

    def follow(self, focused: Any) -> None:
        """Leave Enter to the widget with the focus, if it uses it."""
        # A text field, as of the Python console, keeps Enter from shortcuts by itself.
        # PythonQt's classes do not derive from each other as Qt's do, so that `isinstance` would know no subclass.
        taken = focused is not None and any(focused.inherits(name) for name in _TAKERS)
        for key in _ENTER:
            if key in self._installed:
                self._installed[key].enabled = not taken

    @guarded
    def _onFocus(self, _before: Any, focused: Any) -> None:
        self.follow(focused)
