"""Work that is put off, so that many requests in a row cost one turn."""

from __future__ import annotations

from collections.abc import Callable

import qt

from MedSAM2SlicerLib.faults import guarded


class Later:
    """Calls a function once, `milliseconds` after it was asked for."""

    def __init__(self, function: Callable[[], object], milliseconds: int) -> None:
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.connect("timeout()", guarded(function))

    @property
    def isDue(self) -> bool:
        """Whether the function is going to be called."""
        return bool(self._timer.active)

    def soon(self) -> None:
        """Count from the first request: the function is called now and then while they go on."""
        if not self._timer.active:
            self._timer.start()

    def afterLast(self) -> None:
        """Count from the last request: the function is called when they are over."""
        self._timer.start()

    def cancel(self) -> None:
        """Forget what was asked for, and the function: it is not called again."""
        self._timer.stop()
        self._timer.deleteLater()
