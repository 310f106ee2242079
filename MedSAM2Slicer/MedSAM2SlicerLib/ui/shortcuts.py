"""The tool's keys, which exist only while it is in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

from MedSAM2SlicerLib.faults import guarded

# What takes text, or selects by letter; Slicer's own selectors are combo boxes and lists in other widgets.
_TAKERS = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox", "QComboBox", "QAbstractItemView")
_ESCAPE = "Esc"  # of no use to them
_FOCUS = "focusChanged(QWidget*,QWidget*)"


class Shortcuts:
    """Keys that act in the window of `widget` while that is on the screen; none of Slicer's own is among them.

    They belong to the widget and not to the main window, so that Qt itself silences them when the widget is hidden.
    All but Esc are left to the widget with the focus if that takes text or selects by letter.
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
        """Stop them from acting."""
        if self._installed:
            slicer.app.disconnect(_FOCUS, self._onFocus)
        for shortcut in self._installed.values():
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()

    def claim(self) -> None:
        """Take the keys from the widget with the focus: somebody clicked in a view."""
        focused = qt.QApplication.focusWidget()
        if _takes(focused):
            focused.clearFocus()
        self.follow(qt.QApplication.focusWidget())

    def follow(self, focused: Any) -> None:
        """Leave the keys to the widget with the focus, if it takes text or selects by letter."""
        taken = _takes(focused)
        for key, shortcut in self._installed.items():
            shortcut.enabled = not taken or key == _ESCAPE

    @guarded
    def _onFocus(self, _before: Any, focused: Any) -> None:
        self.follow(focused)


def _takes(focused: Any) -> bool:
    # PythonQt's classes do not derive from each other as Qt's do, so that `isinstance` would know no subclass.
    return focused is not None and any(focused.inherits(name) for name in _TAKERS)
