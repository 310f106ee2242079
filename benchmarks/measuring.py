"""Structures of a labeled volume, measured by processes of one thread each: what all tables are made of."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
import torch
from tqdm import tqdm

import medsam2_core as m2
import open_data
import random_walker
from medsam2_core.model import SAM2
from medsam2_core.training.baselines import BASELINES, Baseline, evaluate_baselines
from medsam2_core.training.cases import Case, Structure, make_case, read_case
from medsam2_core.training.evaluation import Row, Settings, evaluate

MIN_ML = 5.0
CLASSICAL: Mapping[str, Baseline] = {**BASELINES, "random walker": random_walker.draw}


@dataclass(frozen=True)
class Source:
    """What is measured, and on what: a catalog name or checkpoint, and a folder as `cases.read_case` takes it.

    Without a folder it is the demo's CT. `image_size` in pixels is the model's own if None.
    """

    model: str
    folder: Path | None = None
    axis: str = "axial"
    image_size: int | None = None


@dataclass(frozen=True)
class Job:
    """Structures to measure in one go; `baselines` are measured in place of the model with the prompt `box`."""

    source: Source
    settings: Settings
    structures: tuple[Structure, ...]
    baselines: bool = False


def split(job: Job) -> list[Job]:
    """Cut a job into ones whose structures share a session, so that processes can share the work."""
    size, all_of_them = job.settings.together, job.structures
    parts = [all_of_them[start : start + size] for start in range(0, len(all_of_them), size)]
    return [Job(job.source, job.settings, part, job.baselines) for part in parts]


def measure(jobs: Sequence[Job], processes: int) -> list[list[Row]]:
    """Run jobs and return the rows of each.

    Processes have one thread: for a model this small that is faster than threads that share a slice.
    """
    parts = [(number, part) for number, job in enumerate(jobs) for part in split(job)]
    rows: list[list[Row]] = [[] for _ in jobs]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), single_thread) as pool:
        running = [(number, pool.submit(run, part)) for number, part in parts]
        for _ in tqdm(as_completed([job for _, job in running]), "measuring", len(running)):
            pass
        for number, job in running:
            rows[number] += job.result()
    return rows


def run(job: Job) -> list[Row]:
    """Run one job here."""
    case = open_case(job.source.folder, job.source.axis)
    if job.baselines:
        return list(evaluate_baselines(case, job.settings, job.structures, CLASSICAL))
    model = _open_model(job.source.model, job.source.image_size)
    return list(evaluate(model, case, job.settings, job.structures))


def single_thread() -> None:
    """Let this process compute with one thread."""
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


@functools.lru_cache(maxsize=1)  # jobs come sorted by volume, axis and model
def open_case(folder: Path | None = None, axis: str = "axial") -> Case:
    """Read a case, or the demo's CT if there is no folder."""
    if folder is not None:
        return read_case(folder, axis)
    data = open_data.chest_ct()
    return make_case("chest CT", data.ct, data.mask, data.structures, axis)


@functools.lru_cache(maxsize=1)
def _open_model(name: str, image_size: int | None) -> SAM2:
    return m2.load_model(name, device="cpu", image_size=image_size)


def spread(structures: Sequence[Structure], count: int) -> list[Structure]:
    """Take some structures, evenly spread from the smallest to the largest."""
    by_size = sorted(structures, key=lambda structure: structure.volume_ml)
    step = max(len(by_size) / count, 1)
    return [by_size[int(place * step)] for place in range(min(count, len(by_size)))]
