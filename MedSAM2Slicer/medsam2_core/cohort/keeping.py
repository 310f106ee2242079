"""What a worker of Dask keeps from case to case: its model, as a plugin of the worker. Imported only where Dask is."""

from __future__ import annotations

import threading
from typing import cast

from distributed import WorkerPlugin, get_worker

from medsam2_core.cohort.running import Models

NAME = "medsam2-models"


class KeptModels(WorkerPlugin):
    """The models of a worker, and a lock: it runs one case at a time, whatever its number of threads."""

    name = NAME
    idempotent = True  # a second command on the same scheduler finds what the first one left

    def setup(self, worker: object) -> None:
        """Make them in the worker, which a plugin is sent to."""
        self.models, self.lock = Models(), threading.Lock()


def kept_models() -> KeptModels:
    """Those of the worker that this task runs in."""
    return cast(KeptModels, get_worker().plugins[NAME])
