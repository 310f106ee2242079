"""What `medsam2 sequence` does: a plan for the prompted moment, then all moments, each written when it is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

import medsam2_core as m2
from medsam2_core.errors import PromptError
from medsam2_core.files.text import write_text
from medsam2_core.image.measure import volume_ml
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.segments import Segment
from medsam2_core.io import Volume, write_labelmap
from medsam2_core.io.moments import read_moments
from medsam2_core.job.execute import Unfailing, load
from medsam2_core.job.overlaps import Overlaps
from medsam2_core.job.paths import require_no_file
from medsam2_core.job.plan import Plan, make_plan
from medsam2_core.moments import Moment, follow, stack_opener
from medsam2_core.run.applied import AppliedPrompts
from medsam2_core.run.curve import curve_csv, curve_svg, ejection_fraction, frames_of

_TABLE = "volumes.csv"


@dataclass(frozen=True)
class MomentsPlan:
    """A run that can start: `plan` is that of the prompted moment `start`.

    `ends` are the moments of the largest and the smallest volume, None without.
    """

    volumes: Sequence[Volume]
    plan: Plan
    start: int
    output: Path
    ends: tuple[int, int] | None

    @property
    def segments(self) -> list[Segment]:
        """The objects."""
        return [item.segment for item in self.plan.objects]


def make_moments(options: argparse.Namespace) -> MomentsPlan:
    """Read and check everything a run needs. Raises PromptError, VolumeError or WeightsError."""
    volumes = read_moments(options.volumes, options.series)
    start = _frame(options.at, len(volumes), "--at")
    ends = None
    if options.full is not None or options.empty is not None:
        if options.full is None or options.empty is None:
            raise PromptError("The ejection fraction needs two frames: give both --full and --empty.")
        ends = _frame(options.full, len(volumes), "--full"), _frame(options.empty, len(volumes), "--empty")
    require_no_file(options.output)
    options.output.mkdir(parents=True, exist_ok=True)
    own = {"volume": volumes[start].path, "output": options.output / _name(start)}
    plan = make_plan(argparse.Namespace(**{**vars(options), **own}), volumes[start])
    return MomentsPlan(volumes, plan, start, options.output, ends)


def run_moments(moments: MomentsPlan, quiet: bool, stop: m2.CancelToken) -> tuple[list[str], int]:
    """Load the model and go through all moments; lines for the user, and how many moments are done.

    Raises WeightsError, DeviceError, VolumeError.
    """
    plan, settings = moments.plan, moments.plan.settings
    model = load(plan).model
    axis = plan.slicing.axis
    orientation = SliceOrientation.upright(plan.slicing.geometry, axis)
    spacing = orientation.turn_spacing(plan.slicing.geometry.spacing_kji)
    turned = [orientation.turn(volume.array) for volume in moments.volumes]
    own = settings.of("session")
    open_stack = stack_opener(model, turned, spacing, settings.window, across=orientation.across, **own)
    session = open_stack([(moments.start, None)])
    AppliedPrompts(session, orientation).change_to(plan.objects)
    labels = [segment.label for segment in moments.segments]
    course = {**settings.of("run"), "stop": settings.stop.turned(orientation.turn)}
    del course["rounds"]  # of a run that somebody stopped
    earlier = frames_of(moments.output / _TABLE)
    overlaps, volumes_ml = Overlaps(), dict[int, dict[int, float]]()
    confidence: dict[int, dict[int, float]] = {}
    steps = follow(open_stack, session, labels, moments.start, len(turned), stop, course, settings.of("drawing"))
    for moment in tqdm(steps, total=len(turned), unit=" frames", file=Unfailing(sys.stderr), disable=quiet):
        volumes_ml[moment.index] = _write(moments, orientation, moment, overlaps)
        confidence[moment.index] = dict(moment.confidence)
        write_text(moments.output / _TABLE, curve_csv(volumes_ml, confidence, moments.segments))
        write_text(moments.output / "volumes.svg", curve_svg(volumes_ml, moments.segments))
        for frame in earlier - volumes_ml.keys():  # at the first moment: the table lists them no more
            (moments.output / _name(frame)).unlink(missing_ok=True)
    overlaps.tell(moments.segments)
    return _summary(moments, volumes_ml), len(volumes_ml)


def _write(moments: MomentsPlan, orientation: SliceOrientation, moment: Moment, overlaps: Overlaps) -> dict[int, float]:
    """Write the segmentation of a moment; the volumes in mL by label. Of masks that overlap the later one counts."""
    volume = moments.volumes[moment.index]
    first = next(iter(moment.masks.values()))
    labelmap = np.zeros(first.shape, np.uint8 if max(moment.masks) < 256 else np.uint16)
    for label, mask in sorted(moment.masks.items()):
        labelmap[mask] = label
    for label, mask in moment.masks.items():
        overlaps.add(label, mask, labelmap)
    stored = orientation.turn_back(labelmap)
    write_labelmap(moments.output / _name(moment.index), stored, volume.geometry, moments.segments, volume)
    return {label: volume_ml(stored == label, volume.geometry.spacing_kji) for label in moment.masks}


def _summary(moments: MomentsPlan, volumes_ml: dict[int, dict[int, float]]) -> list[str]:
    lines = []
    for segment in moments.segments:
        curve = {moment: values[segment.label] for moment, values in volumes_ml.items()}
        full, empty = max(curve, key=lambda one: curve[one]), min(curve, key=lambda one: curve[one])
        line = f"{segment.name}: {curve[full]:.1f} mL in frame {full} to {curve[empty]:.1f} mL in frame {empty}"
        if moments.ends is not None and all(end in curve for end in moments.ends):
            share = ejection_fraction(curve[moments.ends[0]], curve[moments.ends[1]])
            line += f"; ejection fraction {share:.0f} % (frames {moments.ends[0]} and {moments.ends[1]})"
        lines.append(f"{line}.")
    return lines


def _frame(number: int, count: int, option: str) -> int:
    if not 0 <= number < count:
        raise PromptError(f"{option} {number}: There is no such frame: give one from 0 to {count - 1}.")
    return number


def _name(index: int) -> str:
    return f"frame_{index:03d}.seg.nrrd"
