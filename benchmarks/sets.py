"""`make sets`: shuffled slices of one organ as a set of images, segmented from one box; writes docs/sets.md.

The chest CT of the demo is never trained or tuned on; the training volumes are those that settings were chosen by.

    python benchmarks/sets.py              about five minutes of two cores
    python benchmarks/sets.py --quick      one organ and few images
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import medsam2_core as m2
import training_data
from measuring import open_case, single_thread
from medsam2_core.arrays import Array, Mask
from medsam2_core.image_set import ImageSetSession
from medsam2_core.memory_bank import Recency, SelfSorting
from medsam2_core.training.cases import Case
from medsam2_core.training.metrics import dice
from medsam2_core.training.policies import jittered_box
from medsam2_core.weights.model_file import find_model
from report_tables import table

DOCS = Path(__file__).resolve().parents[1] / "docs"
_EVALUATED = ("spleen", "liver", "heart", "kidney_right", "kidney_left")
_TRAINED = {"abdomen-ct": ("1", "2", "3", "5"), "abdomen-mr": ("1", "5"), "dicom-ct": ("1", "5")}
_LEAST_SHARE = 0.05  # of the largest area: slices with less of the organ are left out, as are others without any
_QUICK_IMAGES = 12
_SEED = 0  # of order and box
_MOST_IMAGES = 20  # of the organ


@dataclass(frozen=True)
class Set:
    """Images (rows, columns) in a shuffled order, true masks, and a box x0, y0, x1, y1 on the image `prompted`.

    `places` are the images' slices.
    """

    name: str
    images: tuple[Array, ...]
    truths: tuple[Mask, ...]
    places: tuple[int, ...]
    prompted: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Score:
    """Of one way on one set: mean Dice of the images with the organ, share of the others left empty, boxes.

    `honesty` is the correlation of certainty with Dice.
    """

    dice: float
    empty: float
    boxes: int
    honesty: float


@dataclass(frozen=True)
class Task:
    """What one process does: an organ of a case (None: the chest CT), with or without images that lack it."""

    case: str | None
    organ: str
    absent: bool
    limit: int


Way = Callable[[Any, Set], tuple[list[Mask], list[float]]]


def make_set(case: Case, organ: str, absent: bool, seed: int, limit: int = _MOST_IMAGES) -> Set:
    """Shuffle the slices of an organ; with `absent`, a third of the images are slices without it."""
    label = next(structure.label for structure in case.structures(0) if structure.name == organ)
    masks = case.labels == label
    area = masks.sum(axis=(1, 2))
    rng = np.random.default_rng(seed)
    there = rng.permutation(np.flatnonzero(area > _LEAST_SHARE * area.max()))[:limit]
    without = rng.permutation(np.flatnonzero(area == 0))[: len(there) // 2 if absent else 0]
    places = rng.permutation(np.concatenate([there, without]))
    prompted = int(np.argmax(area[places]))
    return Set(
        f"{case.name}, {organ}",
        tuple(case.image[places]),
        tuple(masks[places]),
        tuple(int(place) for place in places),
        prompted,
        jittered_box(masks[places[prompted]], rng),
    )


def _session(model: Any, one: Set, **options: Any) -> tuple[list[Mask], list[float]]:
    session = ImageSetSession(model, list(one.images), window=_window(one), **options)
    session.add_box(1, one.prompted, one.box)
    masks = [answers[1].mask for answers in session.segment()]
    return masks, [session.certainty(index)[1] for index in range(len(masks))]


def _in_order(model: Any, one: Set) -> tuple[list[Mask], list[float]]:
    """Sort the slices as they lie in the volume, what a set does not know, and propagate with the model's own view."""
    order = np.argsort(one.places)
    session = m2.VolumeSession(model, np.stack([one.images[place] for place in order]), window=_window(one))
    session.add_box(1, int(np.flatnonzero(order == one.prompted)[0]), one.box)
    for _ in session.propagate(stop=m2.StopRules(absent_slices=None)):
        pass
    masks, known = session.mask(1), session.results(1)
    back = np.argsort(order)
    return [masks[place] for place in back], [known[int(place)].confidence for place in back]


def _box_on_each(model: Any, one: Set) -> tuple[list[Mask], list[float]]:
    """What a user of SAM 2's image predictor does: look for the organ in every image, and draw a box where it is."""
    session = ImageSetSession(model, list(one.images), window=_window(one))
    rng = np.random.default_rng(0)
    for index, truth in enumerate(one.truths):
        if truth.any():
            session.add_box(1, index, one.box if index == one.prompted else jittered_box(truth, rng))
    found = [session.predict_slice(index).get(1) for index in range(len(one.images))]
    masks = [
        np.zeros(truth.shape, bool) if answer is None else answer.mask
        for answer, truth in zip(found, one.truths, strict=True)
    ]
    return masks, [0.0 if answer is None else answer.confidence for answer in found]


def _window(one: Set) -> m2.Window:
    return m2.Window.auto(np.stack(one.images))


WAYS: Mapping[str, Way] = {
    "any order": lambda model, one: _session(model, one),
    "arrival, self-sorting": lambda model, one: _session(model, one, order="arrival", seed=0),
    "arrival, recency": lambda model, one: _session(model, one, order="arrival", memory=Recency()),
    "any order, no memory": lambda model, one: _session(model, one, memory=SelfSorting(size=0)),
    "sorted as a volume": _in_order,
    "a box on each image": _box_on_each,
}


def score(way: Way, model: Any, one: Set) -> Score:
    """Measure a way on a set."""
    masks, sure = way(model, one)
    agreement = [dice(found, truth) for found, truth in zip(masks, one.truths, strict=True)]
    there = np.array([bool(truth.any()) for truth in one.truths])
    left = [not found.any() for found, truth in zip(masks, one.truths, strict=True) if not truth.any()]
    boxes = int(there.sum()) if way is _box_on_each else 1
    honest = float(np.corrcoef(sure, agreement)[0, 1]) if np.ptp(sure) > 0 and np.ptp(agreement) > 0 else float("nan")
    return Score(
        float(np.mean(np.array(agreement)[there])),
        float(np.mean(left)) if left else float("nan"),
        boxes,
        honest,
    )


def run(task: Task, name: str, model: str) -> Score:
    """Measure a way on a set."""
    return score(WAYS[name], _model(model), make_set(_case(task.case), task.organ, task.absent, _SEED, task.limit))


@functools.lru_cache(maxsize=1)
def _case(name: str | None) -> Case:
    return open_case(None if name is None else training_data.ROOT / "real" / name)


@functools.lru_cache(maxsize=1)
def _model(name: str) -> Any:
    return m2.load_model(name, device="cpu")


def tasks(quick: bool) -> Iterator[Task]:
    """All sets: those of the training volumes, then those of the chest CT."""
    named = [
        *((case, organ) for case, organs in _TRAINED.items() for organ in organs),
        *((None, one) for one in _EVALUATED),
    ]
    for case, organ in [named[0], named[-1]] if quick else named:
        for absent in (False, True):
            yield Task(case, organ, absent, _QUICK_IMAGES if quick else _MOST_IMAGES)


def document(scores: Mapping[Task, Mapping[str, Score]], model: str, sha256: str, quick: bool) -> str:
    """The whole text."""
    note = " A quick look, not the whole measurement." if quick else ""
    parts = [
        "# Shuffled slices as a set of images\n",
        f"Written by `make sets`; model `{model}`, sha256 `{sha256[:16]}`.{note}\n",
        _INTRODUCTION,
    ]
    for title, on_chest in (("Chest CT, never trained or tuned on", True), ("Training volumes", False)):
        for absent in (False, True):
            chosen = {
                task: found
                for task, found in scores.items()
                if (task.case is None) is on_chest and task.absent is absent
            }
            if chosen:
                parts.append(f"## {title}: {_WITHOUT if absent else _WITH}\n")
                parts.append(_table(chosen))
    return "\n".join([*parts, _PEERS])


_WITH, _WITHOUT = "the organ in all images", "a third of the images without the organ"
_HEADINGS = ("way", "mean Dice", "worst organ", "left empty", "r", "boxes")
_INTRODUCTION = """The images of a set are slices of one organ in a shuffled order, those with less than 5 % of its
largest area left out; one box, off by up to 3 % on each edge, is drawn on the image with the largest area. Chest CT:
spleen, liver, heart and both kidneys of LIDC-IDRI-0001 (CC BY 3.0), as in accuracy.md, so agreement with
TotalSegmentator, not truth. A set has 20 images of the organ at most.

Mean Dice: over the images that hold the organ, then over organs. Left empty: share of the images without the
organ that get no mask. r: correlation of the certainty of an image with its Dice.

**any order** is `medsam2 images` as it is by default: two passes, a view that follows the object, a self-sorting bank.
**arrival** is the paper's pseudo video: the images as they come, whole, through a bank, self-sorting with its
resampling (seeded). **sorted as a volume** knows the order that sets do not have. **a box on each image** is what a
user of the reference SAM 2 image predictor does; it is told which images hold the organ, so it leaves the others empty.
"""
_PEERS = """
## The peer's way

The reference SAM 2 image predictor (`sam2.sam2_image_predictor`) answers one image at a time and remembers nothing: a
user opens each image, decides whether the organ is there, and draws a box: as many boxes as images with the organ
(column "boxes"), instead of one. The video predictor takes frames in their order alone; images of several sizes have to
be brought to one size first. Neither tells which images to distrust. The row is measured with the same model here, so
that the rows differ in nothing but the way.
"""


def _table(scores: Mapping[Task, Mapping[str, Score]]) -> str:
    return table(_HEADINGS, [(name, *_line([found[name] for found in scores.values()], scores, name)) for name in WAYS])


def _line(found: Sequence[Score], scores: Mapping[Task, Mapping[str, Score]], name: str) -> list[str]:
    by_organ: dict[str, list[float]] = {}
    for task, one in scores.items():
        by_organ.setdefault(f"{task.case} {task.organ}", []).append(one[name].dice)
    worst = min(by_organ, key=lambda organ: float(np.mean(by_organ[organ])))
    empty, honest = np.array([one.empty for one in found]), np.array([one.honesty for one in found])
    return [
        f"{np.mean([one.dice for one in found]):.3f}",
        f"{np.mean(by_organ[worst]):.3f} ({worst.removeprefix('None ')})",
        "" if np.isnan(empty).all() else f"{np.nanmean(empty):.0%}",
        "" if np.isnan(honest).all() else f"{np.nanmean(honest):.2f}",
        f"{np.mean([one.boxes for one in found]):.0f}",
    ]


def main() -> None:
    """Measure, then write the document."""
    options = _options()
    if not (training_data.ROOT / "real" / "abdomen-ct").is_dir():
        training_data.write_pairs(training_data.ROOT / "real", training_data.real_pairs())
    planned = list(tasks(options.quick))
    if options.only:
        planned = [task for task in planned if (task.case is None) is (options.only == "chest")]
    scores: dict[Task, dict[str, Score]] = {task: {} for task in planned}
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn"), single_thread) as pool:
        running = {pool.submit(run, task, name, options.model): (task, name) for name in WAYS for task in planned}
        for job in tqdm(as_completed(running), "measuring", len(running)):
            task, name = running[job]
            scores[task][name] = job.result()
            print(task.case, task.organ, task.absent, name, job.result(), flush=True)
    model = find_model(options.model)
    path = options.output / "sets.md"
    path.write_text(document(scores, model.name, model.sha256(), options.quick), encoding="utf-8")
    print(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter", help="a catalog name or a checkpoint")
    parser.add_argument("--quick", action="store_true", help="one organ of each volume, and few images")
    parser.add_argument("--only", choices=("chest", "training"), help="a part of the sets")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder for sets.md")
    parser.add_argument("--processes", type=int, default=2, help="each of them uses one core")
    return parser.parse_args()


if __name__ == "__main__":
    main()
