"""Which slices of a segment show what the worker's session has there."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping


class ShownAnswers:
    """The worker's answers on slices by number, the latest one on each and the one that is shown."""

    def __init__(self) -> None:
        self._latest: dict[int, int] = {}
        self._shown: dict[int, int] = {}
        self._numbers = itertools.count()

    @property
    def slices(self) -> set[int]:
        """The slices that show what the worker's session has there."""
        return {index for index, number in self._shown.items() if self._latest.get(index) == number}

    @property
    def shown(self) -> dict[int, int]:
        """The answers that are shown, by slice, for `bringBack`."""
        return dict(self._shown)

    def note(self, indexes: Iterable[int]) -> None:
        """The worker has answered on slices, which show that."""
        answered = dict.fromkeys(indexes, next(self._numbers))
        self._latest |= answered
        self._shown |= answered

    def hide(self, indexes: Iterable[int]) -> None:
        """Slices show something else from now on."""
        for index in indexes:
            self._shown.pop(index, None)

    def bringBack(self, indexes: Iterable[int], shown: Mapping[int, int]) -> None:
        """Slices show again what they did when these answers were `shown`."""
        for index in indexes:
            self._shown.pop(index, None)
            if index in shown:
                self._shown[index] = shown[index]

    def forget(self) -> None:
        """The worker has no answers any more."""
        self._latest.clear()
