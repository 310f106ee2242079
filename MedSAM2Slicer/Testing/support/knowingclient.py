"""A worker client without a worker that knows the objects: balls in the volume's own frame.

It is as strict as the worker: prompts have to lie on their slices, a session needs its volume, and of an object that a
request leaves out nothing is known any more. Answers come when the test calls `work`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from fakeclient import FakeClient

from medsam2_core.errors import Cancelled, MedSAM2Error, PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.slicing import Slicing
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, Prompt, RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer, ObjectRecord, Propagated, SliceRecord, Step
from MedSAM2SlicerLib.signal import Signal

Ball = tuple[tuple[float, float, float], float]
"""Center (RAS, mm, of the volume's frame) and radius (mm)."""


@lru_cache(maxsize=64)
def drawnOn(geometry: Geometry, balls: tuple[Ball, ...]) -> np.ndarray:
    """The balls on a grid (k, j, i), counted from 1; they do not touch."""
    k, j, i = (axis.ravel() for axis in np.indices(geometry.shape_kji))
    ras = geometry.ijk_to_ras(np.stack([i, j, k], axis=1))
    labels = np.zeros(geometry.shape_kji, np.uint8)
    for number, (center, radius) in enumerate(balls, 1):
        labels.ravel()[((ras - np.array(center)) ** 2).sum(axis=1) <= radius**2] = number
    return labels


class KnowingCall:
    """A request that waits for `KnowingClient.work`."""

    def __init__(self, onDone: Callable[..., None], onError: Callable[..., None]) -> None:
        self.onDone, self.onError = onDone, onError
        self.isFinished = False

    def cancel(self, keep: bool = False) -> None:
        if not self.isFinished:
            self.isFinished = True
            self.onError(Cancelled("Canceled."))


@dataclass
class Session:
    """A session along an axis of a volume; of each object the slices it drew, with their direction, and its ball."""

    volume: str
    slicing: Slicing
    labels: np.ndarray
    drawn: dict[int, dict[int, str]] = field(default_factory=dict)
    balls: dict[int, int] = field(default_factory=dict)

    def take(self, objects: Iterable[RunObject]) -> dict[int, RunObject]:
        """Make these the objects. Raises PromptError for a prompt beside its slice."""
        known = {one.segment.label: one for one in objects}
        self.drawn = {label: slices for label, slices in self.drawn.items() if label in known}
        for prompt in (prompt for one in known.values() for prompt in one.prompts):
            self._check(prompt)
        self.balls = {label: self._ball(one) for label, one in known.items()}
        return known

    def mask(self, thing: RunObject, index: int) -> np.ndarray:
        """What an object shows on a slice: a mask that is its only prompt there, else the ball it is."""
        there = [prompt for prompt in thing.prompts if prompt.slice_index == index]
        if there and all(isinstance(prompt, MaskPrompt) for prompt in there):
            return np.asarray(there[-1].mask)
        return np.asarray(self._slice(index) == self.balls[thing.segment.label])

    def _ball(self, thing: RunObject) -> int:
        """The ball that the prompts lie in; 255 for none."""
        votes: list[int] = []
        for prompt in thing.prompts:
            shown = self._slice(prompt.slice_index)
            if isinstance(prompt, MaskPrompt):
                votes += shown[prompt.mask].tolist()
                continue
            x, y = np.reshape(prompt.box, (2, 2)).mean(0) if isinstance(prompt, BoxPrompt) else prompt.points_xy[0]
            votes += [int(shown[round(y), round(x)])] * 1000
        found = [vote for vote in votes if vote]
        return max(set(found), key=found.count) if found else 255

    def _slice(self, index: int) -> np.ndarray:
        return np.take(self.labels, index, self.slicing.axis)

    def _check(self, prompt: Prompt) -> None:
        rows, columns = self.slicing.shape
        fits = 0 <= prompt.slice_index < self.slicing.count
        if isinstance(prompt, MaskPrompt):
            fits &= prompt.mask.shape == (rows, columns)
        else:
            places = np.reshape(prompt.box, (2, 2)) if isinstance(prompt, BoxPrompt) else prompt.points_xy
            fits &= all(-0.5 <= x <= columns - 0.5 and -0.5 <= y <= rows - 0.5 for x, y in places)
        if not fits:
            raise PromptError(f"The prompt on slice {prompt.slice_index} is outside the slice.")


class KnowingClient:
    """Draws the ball that an object's prompts lie in, on the slices of any session."""

    modelFacts = FakeClient((1, 1)).modelFacts

    def __init__(self, balls: tuple[Ball, ...]) -> None:
        self.noticed, self.restarted = Signal(), Signal()
        self.balls = balls
        self.volumes: dict[str, Any] = {}
        self.sessions: dict[str, Session] = {}
        self._waiting: deque[tuple[KnowingCall, Callable[[], Any]]] = deque()

    def setModel(
        self, model: str, device: str = "auto", imageSize: int | None = None, precision: str = "auto"
    ) -> None: ...

    def setVolume(self, key: str, volume: Any) -> None:
        self.volumes[key] = volume

    def openSession(self, key: str, volumeKey: str, axis: int, settings: dict[str, Any]) -> None:
        geometry = self.volumes[volumeKey].geometry
        if key not in self.sessions or self.sessions[key].volume != volumeKey:
            self.sessions[key] = Session(volumeKey, Slicing(geometry, axis), drawnOn(geometry, self.balls))

    def closeSession(self, key: str) -> None:
        self.sessions.pop(key, None)

    def closeVolume(self, key: str, sessions: Collection[str]) -> None:
        left = {name: one for name, one in self.sessions.items() if one.volume != key or name not in sessions}
        self.sessions = left
        if not any(one.volume == key for one in left.values()):
            del self.volumes[key]

    def tick(self) -> None: ...

    def work(self) -> None:
        """Answer all that was asked, and what is asked then."""
        while self._waiting:
            call, answer = self._waiting.popleft()
            if call.isFinished:
                continue
            try:
                result = answer()
            except MedSAM2Error as error:
                call.isFinished = True
                call.onError(error)
                continue
            call.isFinished = True
            call.onDone(result)

    def predict(self, key: str, index: int, objects: Any, onDone: Any, onError: Any) -> KnowingCall:
        def answer() -> tuple[ObjectAnswer, ...]:
            session = self.sessions[key]
            known = session.take(objects)
            return tuple(_answer(session, one, index) for one in known.values() if index in one.slices)

        return self._ask(answer, onDone, onError)

    def propagate(
        self, key: str, objects: Any, first: int, last: int, stop: StopRules,
        onStep: Any, onDone: Any = lambda _: None, onError: Any = lambda _: None, only: Any = None, **settings: Any,
    ) -> KnowingCall:  # fmt: skip
        def answer() -> Propagated:
            session = self.sessions[key]
            known = session.take(objects)
            for label in only:
                if not any(first <= index < last for index in known[label].slices):
                    raise PromptError(f"Object {label} has no prompt within {first}:{last}.")
            ways = {index: _way(known[label], index) for label in only for index in range(first, last)}
            for place, index in enumerate(sorted(ways, key=lambda index: ways[index] != "prompt"), 1):
                answers = tuple(_answer(session, known[label], index) for label in only)
                onStep(Step(index, ways[index], place, last - first, answers))
            for label in only:
                drawn = session.drawn.setdefault(label, {})
                drawn |= {index: _way(known[label], index) for index in range(first, last)}
            return Propagated(False, 0.1, tuple(_record(session, known[label]) for label in only))

        return self._ask(answer, onDone, onError)

    def redraw(
        self, key: str, objects: Any, objectId: int, drawing: dict[str, Any],
        onStep: Any, onDone: Any = lambda _: None, onError: Any = lambda _: None, near: int | None = None,
    ) -> KnowingCall:  # fmt: skip
        def answer() -> Propagated:
            session = self.sessions[key]
            known = session.take(objects)
            for index, way in session.drawn[objectId].items():
                onStep(Step(index, way, 0, 0, (_answer(session, known[objectId], index),)))
            return Propagated(False, 0.1, (_record(session, known[objectId]),))

        return self._ask(answer, onDone, onError)

    def _ask(self, answer: Callable[[], Any], onDone: Any, onError: Any) -> KnowingCall:
        call = KnowingCall(onDone, onError)
        self._waiting.append((call, answer))
        return call


def _way(thing: RunObject, index: int) -> str:
    if index in thing.slices:
        return "prompt"
    return "forward" if index > min(thing.slices) else "backward"


def _answer(session: Session, thing: RunObject, index: int) -> ObjectAnswer:
    return ObjectAnswer(thing.segment.label, PackedMask.of(session.mask(thing, index)), 0.9, 3.0)


def _record(session: Session, thing: RunObject) -> ObjectRecord:
    slices = tuple(
        SliceRecord(index, 0.9, 3.0, _way(thing, index), float(session.mask(thing, index).sum()))
        for index in sorted({*session.drawn.get(thing.segment.label, {}), *thing.slices})
    )
    return ObjectRecord(thing.segment.label, {"forward": "reached the end"}, slices)
