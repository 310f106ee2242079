"""A worker of a cohort: claims one case after the other and runs it, until none is left that it could take."""

from __future__ import annotations

import errno
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.claims import TOUCH_SECONDS, Claim, Claims
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.running import Models, Prepared, compute, prepare, write
from medsam2_core.errors import Cancelled
from medsam2_core.job.sentences import sentence_of
from medsam2_core.notices import told
from medsam2_core.stopping import CancelToken

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Worker:
    """Runs the cases that nobody else has. `say` is told of each that ends: the case, and why it failed or None.

    `poll` seconds pass between two looks at cases that others run, who may die of it.
    """

    results: Results
    claims: Claims
    stop: CancelToken
    say: Callable[[Case, str | None], None]
    poll: float = 2.0
    models: Models = field(default_factory=Models)

    def run(self, cases: Sequence[Case]) -> None:
        """Go through the cases, in this order as far as others leave them, until all are settled.

        Raises VolumeError where results cannot be written, such as on a full disk.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
            ahead = _Ahead(reader, self.results)
            left = list(cases)
            while left and not self.stop.cancelled:
                taken = self._take(left)
                if taken is not None:
                    case, claim = taken
                    with _kept(claim):
                        self._settle(case, claim, ahead, left)
                elif left:
                    time.sleep(self.poll)
            ahead.drop()

    def _take(self, left: list[Case]) -> tuple[Case, Claim] | None:
        """The next case that can be had; those that are settled are taken off the list."""
        for case in list(left):
            if self.results.is_settled(case):
                left.remove(case)
                continue
            claim = self.claims.take(case.name)
            if claim is None:
                continue
            left.remove(case)
            if not self.results.is_settled(case):
                return case, claim
            self.results.discard(claim)  # it was settled in between
            claim.release()
        return None

    def _settle(self, case: Case, claim: Claim, ahead: _Ahead, left: Sequence[Case]) -> None:
        """Run a claimed case to its results, or to a note of why there are none."""
        try:
            self._run(case, claim, ahead, left)
        except Cancelled:
            pass
        except Exception as error:
            if _is_no_space(error):
                raise
            sentence = " ".join((sentence_of(error) or f"An unexpected error: {error!r}.").split())
            self.results.note_failure(case, sentence, "" if sentence_of(error) else traceback.format_exc())
            self.say(case, sentence)
        else:
            self.say(case, None)
        finally:
            self.results.discard(claim)
            claim.release()

    def _run(self, case: Case, claim: Claim, ahead: _Ahead, left: Sequence[Case]) -> None:
        notices = list[str]()
        folder = self.results.workplace(claim)
        prepared = ahead.get(case)
        with told(notices.append):
            model = self.models.get(prepared.plan)
        ahead.start(next((one for one in left if not self.claims.is_held(one.name)), None))
        outcome = compute(prepared, model, self.stop)
        ahead.wait()  # notices are of the whole process: two threads must not gather them at once
        with told(notices.append):
            write(prepared, outcome, folder, notices)
        self.results.commit(case, claim, folder)


@dataclass
class _Ahead:
    """Reads the case that most likely comes next, while another one is computed."""

    reader: ThreadPoolExecutor
    results: Results
    _case: Case | None = None
    _future: Future[Prepared] | None = None

    def start(self, case: Case | None) -> None:
        """Begin to read a case."""
        self._case = case
        self._future = None if case is None else self.reader.submit(prepare, case, self.results.scratch())

    def get(self, case: Case) -> Prepared:
        """A case that was read; reads it now if it was another one. Raises what reading it raises."""
        future, known = self._future, self._case
        self.drop()
        return future.result() if future is not None and known is case else prepare(case, self.results.scratch())

    def wait(self) -> None:
        """Wait until it is read; what is wrong with it is told when it is its turn."""
        if self._future is not None:
            self._future.exception()

    def drop(self) -> None:
        """Let go of what was read."""
        self.wait()
        self._case = self._future = None


@contextmanager
def _kept(claim: Claim) -> Iterator[None]:
    """Touch a claim every few seconds for others to see."""
    done = threading.Event()

    def touch() -> None:
        while not done.wait(TOUCH_SECONDS):
            claim.touch()

    thread = threading.Thread(target=touch, name="claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_no_space(error: BaseException | None) -> bool:
    """Whether the disk is full, which is not a case's fault and would fail all others too."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return True
        error = error.__cause__
    return False
