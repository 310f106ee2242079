"""Run a plan: load the model, propagate with a progress bar, and write what was done, even if interrupted."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import medsam2_core as m2
from medsam2_core.cli.plan import Plan
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.io import write_labelmap
from medsam2_core.model import SAM2
from medsam2_core.run.prompts import add_prompts
from medsam2_core.run.report import RunSettings, build_report, write_report

# tqdm's own, but always slices per second, where it would turn slow rates into seconds per slice.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
_FINISHING = b"\nFinishing the slice at hand; press Ctrl+C again to leave at once without a result.\n"


@dataclass(frozen=True)
class Outcome:
    """What a run gave: the label map (k, j, i), the report on it, and how many slices the model saw."""

    labelmap: npt.NDArray[np.integer[Any]]
    report: dict[str, Any]
    slices_done: int
    interrupted: bool


def execute(plan: Plan, quiet: bool) -> Outcome:
    """Load the model and propagate; Ctrl+C ends it after the slice at hand. Raises WeightsError or DeviceError."""
    sha256 = plan.model.sha256()
    if plan.expected_sha256 not in (None, sha256):
        print(f"Note: {plan.model.name} has other weights than the run had, so the mask may differ.", file=sys.stderr)
    model = m2.load_model(plan.model.source, device=plan.device, image_size=plan.image_size)
    orientation = SliceOrientation.upright(plan.volume.geometry, plan.slicing.axis)
    session = m2.VolumeSession(
        model,
        orientation.turn(plan.volume.array),
        spacing=orientation.turn_spacing(plan.volume.geometry.spacing_kji),
        axis=0,
        window=plan.window,
        memory=plan.memory,
        field_of_view=plan.field_of_view,
    )
    add_prompts(session, plan.objects, orientation)
    stop = m2.StopRules(**plan.stop)
    settings = _settings(plan, model, sha256, session.field_of_view, stop)
    started = time.perf_counter()
    slices_done, interrupted = _propagate(plan, session, stop, quiet)
    seconds = time.perf_counter() - started
    labelmap = orientation.turn_back(session.labelmap())
    report = build_report(
        plan.volume, settings, plan.objects, session, labelmap, seconds=seconds, interrupted=interrupted
    )
    return Outcome(labelmap, report, slices_done, interrupted)


def write(plan: Plan, outcome: Outcome) -> None:
    """Write the segmentation and, if asked for, the report. Raises VolumeError."""
    segments = [item.segment for item in plan.objects]
    write_labelmap(plan.output, outcome.labelmap, plan.volume.geometry, segments)
    if plan.report is not None:
        write_report(plan.report, outcome.report)


def _settings(plan: Plan, model: SAM2, sha256: str, field_of_view: str, stop: m2.StopRules) -> RunSettings:
    first, last = plan.range
    return RunSettings(
        model=plan.model.name,
        model_sha256=sha256,
        image_size=model.config.image_size,
        axis=plan.slicing.axis,
        window=plan.window,
        first=first,
        last=last,
        direction=plan.direction,
        memory=plan.memory,
        field_of_view=field_of_view,
        stop=stop,
        device=model.device.type,
    )


def _propagate(plan: Plan, session: m2.VolumeSession, stop: m2.StopRules, quiet: bool) -> tuple[int, bool]:
    """Number of slices done, and whether Ctrl+C ended it."""
    first, last = plan.range
    token = m2.CancelToken()
    done: set[int] = set()
    total = _expected_slices(plan)
    with _cancelled_by_interrupt(token), _progress_bar(total, quiet) as bar:
        for step in session.propagate(first=first, last=last, direction=plan.direction, stop=stop, cancel=token):
            bar.update(step.slice_index not in done)
            done.add(step.slice_index)
    return len(done), token.cancelled


def _progress_bar(total: int, quiet: bool) -> tqdm[NoReturn]:
    return tqdm(total=total, unit=" slices", bar_format=_BAR, file=sys.stderr, disable=quiet)


def _expected_slices(plan: Plan) -> int:
    """Slices a run goes through unless a stop rule ends it."""
    first, last = plan.range
    prompted = [index for item in plan.objects for index in item.slices if first <= index < last]
    if plan.direction == "forward":
        first = min(prompted)
    if plan.direction == "backward":
        last = max(prompted) + 1
    return last - first


@contextmanager
def _cancelled_by_interrupt(token: m2.CancelToken) -> Iterator[None]:
    """Let the first Ctrl+C set `token`, and the second do what it did before."""
    previous = signal.getsignal(signal.SIGINT)

    def cancel(_number: int, _frame: FrameType | None) -> None:
        token.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.write(2, _FINISHING)  # print is not safe here: the signal may have come in the middle of another print

    signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
