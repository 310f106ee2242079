"""Anatomy-like label volumes made from nothing, to train on where no real image may be used.

The body's parts are in `anatomy`, the shapes they are built from in `shapes`, painting and coordinates in `canvas`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medsam2_core.training.anatomy import LATE_PARTS, PARTS, lesions, loose_organs, loose_vessels, make_body
from medsam2_core.training.canvas import Canvas, Generator, Labels, Tissue

SHAPE = (40, 288, 288)
"""Slices, rows and columns of a volume: fine enough that a rib that fills the model's image is not a staircase."""


@dataclass(frozen=True)
class Synthetic:
    """A label volume (k, j, i), and for each label its `Tissue` and the label that encloses it (0: none)."""

    labels: Labels
    tissue: Labels
    parent: Labels

    def background(self) -> NDArray[np.bool_]:
        """Per label: True for surroundings (outside, table, fat, body remainder), which are hardly ever objects."""
        return self.tissue <= Tissue.REMAINDER

    def whole(self, label: int) -> NDArray[np.bool_]:
        """Per label: True for `label` and all it encloses, so `whole(n)[labels]` is an organ with its contents."""
        inside = np.zeros(len(self.tissue), dtype=bool)
        inside[label] = True
        for child in range(label + 1, len(inside)):  # parents always come before their children
            inside[child] |= self.parent[child] != 0 and inside[self.parent[child]]
        return inside

    def save(self, path: Path) -> None:
        """Write a compressed .npz, whole or not at all."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez_compressed(file, labels=self.labels, tissue=self.tissue, parent=self.parent)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Synthetic:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["labels"], file["tissue"], file["parent"])


def synthesize_labels(rng: Generator, shape: tuple[int, int, int]) -> Synthetic:
    """One synthetic label volume (k, j, i), uint8; on average 0.32 s for the default shape on one core.

    In 400 volumes: 38 to 170 labels (mean 86), of them 30 to 134 objects (median 70) in at least four slices.
    """
    canvas = Canvas(rng, shape)
    body = make_body(canvas)
    # One in four is a jumble without a plan: fewer anatomical parts, more loose organs.
    chance = 0.92 if rng.random() < 0.75 else 0.3
    for part in PARTS:
        if rng.random() < chance:
            part(canvas, body)
    loose_organs(canvas, body, int(rng.integers(15, 45) if chance > 0.5 else rng.integers(25, 60)))
    for part in LATE_PARTS:
        if rng.random() < chance + 0.05:
            part(canvas, body)
    loose_vessels(canvas, body)
    lesions(canvas)
    return Synthetic(canvas.labels, np.array(canvas.tissue, dtype=np.uint8), np.array(canvas.parent, dtype=np.uint8))


def _write_one(job: tuple[Path, int, int, tuple[int, int, int]]) -> Path:
    path, seed, index, shape = job
    synthesize_labels(np.random.default_rng((seed, index)), shape).save(path)
    return path


def make_corpus(
    folder: Path, count: int, seed: int, shape: tuple[int, int, int] = SHAPE, workers: int = 2
) -> list[Path]:
    """Write 00000.npz ... and return their paths; files already there are kept, so that a stopped run goes on.

    Volume n depends on (seed, n) alone, not on the number of workers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.npz" for index in range(count)]
    jobs = [(path, seed, index, shape) for index, path in enumerate(paths) if not path.exists()]
    if workers <= 1:
        for job in tqdm(jobs, desc="volumes"):
            _write_one(job)
        return paths
    # spawn: a fork of a process that has run torch may hang on its thread pools.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in tqdm(pool.map(_write_one, jobs), total=len(jobs), desc="volumes"):
            pass
    return paths


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write a corpus of synthetic label volumes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("K", "J", "I"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    k, j, i = options.shape
    make_corpus(options.folder, options.count, options.seed, (k, j, i), options.workers)


if __name__ == "__main__":
    _main()
