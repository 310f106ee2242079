"""The module's tab bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import qt

from MedSAM2SlicerLib.faults import guarded


class Tab(Protocol):
    """What a person works with while its tab is in front: its keys act between `enter` and `exit` only."""

    widget: Any

    def enter(self) -> None:
        """Come to the front."""

    def exit(self) -> None:
        """Be hidden; what runs goes on."""

    def close(self) -> None:
        """Release everything but the widget."""


class Tabs:
    """Tabs by their titles. One is made when it is first in front: what it needs is not imported before."""

    def __init__(self, makers: Mapping[str, Callable[[], Tab]]) -> None:
        self._titles, self._makers = list(makers), list(makers.values())
        self._made: dict[int, Tab] = {}
        self._isOpen = False
        self._entered: Tab | None = None
        self.widget = qt.QTabWidget()
        self.widget.documentMode = True  # without a frame, for which a module's panel is too narrow
        for title in makers:
            page = qt.QWidget()
            qt.QVBoxLayout(page).setContentsMargins(0, 0, 0, 0)
            self.widget.addTab(page, title)
        self.widget.connect("currentChanged(int)", guarded(self._follow))

    @property
    def front(self) -> Tab:
        """The tab that is shown."""
        return self._at(self.widget.currentIndex)

    def tab(self, title: str) -> Tab:
        """The tab of a title, which is made if it was never in front."""
        return self._at(self._titles.index(title))

    def bring(self, title: str) -> None:
        """Bring a tab to the front."""
        self.widget.currentIndex = self._titles.index(title)

    def enter(self) -> None:
        """Be in use: the module was opened."""
        self._isOpen = True
        self._follow()

    def exit(self) -> None:
        """Be out of use."""
        self._isOpen = False
        self._leave()

    def close(self) -> None:
        """Release everything."""
        self.exit()
        for tab in self._made.values():
            tab.close()
        self._made.clear()
        self.widget.hide()
        self.widget.deleteLater()

    def _at(self, index: int) -> Tab:
        if index not in self._made:
            self._made[index] = self._makers[index]()
            self.widget.widget(index).layout().addWidget(self._made[index].widget)
        return self._made[index]

    def _follow(self) -> None:
        self._leave()
        if self._isOpen:
            self._entered = self.front
            self._entered.enter()

    def _leave(self) -> None:
        entered, self._entered = self._entered, None
        if entered:
            entered.exit()
