"""The prompts a session was given, so that a request that repeats most of them disturbs only what differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.run.prompts import Prompt, RunObject, TakesPrompts, add_prompts, starts_with

_Place = tuple[int, int]  # object id, slice


class ChangesPrompts(TakesPrompts, Protocol):
    """A session whose prompts can be removed."""

    def remove_prompts(self, object_id: int, slice_index: int) -> None:
        """Forget an object's prompts on a slice."""

    def remove_object(self, object_id: int) -> None:
        """Forget an object."""


class AppliedPrompts:
    """Keeps a session at the prompts of the latest request; it is given slices turned by `orientation`.

    Further prompts on a slice are added to those there; any other change takes the slice's prompts back first. An
    object that a request leaves out is forgotten. Exact after a refused prompt too: it notes one prompt at a time.
    """

    def __init__(self, session: ChangesPrompts, orientation: SliceOrientation) -> None:
        self._session, self._orientation = session, orientation
        self._given: dict[_Place, tuple[Prompt, ...]] = {}
        self._labels: set[int] = set()

    def change_to(self, objects: Iterable[RunObject]) -> None:
        """Make these the session's objects and prompts. Raises PromptError; prompts before the wrong one stay."""
        wanted = {item.segment.label: item for item in objects}
        for label in self._labels - wanted.keys():
            self._forget(label)
        self._labels = set(wanted)
        places = {(label, index): _on_slice(item, index) for label, item in wanted.items() for index in item.slices}
        for place in list(self._given):
            if not starts_with(places.get(place, ()), self._given[place]):
                self._session.remove_prompts(*place)
                del self._given[place]
        for place, prompts in places.items():
            for prompt in prompts[len(self._given.get(place, ())) :]:
                add_prompts(self._session, [replace(wanted[place[0]], prompts=(prompt,))], self._orientation)
                self._given[place] = (*self._given.get(place, ()), prompt)

    def _forget(self, label: int) -> None:
        self._session.remove_object(label)
        for place in [place for place in self._given if place[0] == label]:
            del self._given[place]


def _on_slice(item: RunObject, index: int) -> tuple[Prompt, ...]:
    return tuple(prompt for prompt in item.prompts if prompt.slice_index == index)
