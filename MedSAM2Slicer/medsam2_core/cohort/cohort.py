"""A cohort from its table to its report: what a command does before and after the workers."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from medsam2_core.cohort.cases import Case, make_cases
from medsam2_core.cohort.checking import problems_of
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.columns import shared_words
from medsam2_core.cohort.finding import find_cases
from medsam2_core.cohort.report import write_report
from medsam2_core.cohort.results import DONE, Results
from medsam2_core.cohort.table import Problem, read_table
from medsam2_core.errors import VolumeError
from medsam2_core.job.objects import has_masks


def read_cohort(path: Path, options: Namespace, output: Path | None) -> tuple[list[Case], list[Problem]]:
    """The cases of a table or folder, with `options` for all, and all that is wrong with them, by row.

    Raises PromptError for a file that is not a table.
    """
    rows, problems = (find_cases(path), []) if path.is_dir() else read_table(path)
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    cases, wrong = make_cases(rows, folder, shared_words(options))
    if options.every is not None and cases and not any(has_masks(case.options) for case in cases):
        problems.append(Problem(None, "every", "No row has a mask to take slices of: omit --every."))
    problems += wrong
    for case in cases:
        problems += problems_of(case)
        if output is not None and (foreign := output / case.name).exists() and not _is_result(foreign):
            problems.append(
                Problem(
                    case.row, "case", f"{foreign} is not a result of medsam2 batch: choose another --output or case."
                )
            )
    return cases, sorted(problems, key=lambda problem: problem.row or 0)


def start(output: Path, cases: list[Case], *, retry: bool) -> Results:
    """The folder of results, ready to be worked in. Raises VolumeError if it cannot be."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VolumeError(
            f"{output} cannot be created ({error.strerror or error}): choose another --output."
        ) from error
    results = Results(output)
    results.prepare()
    results.tidy({case.name: case for case in cases}, Claims(results.claims_folder))
    if retry:
        for case in cases:
            results.forget_failure(case)
    return results


def finish(results: Results, cases: list[Case]) -> tuple[int, int]:
    """Tidy up and write the report; how many cases are done, and how many failed. Raises VolumeError."""
    results.tidy({case.name: case for case in cases}, Claims(results.claims_folder))
    done, failed = write_report(results, cases)
    if done + failed == len(cases):
        results.remove_empty_folders()
    return done, failed


def _is_result(folder: Path) -> bool:
    return (folder / DONE).is_file() or not any(folder.iterdir())
