"""What is asked of the worker's sessions, and how it is read: what was drawn is noted on the way, and given back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker.disagreement import DisagreementMap
from medsam2_core.worker.results import Propagated, Step, answers_from_wire, step_from_wire
from medsam2_core.worker.wire import Frame
from MedSAM2SlicerLib.worker import requests
from MedSAM2SlicerLib.worker.drawn import NOWHERE, Drawn, Reach
from MedSAM2SlicerLib.worker.opening import Openings
from MedSAM2SlicerLib.worker.requests import Request


@dataclass(frozen=True)
class Course:
    """How a propagation goes: through slices span[0] <= index < span[1], with `only` some objects; None stands for all.

    `settings` are those of the part "run" that are numbers or text. A `tentative` one that is canceled leaves nothing,
    unless it is told to.
    """

    span: tuple[int, int]
    stop: StopRules
    only: Collection[int] | None
    settings: Mapping[str, Any]
    tentative: bool = False

    @property
    def reach(self) -> Reach:
        """The slices it may go through."""
        return Reach(*self.span, self.settings["direction"])


@dataclass(frozen=True)
class Look:
    """How an object is drawn again: with the settings of the part "drawing", the slice `near` first."""

    objectId: int
    drawing: Mapping[str, Any]
    near: int | None = None


class Sessions:
    """Writes the requests that the sessions of `openings` get."""

    def __init__(self, openings: Openings) -> None:
        self._openings = openings
        self._drawn: dict[str, Drawn] = {}

    def forget(self, *keys: str) -> None:
        """Forget what sessions have drawn."""
        for key in keys:
            self._drawn.pop(key, None)

    def predict(self, key: str, sliceIndex: int, objects: Sequence[RunObject]) -> Request:
        """Masks on one slice."""
        grid = self._openings.grid(key)
        request = requests.predict(key, sliceIndex, self._restored(key, objects))
        return replace(request, read=lambda frame: answers_from_wire(frame, grid))

    def propagate(self, key: str, objects: Sequence[RunObject], course: Course) -> Request:
        """Masks on the slices of a reach."""
        restored = self._restored(key, objects)
        request = requests.propagate(
            key, restored, course.span, course.stop, course.only, course.settings, course.tentative
        )
        if not course.tentative:
            return self._noting(request, key, course.reach)
        self._drawnIn(key).tryOut()
        return self._noting(request, key, course.reach)

    def redraw(self, key: str, objects: Sequence[RunObject], look: Look) -> Request:
        """Masks from what the worker has kept. Raises PromptError if a worker that is gone had drawn some of them."""
        restored = self._restored(key, objects)
        self._requireKept(key, look.objectId)
        request = requests.redraw(key, restored, look.objectId, look.drawing, look.near)
        return self._noting(request, key, NOWHERE)

    def disagreement(self, key: str, objectId: int) -> Request:
        """Where three axes disagreed on an object. Raises PromptError if a worker that is gone had followed it."""
        self._requireKept(key, objectId)
        grid = self._openings.grid(key)
        return replace(requests.disagreement(key, objectId), read=lambda frame: DisagreementMap.from_wire(frame, grid))

    def readStep(self, key: str, frame: Frame) -> Step:
        """A step of a propagation, or of drawing again. Raises WorkerError."""
        step = step_from_wire(frame, self._openings.grid(key))
        self._drawnIn(key).noteStep(step, self._openings.run)
        return step

    def _requireKept(self, key: str, objectId: int) -> None:
        if self._drawnIn(key).isLost(objectId, self._openings.run):
            raise PromptError(
                "Propagate again first: the model process was restarted, and its results are no longer in memory."
            )

    def _noting(self, request: Request, key: str, reach: Reach) -> Request:
        slices, drawn, run = self._openings.grid(key)[0], self._drawnIn(key), self._openings.run
        return replace(
            request, read=lambda frame: drawn.completed(Propagated.from_wire(frame.header, slices), reach, run)
        )

    def _restored(self, key: str, objects: Sequence[RunObject]) -> list[RunObject]:
        drawn = self._drawnIn(key)
        drawn.noteRequest(objects)
        return drawn.restored(objects, self._openings.run)

    def _drawnIn(self, key: str) -> Drawn:
        if key not in self._drawn:
            self._drawn[key] = Drawn(self._openings.grid(key)[1:], self._openings.pixelMm2(key))
        return self._drawn[key]
