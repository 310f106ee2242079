"""The workers of this machine: processes that are started, watched, and started again when something kills them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.worker import Worker
from medsam2_core.errors import WorkerError
from medsam2_core.job.sentences import EXPECTED, sentence_of
from medsam2_core.stopping import CancelToken

MOST_DEATHS = 3
"""A case that workers died of so often is recorded as failed, and the rest goes on."""

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Share:
    """Where a process begins in the list: part `number` of `count`, from 1. What others leave it takes too."""

    number: int = 1
    count: int = 1

    def order(self, cases: Sequence[Case]) -> list[Case]:
        """Its own cases, then those of the others, from the end."""
        own = list(cases[self.number - 1 :: self.count])
        mine = {case.name for case in own}
        return own + [case for case in reversed(cases) if case.name not in mine]


@dataclass(frozen=True)
class Report:
    """What a worker tells: a case that ended and why it failed; or a sentence that ended the worker; or its loads."""

    case: Case | None = None
    failed: str | None = None
    ended: str | None = None
    loads: int = 0


@dataclass(frozen=True)
class _Started:
    """A worker process, and what it tells."""

    process: BaseProcess
    told: Connection


@dataclass
class Machine:
    """Runs cases in worker processes. `say` is told of each case that ends; `environments` are those of the workers."""

    results: Results
    environments: Sequence[dict[str, str]]
    share: Share
    stop: CancelToken
    say: Callable[[Case, str | None], None]
    loads: int = 0
    _deaths: Counter[str] = field(default_factory=Counter)

    def run(self, cases: Sequence[Case]) -> None:
        """Run the cases until all are settled or somebody stops it.

        Raises WorkerError, with the sentence that ended a worker, or if workers die without a case of theirs.
        """
        places = range(min(len(self.environments), len(cases)))
        workers = {place: self._start(place, cases) for place in places}
        try:
            while workers:
                wait([one.told for one in workers.values()], _LOOK_SECONDS)
                for place, one in list(workers.items()):
                    if self.stop.cancelled:
                        one.process.terminate()
                    if self._has_ended(one):
                        del workers[place]
                        if one.process.exitcode and not self.stop.cancelled:
                            self._note_death(one.process, cases)
                            workers[place] = self._start(place, cases)
        finally:
            for one in workers.values():
                one.process.terminate()
            for one in workers.values():
                one.process.join()

    def _has_ended(self, one: _Started) -> bool:
        """Hear what a worker has told, and whether it is gone."""
        has_ended = not one.process.is_alive()  # before the last of what it told is heard
        self._listen(one)
        if has_ended:
            one.process.join()
            one.told.close()
        return has_ended

    def _start(self, place: int, cases: Sequence[Case]) -> _Started:
        context = multiprocessing.get_context("spawn")
        told, tells = context.Pipe(duplex=False)  # one each: a queue is of no use once a process was killed at it
        count = len(self.environments)
        share = Share((self.share.number - 1) * count + place + 1, self.share.count * count)
        with _environment(self.environments[place]):
            process = context.Process(target=work, args=(self.results.folder, share.order(cases), tells), daemon=True)
            process.start()
        tells.close()
        return _Started(process, told)

    def _listen(self, one: _Started) -> None:
        """Hear what a worker has told. Raises WorkerError if it had to end."""
        with suppress(EOFError, OSError):  # it ended, perhaps in the middle of a word
            while one.told.poll():
                report: Report = one.told.recv()
                self.loads += report.loads
                if report.ended is not None:
                    raise WorkerError(report.ended)
                if report.case is not None:
                    self.say(report.case, report.failed)

    def _note_death(self, process: BaseProcess, cases: Sequence[Case]) -> None:
        claims = Claims(self.results.claims_folder)
        names = claims.held_by(process.pid or 0)
        how = _how_it_ended(process.exitcode or 0)
        if not names:
            self._deaths[""] += 1
            if self._deaths[""] >= MOST_DEATHS:
                raise WorkerError(f"Worker processes end before they are given a case ({how}): run `medsam2 doctor`.")
        for name in names:
            self._deaths[name] += 1
            case = next((one for one in cases if one.name == name), None)
            if self._deaths[name] >= MOST_DEATHS and case is not None:
                sentence = (
                    f"The worker process ended {MOST_DEATHS} times in this case ({how}), perhaps for lack of memory: "
                    "use a smaller image or model, or fewer --workers."
                )
                self.results.note_failure(case, sentence)
                self.say(case, sentence)


def work(folder: Path, cases: Sequence[Case], tells: Connection) -> None:
    """The life of a worker process: run cases, in this order, and tell of them."""
    stop, parent = CancelToken(), multiprocessing.parent_process()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.cancel())

    def watch() -> None:
        """End with the process that started it: without that nobody would hear of what it does."""
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    results = Results(folder)
    worker = Worker(results, Claims(results.claims_folder), stop, lambda case, failed: tells.send(Report(case, failed)))
    try:
        worker.run(cases)
    except EXPECTED as error:
        tells.send(Report(ended=sentence_of(error) or f"A worker ended unexpectedly: {error!r}."))
    tells.send(Report(loads=worker.models.loads))


def _how_it_ended(code: int) -> str:
    with suppress(ValueError):
        if code < 0:
            return f"it got {signal.Signals(-code).name}"
    return f"exit code {code}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that a process that is started now has from its first moment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
