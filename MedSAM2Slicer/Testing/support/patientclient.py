"""A worker client without a worker whose answers come message by message, whatever was asked."""

from __future__ import annotations

from typing import Any

from fakeclient import FakeCall, FakeClient

from medsam2_core.worker.results import Step


class PatientClient(FakeClient):
    """Sends the messages of the request that was made last one by one, when it is told to; prompts come first."""

    _prompted: frozenset[int] = frozenset()

    def predict(self, session: str, index: int, *request: Any) -> FakeCall:
        self._send = lambda: self.answer(index)
        return super().predict(session, index, *request)

    def propagate(self, session: str, objects: Any, *request: Any, **settings: Any) -> FakeCall:
        call = super().propagate(session, objects, *request, **settings)
        self._prompted = frozenset(index for one in objects for index in one.slices)
        call.steps.sort(key=lambda index: index not in self._prompted)
        self._send = lambda: call.step() if call.steps else call.finish()
        return call

    def redraw(self, *request: Any, **settings: Any) -> FakeCall:
        self._send = lambda: self.redrawn(self.mask)
        return super().redraw(*request, **settings)

    def step(self, call: FakeCall) -> None:
        index = call.steps.pop(0)
        direction = "prompt" if index in self._prompted else "forward"
        self._drawn[index] = direction
        call.onStep(Step(index, direction, 0, self.planned, self.answers(index)))

    @property
    def isAsked(self) -> bool:
        """Whether a request is still to be answered."""
        return bool(self.calls) and not self.calls[-1].isFinished

    def send(self) -> None:
        """Send the next message."""
        if self.isAsked:
            self._send()
