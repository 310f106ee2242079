"""What `make benchmark` writes: one table of all contenders, what grows with what, the floor, and a picture."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch

import medsam2_core as m2
from contenders import OURS_SHORT
from medsam2_core.model.precision import PRECISIONS
from medsam2_core.speed.ceilings import Ceilings
from medsam2_core.speed.steps import Work, total, work
from report_tables import table
from speed_trial import Found, Trial

Key = tuple[str, str]
"""A label of `speed.trials`, and a contender."""
Where = tuple[str, str, str]
"""The same and a quantity."""

STEPS = ("encode", "recall", "decode", "memorize")
_MODELS = (("starter", 256), ("sam2.1_hiera_tiny", 512), ("sam2.1_hiera_tiny", 1024))
_MACHINES = {"a laptop, 8 cores": 300e9, "a workstation, 32 cores": 1500e9}  # float32 operations per second

_INTRODUCTION = """Random weights of `sam2.1_hiera_tiny`, float32 unless the name says otherwise, on {volume}.
A box on the middle slice is propagated to both ends; then a click halfway to the last slice is added, and the slices
from the box to the end are redrawn, which is what each program offers for it. Clicks are previews on a slice not
looked at before, the first of its process, and on the same slice (the median of five). Masks come to the host at the
volume's resolution. Each measurement had a process of its own, whose peak memory holds Python and PyTorch too.
{rounds}, contenders taking turns, and one of the largest images; medians, in brackets the least and the most. A ratio
is the other's time (or memory) by ours, within a round: above 1 ours is less. Seconds are of this machine; only ratios
can be expected elsewhere.

Ours is the session of this repository with SAM 2's memory; sam2 is PyPI's `sam2` 1.1.0, the reference implementation.
{precision}
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
_OTHER_FLOOR = """In bfloat16 large matrices are multiplied at {flops:,.0f} GFLOP/s. This floor counts all operations
so, also the few that stay in float32.
"""
_EXPECT = """A slice takes its operations, at the rate that the processor multiplies, at the share of it that is
reached: for one object and the {share} above. Calculated, not measured; `medsam2 benchmark` measures on your
machine. {server}
"""
_NO_SERVER = "No graphics card was at hand, so nothing is said of a GPU server."
_FAILED = "failed"


@dataclass(frozen=True)
class Measured:
    """What was found on one device: a round each, of every trial."""

    trials: Mapping[Key, Trial]
    rounds: Mapping[Key, list[Found]]

    def values(self, label: str, contender: str, name: str) -> list[float]:
        """A quantity in each round; none where it was not measured."""
        return [one[name] for one in self.rounds.get((label, contender), ()) if name in one]

    def ratios(self, one: Where, other: Where) -> list[float]:
        """The quotient of two quantities in each round that has both."""
        rounds = zip(self.rounds.get(one[:2], ()), self.rounds.get(other[:2], ()), strict=False)
        return [a[one[2]] / b[other[2]] for a, b in rounds if one[2] in a and other[2] in b]

    @property
    def ours(self) -> list[str]:
        """Our own contenders: in float32, and in bfloat16 where that is faster."""
        return [name for label, name in self.trials if label == "main" and name.startswith("ours")]

    @property
    def others(self) -> list[str]:
        """The contenders beside ours."""
        return [name for label, name in self.trials if label == "main" and not name.startswith("ours")]

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
        parts += [f"## {_device_name(device)}\n", _comparison(measured), *_growth(measured)]
        parts += _floor(device, measured, _server(outcome))
    return "\n".join(parts)


def _origin(outcome: Outcome) -> str:
    quick = " A quick look, not the whole measurement." if outcome.quick else ""
    day = datetime.datetime.now(datetime.timezone.utc).date()
    load = f" Load in the last 15 minutes: {os.getloadavg()[2]:.1f}." if hasattr(os, "getloadavg") else ""
    return f"Written by `make benchmark` on {day}; torch {torch.__version__}.{load}{quick}\n"


def _introduction(outcome: Outcome) -> str:
    measured = outcome.devices["cpu"]
    rounds = len(measured.rounds["main", "ours"])
    there = "transformers" in measured.others
    return _INTRODUCTION.format(
        volume="slices of the demo's CT (512 x 512)" if outcome.volume == "ct" else "a synthetic volume (512 x 512)",
        rounds="One round" if rounds == 1 else f"{rounds} rounds",
        precision="Ours, bfloat16 is what `--precision bfloat16` runs: products of the encoder's trunk and of memory\n"
        "attention in two bytes, the rest in float32."
        if OURS_SHORT in measured.ours
        else "This processor does not multiply bfloat16 clearly faster, so ours did not run in it.",
        transformers="transformers is `Sam2VideoModel` of that package, with random weights of its own."
        if there
        else "`Sam2VideoModel` of transformers is skipped, since that package is not installed here.",
    )


def _server(outcome: Outcome) -> str:
    """What can be said of a GPU server: what was measured."""
    if "cuda" not in outcome.devices:
        return _NO_SERVER
    measured = outcome.devices["cuda"]
    trial = measured.trials["main", "ours"]
    rates = {name: [trial.slices / one for one in measured.values("main", name, "first")] for name in measured.ours}
    found = ", ".join(f"{median(one):.0f} ({name})" for name, one in rates.items() if one)
    return f"A {_device_name('cuda')} drew, measured, so many slices of {trial.image_size} pixels per second: {found}."


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
    longest = [label for label in measured.labels if label.startswith("long")][-1]
    yield "peak memory", longest, "peak"


def _comparison(measured: Measured) -> str:
    headings = ["", "pixels", "slices", "objects", *measured.ours]
    ratio = [name.replace("ours", "ratio") for name in measured.ours]
    headings += [column for name in measured.others for column in (name, *ratio)]
    return table(headings, [_row(measured, *row) for row in rows(measured)])


def _row(measured: Measured, what: str, label: str, name: str) -> list[str]:
    trial = measured.trials[label, "ours"]
    show = _gigabytes if name == "peak" else _duration
    cells = [what, str(trial.image_size), str(trial.slices), str(trial.objects)]
    cells += [_spread(measured.values(label, ours, name), show) for ours in measured.ours]
    for other in measured.others:
        ratios = [measured.ratios((label, other, name), (label, ours, name)) for ours in measured.ours]
        cells += [_spread(measured.values(label, other, name), show), *(_spread(one, _times) for one in ratios)]
    return cells


def _spread(values: list[float], show: Callable[[float], str]) -> str:
    """The median, and the least and the most of several."""
    if not values:
        return _FAILED
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
    names = [*measured.ours, *measured.others]
    objects = measured.trials["objects 1", "ours"].slices
    lines = [[what, *(_spread(growth, _times) if growth else "" for growth in one)] for what, one in _grown(measured)]
    return [_GROWTH.format(objects=objects), table(["", *names], lines)]


def _grown(measured: Measured) -> Iterator[tuple[str, list[list[float]]]]:
    """By how much a change multiplies the time of each contender."""
    names = [*measured.ours, *measured.others]

    def ratios(label: str, other: str, name: str) -> list[float]:
        return measured.ratios((label, name, "first"), (other, name, "first"))

    for label in (label for label in measured.labels if label.startswith("objects") and label != "objects 1"):
        yield f"{label.split()[1]} objects, of one", [ratios(label, "objects 1", name) for name in names]
    shorter, *longer = (label for label in measured.labels if label.startswith("long"))
    for label in longer:
        slices = [measured.trials[one, "ours"].slices for one in (shorter, label)]
        grown = [[one * slices[0] / slices[1] for one in ratios(label, shorter, name)] for name in names]
        yield f"a slice of {slices[1]}, of {slices[0]}", grown
    if ("busy", "ours") in measured.trials:
        nothing: list[list[float]] = [[] for _ in names[1:]]
        yield "busy, of idle", [ratios("busy", "idle", "ours"), *nothing]
        yield "passive, of active", [ratios("idle", "active", "ours"), *nothing]


# The floor


@dataclass(frozen=True)
class _Floor:
    """The ceilings of a precision, and what each step took in it."""

    precision: str
    trial: Trial
    ceilings: Ceilings
    took: Mapping[str, float]
    parts: Mapping[str, Work]

    @property
    def share(self) -> float:
        """The shortest time that the steps of a slice could take, of the time they took."""
        return sum(self.ceilings.floor_seconds(part) for part in self.parts.values()) / sum(self.took.values())

    def slices_per_minute(self, flops: float, rate: float) -> float:
        """Of slices of so many operations, where so many are done per second, at the same share."""
        return 60 * rate * self.share / flops


def _floors(measured: Measured) -> Iterator[_Floor]:
    """Of each precision that was measured."""
    for label in ("floor", "floor, bfloat16"):
        if not measured.values(label, "floor", "flops"):
            continue
        trial = measured.trials[label, "floor"]
        found = {name: median(measured.values(label, "floor", name)) for name in ("flops", "bytes", *STEPS)}
        parts = work(m2.CONFIGS[trial.config].at_size(trial.image_size), PRECISIONS[trial.precision])
        took = {name: found[name] for name in STEPS}
        yield _Floor(trial.precision, trial, Ceilings(found["flops"], found["bytes"]), took, parts)


def _floor(device: str, measured: Measured, server: str) -> list[str]:
    floors = list(_floors(measured))
    text = []
    for floor in floors:
        ceilings = floor.ceilings
        rates = {"flops": ceilings.flops_per_s / 1e9, "bytes": ceilings.bytes_per_s / 1e9}
        lines = [_floor_line(name, floor.parts[name], floor.took[name], ceilings) for name in STEPS]
        lines.append(_floor_line("slice", total(floor.parts.values()), sum(floor.took.values()), ceilings))
        headings = (f"{floor.trial.image_size} pixels, {floor.precision}", "GFLOP", "MB", "floor", "took", "share")
        text += [(_FLOOR if floor is floors[0] else _OTHER_FLOOR).format(**rates), table(headings, lines)]
    return [*text, "### What to expect\n", *_expect(floors, server)] if device == "cpu" and floors else text


def _floor_line(name: str, part: Work, took: float, ceilings: Ceilings) -> list[str]:
    floor = ceilings.floor_seconds(part)
    numbers = f"{part.flops / 1e9:.1f}", f"{part.bytes / 1e6:.0f}"
    return [name, *numbers, _duration(floor), _duration(took), f"{floor / took:.0%}"]


def _expect(floors: Sequence[_Floor], server: str) -> list[str]:
    """Slices per minute of models here and on machines that multiply so fast, if they reach the same share."""
    columns = [(f"this machine, {one.precision}", one, one.ceilings.flops_per_s) for one in floors]
    columns += [(name, floors[0], rate) for name, rate in _MACHINES.items()]
    lines = []
    for name, size in _MODELS:
        flops = total(work(m2.CONFIGS[name].at_size(size)).values()).flops
        rates = (f"{floor.slices_per_minute(flops, rate):.0f}" for _, floor, rate in columns)
        lines.append([f"{name}, {size} pixels", *rates])
    headings = ["slices per minute", *(f"{name} ({rate / 1e9:,.0f} GFLOP/s)" for name, _, rate in columns)]
    share = " and ".join(f"{one.share:.0%} in {one.precision}" for one in floors)
    return [_EXPECT.format(share=share, server=server), table(headings, lines)]


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
    others = [*measured.ours[1:], *measured.others]
    height = 0.8 / len(others)
    for place, other in enumerate(others):
        ratios = (measured.ratios((label, other, name), (label, "ours", name)) for _, (_, label, name) in shown)
        values = [median(one) if one else 1.0 for one in ratios]
        places = [row + place * height for row in range(len(shown))]
        bars = axis.barh(places, [value - 1 for value in values], height, left=1, label=other)
        axis.bar_label(bars, [f"{value:.2f}" for value in values], fontsize=8, padding=2)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.margins(x=0.1)
    axis.set_yticks(range(len(shown)), [name for name, _ in shown], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("time, ours being 1")
    axis.legend(fontsize=8)


def _bar_name(measured: Measured, what: str, label: str) -> str:
    trial = measured.trials[label, "ours"]
    if label == "main":
        return what
    if label == "large":
        return f"{what}, {trial.image_size} pixels"
    if label.startswith("objects"):
        return "1 object" if trial.objects == 1 else f"{trial.objects} objects"
    return f"{trial.slices} slices"
