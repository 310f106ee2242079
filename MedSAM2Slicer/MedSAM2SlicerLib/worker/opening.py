"""What the worker has to have open, what it has, and the next request that brings it closer."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medsam2_core.errors import WorkerError
from medsam2_core.image.slicing import Slicing
from medsam2_core.worker.image_sets import SetImage
from medsam2_core.worker.results import Grid
from medsam2_core.worker.wire import Header
from MedSAM2SlicerLib.worker import requests
from MedSAM2SlicerLib.worker.requests import ModelWish, Request, Volume


@dataclass(frozen=True)
class SessionWish:
    """What a session is opened with: a volume, an array axis, and the settings of the part "session"."""

    volumeKey: str
    axis: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class SetWish:
    """What a set is opened with: its images, and the settings `order`, `memory` and `seed` of `ImageSetSession`.

    Images equal none but themselves: whoever asks for a set again hands in the same ones.
    """

    images: tuple[SetImage, ...]
    settings: Mapping[str, Any]

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Rows and columns of each image."""
        return [image.shape for image in self.images]


@dataclass(frozen=True)
class Opening:
    """A request, and what to note when the worker has done it."""

    request: Request
    done: Callable[[Header], None]


class Openings:
    """Model, volumes, sessions and sets: as wished, which outlives a worker, and as the running worker has them.

    The worker closes what is in the place of a new one before it opens that, which may fail: so an `Opening` is to be
    sent once it is made, and what it replaces is forgotten by then.
    """

    def __init__(self) -> None:
        self.model: ModelWish | None = None
        self.volumes: dict[str, Volume] = {}
        self.sessions: dict[str, SessionWish] = {}
        self.sets: dict[str, SetWish] = {}
        self.facts: Header | None = None
        """What the worker said of its model, the latest one."""
        self.run = 0
        """How often a model was opened. Each time, the worker's sessions start over."""
        self._openModel: ModelWish | None = None
        self._openVolumes: dict[str, Volume] = {}
        self._openSessions: dict[str, SessionWish] = {}
        self._openSets: dict[str, SetWish] = {}

    @property
    def isModelOpen(self) -> bool:
        """Whether the worker has the chosen model open."""
        return self.model is not None and self.model.isServedBy(self._openModel, self.facts or {})

    def forgetWorker(self) -> None:
        """Note that the worker is gone, and with it all that was open."""
        self._openModel = None
        self._openVolumes.clear()
        self._openSessions.clear()
        self._openSets.clear()

    def grid(self, sessionKey: str) -> Grid:
        """Slices, rows and columns of a session. Raises WorkerError for a key that is not known."""
        wish = self._wish(sessionKey)
        return requests.grid(self.volume(wish.volumeKey), wish.axis)

    def pixelMm2(self, sessionKey: str) -> float:
        """Area of a pixel of a session's slices."""
        wish = self._wish(sessionKey)
        return math.prod(Slicing(self.volume(wish.volumeKey).geometry, wish.axis).pixel_mm)

    def volume(self, key: str) -> Volume:
        """Return a volume as it was set. Raises WorkerError if it was not, or is forgotten."""
        if key not in self.volumes:
            raise WorkerError(f"There is no volume {key!r}: set it first.")
        return self.volumes[key]

    def sessionsOf(self, volumeKey: str) -> list[str]:
        """Keys of the sessions on a volume."""
        return [key for key, wish in self.sessions.items() if wish.volumeKey == volumeKey]

    def next(self, sessionKey: str | None) -> Opening | None:
        """What is to be opened next for a session, or for None the model; None if nothing is missing.

        Raises WorkerError if it was never said what to open.
        """
        if self.model is None:
            raise WorkerError("No model is chosen: choose one first.")
        if not self.isModelOpen:
            model, self._openModel = self.model, None
            return Opening(requests.openModel(model), lambda facts: self._noteModel(model, facts))
        if sessionKey is None:
            return None
        wish = self._wish(sessionKey)
        if self._openVolumes.get(wish.volumeKey) != self.volume(wish.volumeKey):
            return self._volumeOpening(wish.volumeKey)
        if self._openSessions.get(sessionKey) != wish:
            return self._sessionOpening(sessionKey, wish)
        return None

    def nextForSet(self, key: str) -> Opening | None:
        """As `next`, for a set of images."""
        if key not in self.sets:
            raise WorkerError(f"There is no set {key!r}: set its images first.")
        wish = self.sets[key]
        missing = self.next(None)
        if missing is not None or self._openSets.get(key) == wish:
            return missing
        self._openSets.pop(key, None)
        return Opening(requests.openSet(key, wish.images, wish.settings), lambda _: self._openSets.update({key: wish}))

    def nextForVolumes(self, keys: Sequence[str]) -> Opening | None:
        """As `next`, for volumes that no session is needed on."""
        missing = self.next(None)
        wanted = (key for key in keys if self._openVolumes.get(key) != self.volume(key))
        key = next(wanted, None) if missing is None else None
        return missing if key is None else self._volumeOpening(key)

    def closing(self, kind: str, key: str) -> Opening | None:
        """What closes a "session", "volume" or "set" in the worker; None if it is not open there."""
        opened: dict[str, Collection[str]] = {
            "session": self._openSessions,
            "volume": self._openVolumes,
            "set": self._openSets,
        }
        if key not in opened[kind]:
            return None
        return Opening(Request({"request": "close", kind: key}), lambda _: self._noteClosed(kind, key))

    def _volumeOpening(self, key: str) -> Opening:
        volume = self.volumes[key]
        self._noteClosed("volume", key)
        return Opening(requests.openVolume(key, volume), lambda _: self._openVolumes.update({key: volume}))

    def _sessionOpening(self, key: str, wish: SessionWish) -> Opening:
        self._openSessions.pop(key, None)
        header = {
            "request": "open_session",
            "session": key,
            "volume": wish.volumeKey,
            "axis": wish.axis,
            **wish.settings,
        }
        return Opening(Request(header), lambda _: self._openSessions.update({key: wish}))

    def _noteModel(self, model: ModelWish, facts: Header) -> None:
        self._openModel = model
        self._openSessions.clear()
        self._openSets.clear()
        self.run += 1
        self.facts = {name: value for name, value in facts.items() if name not in ("id", "event")}

    def _noteClosed(self, kind: str, key: str) -> None:
        if kind == "session":
            self._openSessions.pop(key, None)
            return
        if kind == "set":
            self._openSets.pop(key, None)
            return
        self._openVolumes.pop(key, None)
        self._openSessions = {name: wish for name, wish in self._openSessions.items() if wish.volumeKey != key}

    def _wish(self, sessionKey: str) -> SessionWish:
        if sessionKey not in self.sessions:
            raise WorkerError(f"There is no session {sessionKey!r}: open it first.")
        return self.sessions[sessionKey]
