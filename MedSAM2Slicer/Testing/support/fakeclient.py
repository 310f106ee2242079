"""A worker client without a worker: answers at once, or step by step when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from medsam2_core.errors import Cancelled, MedSAM2Error
from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer, ObjectRecord, Propagated, SliceRecord, Step
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.worker.callqueue import State


class FakeCall:
    """Ends like a real one: a propagation with what it has, anything else with Cancelled."""

    def __init__(self, client: FakeClient, steps: list[int]) -> None:
        self.client, self.steps, self.isFinished = client, steps, False
        self.onStep: Callable[..., None] = lambda _: None
        self.onDone: Callable[..., None] = lambda _: None
        self.onError: Callable[..., None] = lambda _: None

    def cancel(self, keep: bool = False) -> None:
        if not self.isFinished and self.steps:
            self.finish(cancelled=True, keep=keep)
        elif not self.isFinished:
            self.isFinished = True
            self.onError(Cancelled("Canceled."))

    def step(self) -> None:
        self.client.step(self)

    def finish(self, cancelled: bool = False, keep: bool = False) -> None:
        self.isFinished = True
        self.onDone(self.client.result(cancelled, keep))

    def fail(self, error: MedSAM2Error) -> None:
        self.isFinished = True
        self.onError(error)


class FakeClient:
    """Draws a square that shrinks with the distance from slice `middle`; `gone` slices are left empty."""

    def __init__(self, shape: tuple[int, int], middle: int = 3) -> None:
        self.noticed, self.restarted = Signal(), Signal()
        self.shape, self.middle = shape, middle
        self.gone: set[int] = set()
        self.calls: list[FakeCall] = []
        self.objects: list[Sequence[RunObject]] = []
        self.sessions: dict[str, tuple[Any, ...]] = {}
        self.volumes: set[str] = set()
        self.spans: list[tuple[int, int]] = []
        self.only: list[int] = [1]
        self.model: tuple[str, str] | None = None
        self.isReady, self.state = True, State.READY
        self.modelFacts = {
            "name": "fake",
            "sha256": "ab" * 32,
            "image_size": 64,
            "device": "cpu",
            "field_of_view": "whole",
        }
        self.stops: dict[str, str] = {}
        self.differing: float | None = None  # of each propagated slice
        self.ticks = 0
        self.seen: list[int] = []
        self._drawn: dict[int, str] = {}
        self._before: dict[int, str] = {}  # the propagation asked for last

    def setModel(self, model: str, device: str = "auto", imageSize: int | None = None, precision: str = "auto") -> None:
        self.model, self.precision = (model, device), precision

    def setVolume(self, key: str, volume: Any) -> None:
        self.volumes.add(key)

    def openSession(self, key: str, volumeKey: str, axis: int, settings: dict[str, Any]) -> None:
        self.sessions[key] = (volumeKey, axis, *settings.values())

    def closeSession(self, key: str) -> None:
        self.sessions.pop(key, None)

    def closeVolume(self, key: str, sessions: Collection[str]) -> None:
        for name in [one for one in self.sessions if one in sessions and self.sessions[one][0] == key]:
            self.closeSession(name)
        if not any(settings[0] == key for settings in self.sessions.values()):
            self.volumes.discard(key)

    def tick(self) -> None:
        self.ticks += 1

    def pump(self, seconds: float) -> None:
        """Go on with the propagation asked for last."""
        call = self.calls[-1]
        if call.steps:
            call.step()
        else:
            call.finish()

    def mask(self, index: int) -> Any:
        mask = np.zeros(self.shape, dtype=bool)
        half = 0 if index in self.gone else 3 - abs(index - self.middle)
        if half > 0:
            mask[4 - half : 4 + half, 4 - half : 4 + half] = True
        return mask

    def answers(self, index: int) -> tuple[ObjectAnswer, ...]:
        confidence = 0.9 - 0.15 * abs(index - self.middle)
        return tuple(ObjectAnswer(one, PackedMask.of(self.mask(index)), confidence, 3.0) for one in self.only)

    def look(self, session: str, index: int) -> FakeCall:
        assert session in self.sessions
        self.seen.append(index)
        return FakeCall(self, [])

    def predict(self, session: str, index: int, objects: Any, onDone: Any, onError: Any) -> FakeCall:
        assert session in self.sessions
        call = FakeCall(self, [])
        call.onDone, call.onError = onDone, onError
        self.only = [item.segment.label for item in objects]
        self.objects.append(objects)
        self.calls.append(call)
        return call

    def answer(self, index: int) -> None:
        """Answer the preview asked for last."""
        call = self.calls[-1]
        call.isFinished = True
        call.onDone(self.answers(index))

    def propagate(
        self, session: str, objects: Any, first: int, last: int, stop: StopRules,
        onStep: Any, onDone: Any = lambda _: None, onError: Any = lambda _: None, only: Any = None, **settings: Any,
    ) -> FakeCall:  # fmt: skip
        assert session in self.sessions
        self.spans.append((first, last))
        self.settings = settings
        self.only = only or [item.segment.label for item in objects]
        order = [self.middle, *range(self.middle + 1, last), *range(self.middle - 1, first - 1, -1)]
        call = FakeCall(self, [index for index in order if first <= index < last])
        call.onStep, call.onDone, call.onError = onStep, onDone, onError
        self._before, self._drawn = self._drawn, {}
        self.planned = len(order)
        self.objects.append(objects)
        self.calls.append(call)
        return call

    def step(self, call: FakeCall) -> None:
        index = call.steps.pop(0)
        direction = "prompt" if index == self.middle else "forward" if index > self.middle else "backward"
        self._drawn[index] = direction
        done = 0 if direction == "prompt" else self.planned - len(call.steps)
        call.onStep(Step(index, direction, done, self.planned, self.answers(index)))

    def result(self, cancelled: bool, keep: bool) -> Propagated:
        if cancelled:  # what it did not come to is as it was
            self._drawn = {**self._before, **self._drawn}
        slices = tuple(
            SliceRecord(
                index,
                self.answers(index)[0].confidence,
                3.0,
                direction,
                float(self.mask(index).sum()),
                None if direction == "prompt" else self.differing,
            )
            for index, direction in sorted(self._drawn.items())
        )
        stopped = {"forward": "reached the end", **self.stops}
        records = tuple(ObjectRecord(one, stopped, slices) for one in self.only)
        taken_back = cancelled and not keep and self.settings.get("tentative", False)
        return Propagated(cancelled, 0.5, records, taken_back=taken_back)

    def disagreement(self, session: str, objectId: int, onDone: Any, onError: Any) -> FakeCall:
        assert session in self.sessions
        call = FakeCall(self, [])
        call.onDone, call.onError = onDone, onError
        self.calls.append(call)
        return call

    def redraw(
        self, session: str, objects: Any, objectId: int, drawing: dict[str, Any],
        onStep: Any, onDone: Any = lambda _: None, onError: Any = lambda _: None, near: int | None = None,
    ) -> FakeCall:  # fmt: skip
        assert session in self.sessions
        self.near = near
        call = FakeCall(self, [])
        call.onStep, call.onDone, call.onError = onStep, onDone, onError
        self.cut, self.only = tuple(drawing.values()), [objectId]
        self.calls.append(call)
        return call

    def redrawn(self, mask: Callable[[int], Any]) -> None:
        """Answer the redraw asked for last: `mask` gives each propagated slice."""
        call = self.calls[-1]
        tracked = {index: way for index, way in self._drawn.items() if way != "prompt"}
        for index, way in tracked.items():
            call.onStep(Step(index, way, 0, 0, (ObjectAnswer(self.only[0], PackedMask.of(mask(index)), 0.5, 3.0),)))
        call.isFinished = True
        slices = tuple(
            SliceRecord(index, 0.5, 3.0, way, float(mask(index).sum())) for index, way in sorted(tracked.items())
        )
        call.onDone(Propagated(False, 0.1, (ObjectRecord(self.only[0], {}, slices),)))
