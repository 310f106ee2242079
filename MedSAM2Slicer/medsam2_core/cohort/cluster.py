"""A cohort on a cluster that Dask runs: each case is a task, and each of Dask's workers keeps its model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.running import Models
from medsam2_core.cohort.worker import Worker
from medsam2_core.errors import WorkerError
from medsam2_core.job.sentences import EXPECTED, sentence_of
from medsam2_core.stopping import CancelToken

_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 30
_GPU = {"GPU": 1}


@dataclass
class Scheduler:
    """Runs cases as tasks of the scheduler at `address`, which may be the file that it wrote. See `Machine`.

    Dask's workers and this process see the results and images under the same paths. A worker runs one case at a time.
    """

    results: Results
    address: str
    stop: CancelToken
    say: Callable[[Case, str | None], None]
    loads: int = 0

    def run(self, cases: Sequence[Case]) -> None:
        """Run the cases until all are settled or somebody stops it.

        Raises WorkerError where there is no scheduler, or where a worker cannot write results.
        """
        distributed = _distributed()
        folder = self.results.folder.resolve()
        with self._client(distributed) as client:
            resources = _GPU if _has_gpus(client) else None
            tasks = {
                client.submit(run_case, folder, case, key=f"{case.name}-{case.digest[:16]}", resources=resources): case
                for case in cases
            }
            while tasks and not self.stop.cancelled:
                with suppress(TimeoutError, distributed.TimeoutError):
                    distributed.wait(list(tasks), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED")
                for task in [one for one in tasks if one.done()]:
                    self._note(distributed, task, tasks.pop(task))
            client.cancel(list(tasks))

    def _client(self, distributed: Any) -> Any:
        is_file = self.address.endswith(".json")
        where = {"scheduler_file": self.address} if is_file else {"address": self.address}
        try:
            if is_file:  # which Dask waits for, however long
                Path(self.address).stat()
            return distributed.Client(**where, timeout=_CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise WorkerError(
                f"No Dask scheduler answers at {self.address}: start one with `dask scheduler`, and give its address "
                "or its --scheduler-file."
            ) from error

    def _note(self, distributed: Any, task: Any, case: Case) -> None:
        """Hear how a task ended. Raises WorkerError where it could not do its work."""
        error = task.exception()
        if error is None:
            failed, loads = task.result()
            self.loads += loads
            self.say(case, failed)
        elif isinstance(error, distributed.KilledWorker):
            sentence = "Dask's workers ended again and again in this case, perhaps for lack of memory: use larger ones."
            self.results.note_failure(case, sentence)
            self.say(case, sentence)
        else:
            raise WorkerError(sentence_of(error) or f"A task of Dask ended unexpectedly: {error!r}.") from error


@dataclass
class _Kept:
    """What a worker of Dask keeps from case to case."""

    models: Models = field(default_factory=Models)
    lock: threading.Lock = field(default_factory=threading.Lock)


@cache
def _kept() -> _Kept:
    """That of this process."""
    return _Kept()


def run_case(folder: Path, case: Case) -> tuple[str | None, int]:
    """Run a case, in a worker of Dask; why it failed, and how often a model was loaded for it."""
    results, ends = Results(folder), list[str | None]()
    kept = _kept()
    with kept.lock:
        before = kept.models.loads
        worker = Worker(results, Claims(results.claims_folder), CancelToken(), lambda _, failed: ends.append(failed))
        worker.models = kept.models
        try:
            worker.run([case])
        except EXPECTED as error:  # one that goes through Dask as it is may not be read again on the other side
            raise WorkerError(sentence_of(error) or repr(error)) from None
        loads = kept.models.loads - before
    if ends:
        return ends[0], loads
    failure = results.failure(case)  # another process was faster
    return None if failure is None else str(failure["failed"]), loads


def _distributed() -> Any:
    """The package of Dask that has its scheduler. Raises WorkerError where it is not installed."""
    try:
        import distributed
    except ImportError as error:
        raise WorkerError("Dask is not installed here: run `pip install 'medsam2slicer[cluster]'`.") from error
    return distributed


def _has_gpus(client: Any) -> bool:
    """Whether the scheduler's workers say that they have a GPU each."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any("GPU" in worker.get("resources", {}) for worker in workers)
