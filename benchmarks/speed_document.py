"""What `make benchmark` writes: one table of all contenders, what grows with what, the floor, and a picture."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

import medsam2_core as m2
from medsam2_core.speed.ceilings import Ceilings
from medsam2_core.speed.steps import Work, total, work
from report_tables import table
from speed_trial import Found, Trial

Key = tuple[str, str]
"""A label of `speed.trials`, and a contender."""

STEPS = ("encode", "recall", "decode", "memorize")
_MODELS = (("starter", 256), ("sam2.1_hiera_tiny", 512), ("sam2.1_hiera_tiny", 1024))
_MACHINES = {"a laptop, 8 cores": 300e9, "a workstation, 32 cores": 1500e9}  # float32 operations per second

_INTRODUCTION = """Random weights of `sam2.1_hiera_tiny`, float32 unless the name says autocast, on {volume}.
A box on the middle slice is propagated to both ends; then a click halfway to the last slice is added, and the slices
from the box to the end are redrawn, which is what each program offers for it. Clicks are previews on a slice not
looked at before, the first of its process, and on the same slice (the median of five). Masks come to the host at the
volume's resolution. Each measurement had a process of its own, whose peak memory holds Python and PyTorch too.
{rounds}, contenders taking turns; medians, in brackets the least and the most. A ratio is the other's time (or memory)
by ours, within a round: above 1 ours is less. Seconds are of this machine; only ratios can be expected elsewhere.

Ours is the session of this repository with SAM 2's memory; sam2 is PyPI's `sam2` 1.1.0, the reference implementation.
{transformers}
"""
_PICTURE = "![Times of the others, ours being 1]({picture})\n"
_GROWTH = """How times grow. Objects: {objects} slices of several, by those of one. Slices: the time per slice. Busy: as
many processes as cores compute meanwhile. Wait policy: waiting threads sleep (passive, which we set) instead of
spinning (active, OpenMP's default), while the machine does nothing else; both {objects} slices.
"""
_FLOOR = """The floor is the shortest time that the work of a slice can take: its float32 operations at the rate that
large matrices are multiplied ({flops:,.0f} GFLOP/s, measured beside the steps), or its weights, inputs and results,
each moved once, at the rate that memory is copied ({bytes:.0f} GB/s), whichever is longer. One object, its memory full,
a slice at a time.
"""
_EXPECT = """A slice takes its operations, at the rate that the processor multiplies, at the share of it that is
reached: for one object and the {share:.0%} above. Calculated, not measured; `medsam2 benchmark` measures on your
machine.
"""


@dataclass(frozen=True)
class Measured:
    """What was found on one device: a round each, of every trial."""

    trials: Mapping[Key, Trial]
    rounds: Mapping[Key, list[Found]]

    def values(self, label: str, contender: str, name: str) -> list[float]:
        """A quantity in each round; none where it was not measured."""
        return [one[name] for one in self.rounds.get((label, contender), ()) if name in one]

    @property
    def others(self) -> list[str]:
        """The contenders beside ours."""
        return [name for label, name in self.trials if label == "main" and name != "ours"]

    @property
    def labels(self) -> list[str]:
        """What all contenders did."""
        return [label for label, name in self.trials if name == self.others[0]]


@dataclass(frozen=True)
class Outcome:
    """What was found on each device, on the volume "ct" or "synthetic"."""

    devices: Mapping[str, Measured]
    volume: str
    quick: bool


def document(outcome: Outcome, picture: str) -> str:
    """The whole text."""
    parts = ["# Performance\n", _origin(outcome), _introduction(outcome), _PICTURE.format(picture=picture)]
    for device, measured in outcome.devices.items():
        parts += [f"## {_device_name(device)}\n", _comparison(measured), *_growth(measured), *_floor(device, measured)]
    return "\n".join(parts)


def _origin(outcome: Outcome) -> str:
    quick = " A quick look, not the whole measurement." if outcome.quick else ""
    day = datetime.datetime.now(datetime.timezone.utc).date()
    return f"Written by `make benchmark` on {day}; torch {torch.__version__}.{quick}\n"


def _introduction(outcome: Outcome) -> str:
    measured = outcome.devices["cpu"]
    rounds = len(measured.rounds["main", "ours"])
    there = "transformers" in measured.others
    return _INTRODUCTION.format(
        volume="slices of the demo's CT (512 x 512)" if outcome.volume == "ct" else "a synthetic volume (512 x 512)",
        rounds="One round" if rounds == 1 else f"{rounds} rounds",
        transformers="transformers is `Sam2VideoModel` of that package, with random weights of its own."
        if there
        else "`Sam2VideoModel` of transformers is skipped, since that package is not installed here.",
    )


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU: {_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"


def _processor() -> str:
    """What Linux calls the processor, elsewhere its kind."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


# The table of all contenders


def rows(measured: Measured) -> Iterator[tuple[str, str, str]]:
    """What is compared: its name, the label it is found under, and the quantity."""
    yield "first propagation", "main", "first"
    yield "correction", "main", "correction"
    yield "click, new slice", "main", "click, new slice"
    yield "click, seen slice", "main", "click, seen slice"
    yield "peak memory", "main", "peak"
    for label in measured.labels:
        if label != "main":
            yield "first propagation", label, "first"
    yield "peak memory", measured.labels[-1], "peak"


def _comparison(measured: Measured) -> str:
    headings = ["", "pixels", "slices", "objects", "ours"]
    headings += [column for name in measured.others for column in (name, "ratio")]
    return table(headings, [_row(measured, *row) for row in rows(measured)])


def _row(measured: Measured, what: str, label: str, name: str) -> list[str]:
    trial, ours = measured.trials[label, "ours"], measured.values(label, "ours", name)
    show = _gigabytes if name == "peak" else _duration
    cells = [what, str(trial.image_size), str(trial.slices), str(trial.objects), _spread(ours, show)]
    for other in measured.others:
        theirs = measured.values(label, other, name)
        cells += [_spread(theirs, show), _spread(ratios(theirs, ours), _times)]
    return cells


def ratios(ones: list[float], others: list[float]) -> list[float]:
    """The quotient of each round."""
    return [one / other for one, other in zip(ones, others, strict=True)]


def _spread(values: list[float], show: Callable[[float], str]) -> str:
    """The median, and the least and the most of several."""
    middle = show(median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))} to {show(max(values))})"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}"


# What grows with what


def _growth(measured: Measured) -> list[str]:
    names = ["ours", *measured.others]
    objects = measured.trials["objects 1", "ours"].slices
    lines = [[what, *(_spread(growth, _times) if growth else "" for growth in one)] for what, one in _grown(measured)]
    return [_GROWTH.format(objects=objects), table(["", *names], lines)]


def _grown(measured: Measured) -> Iterator[tuple[str, list[list[float]]]]:
    """By how much a change multiplies the time of each contender."""
    names = ["ours", *measured.others]

    def first(label: str, name: str) -> list[float]:
        return measured.values(label, name, "first")

    for label in (label for label in measured.labels if label.startswith("objects") and label != "objects 1"):
        yield f"{label.split()[1]} objects, of one", [ratios(first(label, n), first("objects 1", n)) for n in names]
    shorter, *longer = (label for label in measured.labels if label.startswith("long"))
    for label in longer:
        slices = [measured.trials[one, "ours"].slices for one in (shorter, label)]
        grown = [[r * slices[0] / slices[1] for r in ratios(first(label, n), first(shorter, n))] for n in names]
        yield f"a slice of {slices[1]}, of {slices[0]}", grown
    if ("busy", "ours") in measured.trials:
        yield "busy, of idle", [ratios(first("busy", "ours"), first("idle", "ours")), *[[] for _ in measured.others]]
        passive = ratios(first("idle", "ours"), first("active", "ours"))
        yield "passive, of active", [passive, *[[] for _ in measured.others]]


# The floor


def _floor(device: str, measured: Measured) -> list[str]:
    trial = measured.trials["floor", "floor"]
    found = {name: median(measured.values("floor", "floor", name)) for name in ("flops", "bytes", *STEPS)}
    ceilings = Ceilings(found["flops"], found["bytes"])
    parts = work(m2.CONFIGS[trial.config].at_size(trial.image_size))
    lines = [_floor_line(name, parts[name], found[name], ceilings) for name in STEPS]
    took, everything = sum(found[name] for name in STEPS), total(parts.values())
    share = sum(ceilings.floor_seconds(part) for part in parts.values()) / took
    lines.append(_floor_line("slice", everything, took, ceilings))
    headings = (f"{trial.image_size} pixels", "GFLOP", "MB", "floor", "took", "share")
    text = [_FLOOR.format(flops=found["flops"] / 1e9, bytes=found["bytes"] / 1e9), table(headings, lines)]
    return [*text, "### What to expect\n", *_expect(ceilings, share)] if device == "cpu" else text


def _floor_line(name: str, part: Work, took: float, ceilings: Ceilings) -> list[str]:
    floor = ceilings.floor_seconds(part)
    numbers = f"{part.flops / 1e9:.1f}", f"{part.bytes / 1e6:.0f}"
    return [name, *numbers, _duration(floor), _duration(took), f"{floor / took:.0%}"]


def _expect(ceilings: Ceilings, share: float) -> list[str]:
    """Slices per minute of models on machines that multiply so fast, if they reach the same share."""
    machines = {"this machine": ceilings.flops_per_s, **_MACHINES}
    lines = []
    for name, size in _MODELS:
        flops = total(work(m2.CONFIGS[name].at_size(size)).values()).flops
        lines.append([f"{name}, {size} pixels", *(f"{60 * rate * share / flops:.0f}" for rate in machines.values())])
    headings = ["slices per minute", *(f"{name} ({rate / 1e9:,.0f} GFLOP/s)" for name, rate in machines.items())]
    return [_EXPECT.format(share=share), table(headings, lines)]


# The picture


def draw(outcome: Outcome, path: Path) -> None:
    """Bars of the others' times, ours being 1, a panel for each device."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "performance"})
    count = len(outcome.devices)
    figure, axes = plt.subplots(1, count, figsize=(7 * count, 4), layout="constrained", squeeze=False)
    for axis, (device, measured) in zip(axes[0], outcome.devices.items(), strict=True):
        _draw_device(axis, measured)
        axis.set_title(_device_name(device), fontsize=10)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw_device(axis: plt.Axes, measured: Measured) -> None:
    shown = [(_bar_name(measured, *row[:2]), row) for row in rows(measured) if row[2] != "peak"]
    height = 0.8 / len(measured.others)
    for place, other in enumerate(measured.others):
        values = [
            median(ratios(measured.values(label, other, name), measured.values(label, "ours", name)))
            for _, (_, label, name) in shown
        ]
        bars = axis.barh([row + place * height for row in range(len(shown))], values, height, label=other)
        axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("time, ours being 1")
    axis.legend(fontsize=8)


def _bar_name(measured: Measured, what: str, label: str) -> str:
    trial = measured.trials[label, "ours"]
    if label == "main":
        return what
    return f"{trial.objects} objects" if label.startswith("objects") else f"{trial.slices} slices"
