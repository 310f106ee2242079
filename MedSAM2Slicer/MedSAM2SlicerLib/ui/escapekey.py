"""Esc while the effect is active: it is Segment Editor's key, and leaves the effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer.util

from MedSAM2SlicerLib.faults import attempt


class EscapeKey(qt.QObject):
    """Takes Esc from Segment Editor as long as `stop()` finds something to stop.

    A shortcut of our own would leave Qt with two on one key, of which it then calls neither. Qt offers a key to the
    widgets before it looks for shortcuts: whoever accepts it there keeps it.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        qt.QObject.__init__(self)
        self._stop = stop
        self._window = slicer.util.mainWindow()

    def install(self) -> None:
        """Listen from now on."""
        if self._window:
            self._window.installEventFilter(self)

    def remove(self) -> None:
        """Stop listening."""
        if self._window:
            self._window.removeEventFilter(self)

    def eventFilter(self, _window: Any, event: Any) -> bool:
        """Take the key (called by Qt); a key that is held down after a stop is not meant for Segment Editor either."""
        return bool(attempt(self._takes, event))

    def _takes(self, event: Any) -> bool:
        if event.type() != qt.QEvent.ShortcutOverride or event.key() != qt.Qt.Key_Escape:
            return False
        if not (event.isAutoRepeat() or self._stop()):
            return False
        event.accept()
        return True
