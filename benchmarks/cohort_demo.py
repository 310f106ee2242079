"""`make cohort-demo`: 60 cases, real and synthetic, through `medsam2 batch`; and its speed beside that of single runs.

The real ones are the demo's CT, which was never trained on, and a small CT, a small MR and a DICOM series, on which the
starter was; the others are synthetic, as most of what it was trained on. The box of each object is drawn around its
reference on the slice where it is largest.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import open_data
from demo import box_option
from medsam2_core.arrays import Array
from medsam2_core.cli.main import run
from medsam2_core.cohort.cases import Case, make_cases
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.cohort import start
from medsam2_core.cohort.running import Models
from medsam2_core.cohort.table import read_table
from medsam2_core.cohort.worker import Worker
from medsam2_core.image.geometry import Geometry
from medsam2_core.io import read_labelmap, read_volume, write_labelmap
from medsam2_core.job.execute import execute, open_drafts, write
from medsam2_core.job.plan import make_plan
from medsam2_core.stopping import CancelToken
from medsam2_core.training.synthesis import synthesize_labels

OUT = Path(__file__).resolve().parents[1] / "cohort-demo"
CASES = 60
_SHAPE = (24, 128, 128)
_GRID = Geometry(_SHAPE, (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
_LEAST_ML = 5.0
_ORGANS = ("liver", "spleen", "heart", "kidney_right", "kidney_left")
_COLUMNS = ("case", "image", "object", "box", "window", "reference")


@dataclass(frozen=True)
class Source:
    """An image with its labels: files, and the names of the labels that are objects."""

    case: str
    image: Path
    labels: Path
    names: dict[int, str]
    window: str = "auto"


def main() -> int:
    """Make the cohort, run it, and print what came of it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run a cohort of 60 cases.")
    parser.add_argument(
        "--measure", type=int, default=0, metavar="N", help="compare N synthetic cases with single runs"
    )
    parser.add_argument("--workers", default="1", help="worker processes")
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    table = OUT / "cohort.csv"
    _write_table(table)
    if options.measure:
        return _measure(table, options.measure)
    started = time.perf_counter()
    code = run(["batch", str(table), "--output", str(OUT / "results"), "--workers", options.workers])
    print(f"{time.perf_counter() - started:.0f} s in all, with the start of the workers")
    _print_agreement(json.loads((OUT / "results/summary.json").read_text(encoding="utf-8")))
    return code


def _write_table(path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for source in (*_real(), *_synthetic()):
            labels = read_labelmap(source.labels)
            for label, name in source.names.items():
                box = box_option(labels == label)
                table.writerow([source.case, source.image, name, box, source.window, f"{source.labels}:{label}"])


def _real() -> Iterator[Source]:
    chest = open_data.chest_ct()
    names = {label: name for label, name in chest.structures.items() if name in _ORGANS[:3]}
    yield Source("demo chest CT", chest.ct, chest.mask, names, "abdomen")
    for case, data in (("small CT", open_data.totalsegmentator_small()), ("small MR", open_data.mr_small())):
        yield Source(case, data.image, data.labels, _largest(read_labelmap(data.labels), _voxel_ml(data.image), 2))
    series = open_data.dicom_series()
    labels = _upright(series.labels, series.image)
    yield Source("DICOM CT", series.image, labels, _largest(read_labelmap(labels), _voxel_ml(series.image), 2))


def _upright(labels: Path, series: Path) -> Path:
    """Labels whose rows run the other way than those of the series, on its grid."""
    path = OUT / "images" / "dicom-labels.nii.gz"
    path.parent.mkdir(exist_ok=True)
    write_labelmap(path, np.ascontiguousarray(read_labelmap(labels)[:, ::-1]), read_volume(series).geometry)
    return path


def _synthetic() -> Iterator[Source]:
    folder = OUT / "images"
    for number in range(CASES - 4):
        image, labels = folder / f"s{number:02d}.nii.gz", folder / f"s{number:02d}-labels.nii.gz"
        if not labels.exists():
            _make(number, image, labels)
        yield Source(f"s{number:02d}", image, labels, _largest(read_labelmap(labels), 0.012, 1))


def _make(number: int, image: Path, labels: Path) -> None:
    """Write a synthetic volume: each label in a value of its own, with noise; 0 is black, 255 white."""
    rng = np.random.default_rng((23, number))
    made = synthesize_labels(rng, _SHAPE)
    values = rng.uniform(60, 200, len(made.tissue))
    values[made.background()] = np.linspace(5, 60, int(made.background().sum()))
    gray = np.clip(values[made.labels] + rng.normal(0, 8, _SHAPE), 0, 255)
    write_labelmap(image, gray.astype(np.uint8), _GRID)
    objects = np.where(made.background()[made.labels], 0, made.labels)
    write_labelmap(labels, objects, _GRID)


def _voxel_ml(image: Path) -> float:
    return float(np.prod(read_volume(image).geometry.spacing_kji)) / 1000


def _largest(labels: Array, voxel_ml: float, count: int) -> dict[int, str]:
    """The largest labels, as objects that are called by their rank."""
    voxels = np.bincount(labels.ravel())
    voxels[0] = 0
    order = [int(label) for label in voxels.argsort()[::-1][:count] if voxels[label] * voxel_ml >= _LEAST_ML]
    return {label: ("largest", "second")[place] for place, label in enumerate(order)}


def _print_agreement(summary: Any) -> None:
    """How well doubt tells where a mask is wrong, over all objects that have a reference."""
    objects = [item for case in summary["cases"] for item in case["objects"] if "agreement" in item]
    doubts, dices = (
        [value(item) for item in objects] for value in (lambda o: o["doubt"], lambda o: o["agreement"]["dice"])
    )
    order = np.argsort(doubts)[::-1]
    tenth = order[: max(1, len(order) // 10)]
    print(f"{len(objects)} objects with a reference: mean Dice {np.mean(dices):.3f}")
    print(f"doubt and Dice: r = {np.corrcoef(doubts, dices)[0, 1]:.2f}", end="; ")
    print(f"mean Dice of the most doubtful tenth {np.mean([dices[place] for place in tenth]):.3f}")


def _measure(table: Path, count: int) -> int:
    """Time cases in a worker and as `medsam2 propagate` runs them, by turns and with the model loaded."""
    rows, _ = read_table(table)
    cases = [case for case in make_cases(rows, table.parent, ())[0] if case.name.startswith("s")][: count + 1]
    models, seconds = Models(), {"worker": 0.0, "single": 0.0}
    for place, case in enumerate(cases):
        turns: Sequence[str] = ("worker", "single") if place % 2 else ("single", "worker")
        for how in turns:
            taken = _as_worker(case, models) if how == "worker" else _as_single(case, models)
            seconds[how] += taken if place else 0  # the first one loads the model
    print(
        f"{count} cases: {seconds['worker']:.1f} s in a worker, {seconds['single']:.1f} s as single runs without start"
    )
    print(f"ratio {seconds['worker'] / seconds['single']:.3f}; models loaded {models.loads} times")
    return 0


def _as_worker(case: Case, models: Models) -> float:
    one = replace(case, name=f"{case.name} {time.monotonic_ns()}")
    results = start(OUT / "measured", [one], retry=False)
    worker = Worker(results, Claims(results.claims_folder), CancelToken(), lambda *_: None)
    worker.models = models
    started = time.perf_counter()
    worker.run([one])
    return time.perf_counter() - started


def _as_single(case: Case, models: Models) -> float:
    """What `medsam2 propagate` does after it has loaded the model."""
    started = time.perf_counter()
    options = case.options
    options.output, options.report = OUT / "measured.seg.nrrd", OUT / "measured.json"
    plan = make_plan(options)
    loaded = models.get(plan)
    with open_drafts(plan) as drafts:
        write(plan, execute(plan, True, None, loaded), drafts)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
