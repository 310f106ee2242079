"""The worker as Slicer's side uses it: ask, get answers in callbacks; started, restarted and brought back unasked."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medsam2_core.errors import MedSAM2Error
from medsam2_core.run.prompts import RunObject
from medsam2_core.run.settings import usual
from medsam2_core.stopping import StopRules
from medsam2_core.worker.disagreement import DisagreementMap
from medsam2_core.worker.image_sets import SetAnswered, SetImage, SetStep, set_step_from_wire
from medsam2_core.worker.results import ObjectAnswer, Propagated, Step
from medsam2_core.worker.time_steps import TimeStep, time_step_from_wire
from medsam2_core.worker.wire import Frame, Header
from MedSAM2SlicerLib.worker import requests
from MedSAM2SlicerLib.worker.callqueue import CallQueue, State
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.connection import Timeouts
from MedSAM2SlicerLib.worker.opening import Opening, Openings, SessionWish, SetWish
from MedSAM2SlicerLib.worker.requests import ModelWish, Request, TimeWish, Volume
from MedSAM2SlicerLib.worker.sessions import Course, Look, Sessions
from MedSAM2SlicerLib.worker.transports import Transport, nothing
from MedSAM2SlicerLib.worker.workerlog import WorkerLog


class WorkerClient:
    """One worker, its sessions, and the calls that wait for it.

    Methods return at once; callbacks come from `pump` or the event loop of the transport, on the thread that uses the
    client, never while another of them runs; only `cancel` and `stop` end calls at once. Errors come as `MedSAM2Error`
    to `onError`. A worker that dies is started again, gets back what it had, and repeats its request, up to three
    times; steps may come again then. Call `tick` about once a second, else time-outs are not noticed.
    """

    def __init__(
        self,
        transportFactory: Callable[[WorkerLog], Transport],
        command: Sequence[str],
        logPath: Path,
        environment: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = WorkerLog(logPath)
        self._openings = Openings()
        self._sessions = Sessions(self._openings)
        forget, patience = self._openings.forgetWorker, timeouts or Timeouts()
        self._queue = CallQueue(transportFactory, command, self.log, environment, patience, clock, forget)
        self.stateChanged = self._queue.stateChanged  # State
        self.restarted = self._queue.restarted  # why, one sentence
        self.noticed = self._queue.noticed  # what the worker did unasked, such as using less memory: one sentence

    @property
    def state(self) -> State:
        """What the worker is doing."""
        return self._queue.state

    @property
    def isReady(self) -> bool:
        """Whether the worker has the chosen model open; until then it is being started, or will be."""
        return self._openings.isModelOpen

    @property
    def modelFacts(self) -> Header | None:
        """The worker's last word on its model: name, sha256, image_size, device, precision, field_of_view,
        parameters.
        """
        return self._openings.facts

    def setCommand(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start workers with another command from now on; one that runs is stopped if the command differs."""
        self._queue.setCommand(command, environment)

    def setModel(self, model: str, device: str = "auto", imageSize: int | None = None, precision: str = "auto") -> None:
        """Choose the model for what follows: a catalog name, or a path on the worker's computer."""
        self._openings.model = ModelWish(model, device, imageSize, precision)

    def setVolume(self, key: str, volume: Volume) -> None:
        """Remember a volume by a key; one that does not equal it replaces it. It is sent when it is needed."""
        if self._openings.volumes.get(key) != volume:
            self._sessions.forget(*self._openings.sessionsOf(key))
        self._openings.volumes[key] = volume

    def openSession(self, key: str, volumeKey: str, axis: int, settings: Mapping[str, Any] | None = None) -> None:
        """Remember a session on the slices along an array axis; with other settings it starts over.

        `settings` are those of the part "session", see `RunSettings`; None for the usual ones.
        """
        wish = SessionWish(volumeKey, axis, settings or usual("session"))
        if self._openings.sessions.get(key) != wish:
            self._openings.sessions[key] = wish
            self._sessions.forget(key)

    def closeSession(self, key: str) -> None:
        """Forget a session, here and in the worker."""
        self._openings.sessions.pop(key, None)
        self._sessions.forget(key)
        self._close("session", key)

    def closeVolume(self, key: str, sessions: Collection[str]) -> None:
        """Forget these sessions on a volume, here and in the worker, and the volume unless it has others."""
        for name in self._openings.sessionsOf(key):
            if name in sessions:
                self.closeSession(name)
        if not self._openings.sessionsOf(key):
            self._openings.volumes.pop(key, None)
            self._close("volume", key)

    def setImages(
        self,
        key: str,
        images: Sequence[SetImage],
        order: str = "free",
        memory: str = "self-sorting",
        seed: int | None = None,
    ) -> None:
        """Remember a set of images by a key; order, memory and seed as in `ImageSetSession`."""
        self._openings.sets[key] = SetWish(tuple(images), {"order": order, "memory": memory, "seed": seed})

    def closeImages(self, key: str) -> None:
        """Forget a set, here and in the worker."""
        self._openings.sets.pop(key, None)
        self._close("set", key)

    def prepare(
        self,
        sessionKey: str | None = None,
        onDone: Callable[[Header | None], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Open the model, and a session with its volume, ahead of need; done with `modelFacts`."""
        missing = self._missing(sessionKey)
        return self._enqueue(missing, lambda: requests.STATUS, lambda _: onDone(self.modelFacts), onError)

    def look(self, sessionKey: str, sliceIndex: int) -> Call:
        """Open a session and have the worker see a slice, ahead of its first prompt; what goes wrong then shows."""
        return self._enqueue(self._missing(sessionKey), lambda: requests.look(sessionKey, sliceIndex), nothing, nothing)

    def predict(
        self,
        sessionKey: str,
        sliceIndex: int,
        objects: Sequence[RunObject],
        onDone: Callable[[tuple[ObjectAnswer, ...]], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Ask for masks on a slice. `objects` are all of the session's with all their prompts; others are forgotten."""
        make = partial(self._sessions.predict, sessionKey, sliceIndex, objects)
        return self._enqueue(self._missing(sessionKey), make, onDone, onError)

    def propagate(
        self,
        sessionKey: str,
        objects: Sequence[RunObject],
        first: int,
        last: int,
        stop: StopRules | None = None,
        onStep: Callable[[Step], None] = nothing,
        onDone: Callable[[Propagated], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
        only: Collection[int] | None = None,
        tentative: bool = False,
        **settings: Any,
    ) -> Call:
        """Carry the objects through slices first <= index < last; `objects` as in `predict`.

        With `only` just these run, by label; the others keep what they have drawn. The region of `stop` is on the
        volume's grid (k, j, i). `settings` are the others of the part "run", see `RunSettings`.
        After a cancel it is done too, with what it has; of a `tentative` one the worker keeps nothing then, unless it
        is told to. The result lists all slices of the objects that ran.
        """
        course = Course((first, last), stop or StopRules(), only, {**usual("run"), **settings}, tentative)
        return self._stepping(
            sessionKey, partial(self._sessions.propagate, sessionKey, objects, course), onStep, onDone, onError
        )

    def redraw(
        self,
        sessionKey: str,
        objects: Sequence[RunObject],
        objectId: int,
        drawing: Mapping[str, Any] | None = None,
        onStep: Callable[[Step], None] = nothing,
        onDone: Callable[[Propagated], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
        near: int | None = None,
    ) -> Call:
        """Draw one of the session's objects again, from what propagations left, without running the model.

        `drawing` has the settings of the part "drawing", see `RunSettings`; None for the usual ones. The slice `near`
        comes first. Slices with a mask as prompt are not drawn again. PromptError if the worker that had propagated is
        gone.
        """
        make = partial(self._sessions.redraw, sessionKey, objects, Look(objectId, drawing or usual("drawing"), near))
        return self._stepping(sessionKey, make, onStep, onDone, onError)

    def disagreement(
        self,
        sessionKey: str,
        objectId: int,
        onDone: Callable[[DisagreementMap], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Ask where three axes disagreed on an object; PromptError if the worker that had followed it is gone."""
        make = partial(self._sessions.disagreement, sessionKey, objectId)
        return self._enqueue(self._missing(sessionKey), make, onDone, onError)

    def segmentImages(
        self,
        setKey: str,
        objects: Sequence[RunObject],
        onStep: Callable[[SetStep], None] = nothing,
        onDone: Callable[[SetAnswered], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Segment all images of a set. `objects` hold all prompts, whose slices are images by their place in the set.

        A prompt with an empty mask says that the object is absent there. After a cancel, which takes no longer than an
        image, it is done too, with what it has.
        """
        make = partial(requests.segmentSet, setKey, objects)
        wish = self._openings.sets.get(setKey)  # now: answers may still come when the set was closed
        readStep = partial(set_step_from_wire, shapes=wish.shapes if wish else [])
        return self._enqueue(lambda: self._openings.nextForSet(setKey), make, onDone, onError, readStep, onStep)

    def throughTime(
        self,
        wish: TimeWish,
        objects: Sequence[RunObject],
        onStep: Callable[[TimeStep], None] = nothing,
        onDone: Callable[[bool], None] = nothing,
        onError: Callable[[MedSAM2Error], None] = nothing,
    ) -> Call:
        """Carry objects from the masks that they have in a moment, as mask prompts, to all others.

        The volumes are set before (else WorkerError). After a cancel it is done too, without the moment at hand; the
        result is whether.
        """
        openings = self._openings
        grid = requests.grid(openings.volume(wish.volumeKeys[wish.start]), wish.axis)
        readStep = partial(time_step_from_wire, moments=len(wish.volumeKeys), grid=grid)
        make = partial(requests.throughTime, wish, objects)
        return self._enqueue(lambda: openings.nextForVolumes(wish.volumeKeys), make, onDone, onError, readStep, onStep)

    def status(
        self, onDone: Callable[[Header], None] = nothing, onError: Callable[[MedSAM2Error], None] = nothing
    ) -> Call:
        """Ask what the worker has open, and the memory it takes."""
        return self._enqueue(lambda: None, lambda: requests.STATUS, onDone, onError)

    def cancel(self, call: Call, keep: bool = False) -> None:
        """End a call; see `Call.cancel`."""
        self._queue.cancel(call, keep)

    def pump(self, seconds: float) -> None:
        """Wait up to `seconds` for something to happen and deliver it. Raises nothing of its own."""
        self._queue.pump(seconds)

    def tick(self) -> None:
        """Look at the clock."""
        self._queue.tick()

    def stop(self) -> None:
        """Stop the worker, waiting up to `timeouts.shutdown`; calls end with Cancelled. The next call starts one."""
        self._queue.stop()

    def _stepping(
        self,
        sessionKey: str,
        make: Callable[[], Request],
        onStep: Callable[[Step], None],
        onDone: Callable[[Propagated], None],
        onError: Callable[[MedSAM2Error], None],
    ) -> Call:
        readStep = partial(self._sessions.readStep, sessionKey)
        return self._enqueue(self._missing(sessionKey), make, onDone, onError, readStep, onStep)

    def _missing(self, sessionKey: str | None) -> Callable[[], Opening | None]:
        return lambda: self._openings.next(sessionKey)

    def _close(self, kind: str, key: str) -> None:
        if self._queue.hasWorker:
            self._enqueue(lambda: self._openings.closing(kind, key), lambda: requests.STATUS, nothing, nothing)

    def _enqueue(
        self,
        missing: Callable[[], Opening | None],
        make: Callable[[], Request],
        onDone: Callable[[Any], None],
        onError: Callable[[MedSAM2Error], None],
        readStep: Callable[[Frame], Any] | None = None,
        onStep: Callable[[Any], None] = nothing,
    ) -> Call:
        call = Call(self._queue, missing, make, onDone, onError, readStep, onStep)
        self._queue.add(call)
        return call
