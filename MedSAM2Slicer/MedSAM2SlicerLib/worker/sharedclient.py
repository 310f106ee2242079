"""The application's only worker, which several panels and scripts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from MedSAM2SlicerLib.worker.client import WorkerClient


class SharedClient:
    """Made for the first one who takes it; when the last one leaves, its process ends."""

    def __init__(self) -> None:
        self._client: WorkerClient | None = None
        self._users = 0

    def take(self, make: Callable[[], WorkerClient]) -> WorkerClient:
        """Return the client, made by `make` if there is none; `leave` once for each call."""
        if self._client is None:
            self._client = make()
        self._users += 1
        return self._client

    def leave(self) -> None:
        """Stop using it."""
        self._users -= 1
        if not self._users and self._client is not None:
            client, self._client = self._client, None
            client.stop()
