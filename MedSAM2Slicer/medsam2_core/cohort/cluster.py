"""A cohort on a cluster that Dask runs: each case is a task, and each of Dask's workers keeps its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam2_core.cohort import clients
from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.worker import Worker
from medsam2_core.errors import WorkerError
from medsam2_core.job.sentences import EXPECTED, sentence_of
from medsam2_core.stopping import CancelToken

_LOOK_SECONDS = 0.5
_GPU = {"GPU": 1}


@dataclass
class Scheduler:
    """Runs cases as tasks of the scheduler that `connect` makes a client of. See `Machine`.

    Dask's workers and this process see the results and images under the same paths. A worker runs one case at a time.
    """

    results: Results
    connect: Callable[[], AbstractContextManager[Any]]
    stop: CancelToken
    say: Callable[[Case, str | None], None]
    loads: int = 0

    def run(self, cases: Sequence[Case]) -> None:
        """Run the cases until all are settled or somebody stops it.

        Raises WorkerError where there is no scheduler, or where a worker cannot write results.
        """
        folder = self.results.folder.resolve()
        with self.connect() as client:
            distributed = clients.distributed()
            client.register_plugin(_plugin())
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


def _plugin() -> Any:
    from medsam2_core.cohort.keeping import KeptModels  # needs Dask

    return KeptModels()


def run_case(folder: Path, case: Case) -> tuple[str | None, int]:
    """Run a case, in a worker of Dask; why it failed, and how often a model was loaded for it."""
    from medsam2_core.cohort.keeping import kept_models

    results, ends = Results(folder), list[str | None]()
    kept = kept_models()
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


def _has_gpus(client: Any) -> bool:
    """Whether the scheduler's workers say that they have a GPU each."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any("GPU" in worker.get("resources", {}) for worker in workers)
