"""`medsam2 batch`: the cases of a table, one after the other or on many machines, and a report to look at."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from medsam2_core.cli.edge import INCOMPLETE, INTERRUPTED, REFUSED
from medsam2_core.cli.room import require_address_space
from medsam2_core.counting import are, counted
from medsam2_core.errors import PromptError
from medsam2_core.feature_place import feature_place
from medsam2_core.job.options import add_shared_options
from medsam2_core.job.paths import lies_in, path_argument

if TYPE_CHECKING:
    from medsam2_core.cohort.cases import Case
    from medsam2_core.cohort.cluster import Scheduler
    from medsam2_core.cohort.machine import Machine
    from medsam2_core.cohort.results import Results
    from medsam2_core.stopping import CancelToken

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """the table, a row for each case and object (.csv, or .json with a list of rows):
  case,image,object,box,window
  p001,ct/p001.nii.gz,liver,"89,211,370,388@43",abdomen
  p001,ct/p001.nii.gz,spleen,"360,280,420,350@60",
Its columns are the options of medsam2 propagate, and image, case and reference (a mask to compare with); files are
relative to the table. Several points stand in a cell with blanks between them.

examples:
  medsam2 batch --init my-cts                     write my-cts/cohort.csv, to be filled in
  medsam2 batch my-cts/cohort.csv --output results
  medsam2 batch cohort.csv --output results --part 3/8        one of eight jobs on a cluster; see docs/cohorts.md

Running it again does what is not done or has changed. Exit codes: 0 all done, 2 refused, 3 some cases failed, 130
interrupted. Not for clinical use.
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add `batch`; it sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "batch",
        help="segment the cases of a table, and report what to check",
        description="Segment the cases of a table, resumed after any interruption, and report what to check.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=batch)
    parser.add_argument("cohort", type=path_argument, nargs="?", metavar="COHORT", help="a table, or a folder of cases")
    parser.add_argument(
        "--init", type=path_argument, metavar="FOLDER", help="write a table of a folder's cases, to be filled in"
    )
    parser.add_argument(
        "--output", type=path_argument, metavar="DIR", help="folder of the results; of --init, the table's file"
    )
    parser.add_argument("--check", action="store_true", help="check the table and run nothing")
    parser.add_argument("--retry-failed", action="store_true", help="run the cases that failed again")
    parser.add_argument(
        "--workers", type=_count, metavar="N", help="processes on this machine (default: one per GPU, or 1)"
    )
    parser.add_argument("--part", type=_part, default=(1, 1), metavar="I/N", help="begin with the I-th of N parts")
    parser.add_argument("--scheduler", metavar="ADDRESS|FILE.json", help="run the cases on a Dask scheduler's workers")
    parser.add_argument(
        "--cluster",
        choices=("local", "ssh", "slurm"),
        help="start Dask's workers for this: --workers processes here, one on each of --hosts, or --workers jobs",
    )
    parser.add_argument("--hosts", type=_hosts, metavar="A,B", help="of --cluster ssh; the first has the scheduler too")
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="write the segmentations of DICOM series as DICOM too (CASE/segmentation.dcm), as drawn or accepted",
    )
    parser.add_argument("--quiet", action="store_true", help="show no line for each case")
    add_shared_options(parser)


def batch(arguments: argparse.Namespace) -> int:
    """Check the table, run what is to be run, write the report; returns the exit code."""
    if arguments.init is not None:
        return _write_table(arguments)
    if arguments.cohort is None or (arguments.output is None and not arguments.check):
        raise PromptError("Give a table and --output DIR, or --init FOLDER to write a table.")
    _check_engine(arguments)
    feature_place()  # refused once, not case by case
    require_address_space()
    cases = _checked_cases(arguments)
    if cases is None:
        return REFUSED
    if arguments.check:
        print(f"{arguments.cohort}: {counted(len(cases), 'case')}, and nothing is wrong.")
        return 0
    return _run(arguments, cases)


def _check_engine(arguments: argparse.Namespace) -> None:
    """Raise PromptError for options that contradict each other."""
    if arguments.cluster is not None and arguments.scheduler is not None:
        raise PromptError("--cluster starts a scheduler of its own: give it or --scheduler.")
    if (arguments.cluster == "ssh") != (arguments.hosts is not None):
        raise PromptError("--cluster ssh and --hosts A,B belong together: give both or neither.")


def _write_table(arguments: argparse.Namespace) -> int:
    from medsam2_core.cohort.finding import TABLE, write_table

    path = arguments.output or arguments.init / TABLE
    if not lies_in(path, arguments.init):
        raise PromptError(f"{path}: Files in a table are relative to it: put it into {arguments.init}.")
    count = write_table(arguments.init, path)
    print(f"Written: {path}, {counted(count, 'row')}. Fill in a point, box, mask, markups or prompts for each.")
    return 0


def _checked_cases(arguments: argparse.Namespace) -> list[Case] | None:
    """The cases of the table; None after telling everything that is wrong with it."""
    from medsam2_core.cohort.cohort import read_cohort

    cases, problems = read_cohort(arguments.cohort, arguments, arguments.output)
    if not problems:
        return cases
    for problem in problems:
        print(problem, file=sys.stderr)
    print(
        f"medsam2: {arguments.cohort} has {counted(len(problems), 'problem')}, and nothing was run: correct them.",
        file=sys.stderr,
    )
    return None


def _run(arguments: argparse.Namespace, cases: list[Case]) -> int:
    from medsam2_core.cli.signals import stopping
    from medsam2_core.cohort.cohort import finish, start
    from medsam2_core.cohort.machine import Share
    from medsam2_core.io.dicom.segmentation import require_highdicom
    from medsam2_core.stopping import CancelToken

    stop = CancelToken()
    if arguments.dicom:
        require_highdicom()
    results = start(arguments.output, cases, retry=arguments.retry_failed)
    told = _Progress(results, cases, arguments.quiet)
    engine = _engine(arguments, results, stop, told.case)
    with stopping(stop):
        engine.run([case for case in cases if not results.is_settled(case)])
    done, failed = finish(results, cases)
    if stop.cancelled:
        kept = f"{done} of {counted(len(cases), 'case')} {are(len(cases))} done"
        print(f"Interrupted: {kept}; the same command goes on.", file=sys.stderr)
        return INTERRUPTED
    uncopied = _write_dicom(results, Share(*arguments.part).order(cases)) if arguments.dicom else 0
    if not arguments.quiet:
        failures = f", {failed} failed (try them again with --retry-failed)" if failed else ""
        loads = f"; models were loaded {counted(engine.loads, 'time')}" if engine.loads else ""
        print(f"{done} of {counted(len(cases), 'case')} done{failures}{loads}.")
        print(f"Written: {results.folder / 'index.html'}")
    return INCOMPLETE if failed or uncopied else 0


def _write_dicom(results: Results, cases: list[Case]) -> int:
    """Write segmentations as DICOM, saying which cannot be; returns how many."""
    from medsam2_core.cohort.dicom import write_copies

    return write_copies(results, cases, lambda case, why: print(f"{case.name}: {why}", file=sys.stderr))


def _engine(
    arguments: argparse.Namespace, results: Results, stop: CancelToken, say: Callable[[Case, str | None], None]
) -> Machine | Scheduler:
    """What runs the cases."""
    from medsam2_core.cohort.cluster import Scheduler
    from medsam2_core.cohort.machine import Machine, Share

    connect = _connection(arguments)
    if connect is not None:
        return Scheduler(results, connect, stop, say)
    return Machine(results, _environments(arguments), Share(*arguments.part), stop, say)


def _connection(arguments: argparse.Namespace) -> Callable[[], AbstractContextManager[Any]] | None:
    """How Dask is reached, if it is to run the cases."""
    from medsam2_core.cohort import clients

    if arguments.scheduler is not None:
        return partial(clients.scheduler_client, arguments.scheduler)
    if arguments.cluster == "local":
        return partial(clients.local_client, arguments.workers or 1)
    if arguments.cluster == "ssh":
        return partial(clients.ssh_client, arguments.hosts)
    return None if arguments.cluster is None else partial(clients.slurm_client, arguments.workers or 1)


class _Progress:
    """A line for each case that ends."""

    def __init__(self, results: Results, cases: list[Case], quiet: bool) -> None:
        self._quiet, self._count = quiet, len(cases)
        failed = 0 if quiet else sum(results.failure(case) is not None for case in cases)
        self._ended = 0 if quiet else sum(results.is_settled(case) for case in cases)
        if self._ended:
            failures = f", and {failed} failed before" if failed else ""
            done = self._ended - failed
            print(f"{done} of {counted(self._count, 'case')} {are(self._count)} done already{failures}.", flush=True)

    def case(self, case: Case, failed: str | None) -> None:
        self._ended += 1
        if not self._quiet or failed:
            line = f"{self._ended}/{self._count} {case.name}" + (f": failed: {failed}" if failed else "")
            print(line, file=sys.stderr if failed else sys.stdout, flush=True)


def _environments(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """The variables of each worker process: its GPU where there are several, else its share of the cores."""
    import torch

    gpus = torch.cuda.device_count() if arguments.device in (None, "auto", "cuda") else 0
    count = arguments.workers or max(1, gpus)
    if gpus > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = visible if len(visible) == gpus else [str(index) for index in range(gpus)]
        return [{"CUDA_VISIBLE_DEVICES": names[place % gpus]} for place in range(count)]
    if count == 1 or "OMP_NUM_THREADS" in os.environ:
        return [{} for _ in range(count)]
    return [{"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))} for _ in range(count)]


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes: give 1 to 256")
    return int(text)


def _hosts(text: str) -> list[str]:
    hosts = [name.strip() for name in text.split(",")]
    if not all(hosts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of hosts: write names with commas between them")
    return hosts


def _part(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part: write I/N with I from 1 to N, such as 3/8")
    return int(number), int(count)
