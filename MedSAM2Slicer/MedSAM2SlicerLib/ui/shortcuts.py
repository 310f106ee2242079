"""The tool's keys, which exist only while it is in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt


class Shortcuts:
    """Keys that act in the window of `widget` while that is on the screen; none of Slicer's own is among them.

    They belong to the widget and not to the main window, so that Qt itself silences them when the widget is hidden.
    """

    def __init__(self, widget: Any, actions: Mapping[str, Callable[[], object]]) -> None:
        self._widget, self._actions = widget, actions
        self._installed: list[Any] = []

    def install(self) -> None:
        """Let the keys act."""
        self.remove()
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(self._widget)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", action)
            self._installed.append(shortcut)

    def remove(self) -> None:
        """Let them act no more."""
        for shortcut in self._installed:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()
