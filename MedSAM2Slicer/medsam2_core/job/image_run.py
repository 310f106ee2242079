"""Run a plan of `medsam2 images`: the model goes through the set, and each result is written when it is there."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import medsam2_core as m2
from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import reserve_space
from medsam2_core.files.text import write_text
from medsam2_core.free_memory import cache_budget, give_large_blocks_back
from medsam2_core.image.geometry import Geometry
from medsam2_core.image_set import ImageSetSession
from medsam2_core.io import write_labelmap
from medsam2_core.io.picture_files import PictureFiles
from medsam2_core.io.png import write_labels
from medsam2_core.job.execute import Unfailing
from medsam2_core.job.image_plan import SetPlan, SetPrompt
from medsam2_core.job.image_prompts import prompts_json
from medsam2_core.job.overlaps import Overlaps
from medsam2_core.memory_name import draws
from medsam2_core.run.set_report import (
    SetEntry,
    SetRow,
    contact_sheet,
    most_doubtful,
    picture,
    results_csv,
    results_of,
    small,
)

_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_TABLE = "results.csv"
_SHOWN = 3  # images in doubt that the summary names


@dataclass(frozen=True)
class SetOutcome:
    """What a run gave: lines for the user, how many images are done, and whether somebody stopped it."""

    lines: list[str]
    done: int
    interrupted: bool


def run_set(plan: SetPlan, options: argparse.Namespace, stop: m2.CancelToken) -> SetOutcome:
    """Load the model, answer every image and write what is known of it.

    Raises WeightsError, DeviceError, PromptError, VolumeError.
    """
    model = m2.load_model(plan.model.source, options.device, precision=options.precision)
    session = ImageSetSession(
        model,
        PictureFiles(plan.places),
        memory=options.memory,
        order=options.order,
        seed=options.seed or 0 if draws(options.order, options.memory) else None,
        facts=plan.facts,
    )
    session.limit_cache(cache_budget(model.device))
    for one in sorted(plan.prompts, key=lambda one: one.mask is None):  # points and boxes correct a mask
        _give(session, one)
    give_large_blocks_back()
    started, entries, overlaps = time.perf_counter(), dict[int, SetEntry](), Overlaps()
    with _stack_of_labels(plan) as stack:
        for step in _answered(session, options.quiet, stop):
            index = step.slice_index
            labels = session.labels(index)
            for label, mask in step.masks.items():
                overlaps.add(label, mask, labels)
            write_labels(plan.masks / f"{plan.names[index]}.png", labels)
            entries[index] = _entry(plan, session, index, labels)
            if stack is not None:
                stack[index] = labels
        seconds = time.perf_counter() - started
        if stack is not None:
            write_labelmap(plan.output / "masks.seg.nrrd", stack, _grid(plan), plan.segments)
    overlaps.tell(plan.segments)
    listed = [entries[index] for index in sorted(entries)]
    about = f"Model {plan.model.name}, order {options.order}, {model.device.type}."
    earlier = results_of(plan.output / _TABLE)
    write_text(plan.output / _TABLE, results_csv(listed, plan.segments))
    now = {entry.result.casefold() for entry in listed}  # file systems may know no case
    for name in earlier:
        if name.casefold() not in now:
            (plan.masks / f"{name}.png").unlink(missing_ok=True)
    write_text(plan.output / "prompts.json", prompts_json([one.prompt for one in plan.prompts]))
    write_text(plan.output / "index.html", contact_sheet(listed, plan.segments, plan.skipped, about))
    lines = [*_summary(listed), f"{seconds:.1f} s, {len(listed) / max(seconds, 1e-9):.1f} images/s. {about}"]
    return SetOutcome(lines, len(listed), stop.cancelled)


def _give(session: ImageSetSession, one: SetPrompt) -> None:
    prompt = one.prompt
    if one.mask is not None:
        session.add_mask(one.label, one.index, one.mask)
    elif prompt.kind == "box":
        session.add_box(one.label, one.index, prompt.numbers)
    else:
        session.add_points(one.label, one.index, [prompt.numbers], [int(prompt.kind == "point")])


def _answered(session: ImageSetSession, quiet: bool, stop: m2.CancelToken) -> Iterator[m2.PropagationStep]:
    """The images as they are answered, with a progress bar of the model's work."""
    with tqdm(unit=" images", file=Unfailing(sys.stderr), disable=quiet) as bar:

        def show(done: int, planned: int) -> None:
            bar.total = planned
            bar.update(done - bar.n)

        yield from session.steps(stop, show)


def _entry(plan: SetPlan, session: ImageSetSession, index: int, labels: npt.NDArray[np.integer[Any]]) -> SetEntry:
    place, facts, sure = plan.places[index], plan.facts[index], session.certainty(index)
    prompted = {one.label for one in plan.prompts if one.index == index}
    pixel_mm2 = None if facts.spacing is None else facts.spacing[0] * facts.spacing[1]
    rows = {}
    for label, confidence in sure.items():
        area = int((labels == label).sum())
        rows[label] = SetRow(confidence, area, None if pixel_mm2 is None else area * pixel_mm2, label in prompted)
    card = picture(small(session.pixels(index)), labels, plan.segments)
    return SetEntry(str(place.path), place.frame, plan.names[index], rows, card)


@contextmanager
def _stack_of_labels(plan: SetPlan) -> Iterator[npt.NDArray[Any] | None]:
    """Room on the disk for the label images of a series of equal sizes (image, row, column); None for other sets.

    Raises VolumeError if there is none: the system ends a process that writes to a map where the disk is full.
    """
    if not plan.equal_sizes:
        (plan.output / "masks.seg.nrrd").unlink(missing_ok=True)  # of an earlier run with other images
        yield None
        return
    with tempfile.TemporaryFile(dir=plan.output) as file:
        kind = np.dtype(np.uint8 if len(plan.segments) < 256 else np.uint16)
        shape = (len(plan.places), *plan.facts[0].shape)
        try:
            reserve_space(file, math.prod(shape) * kind.itemsize)
        except OSError as error:
            raise VolumeError(
                f"{plan.output}: There is not enough space for the masks ({error.strerror or error}): free some disk "
                "space or choose another folder."
            ) from error
        yield np.memmap(file, kind, "w+", shape=shape)


def _grid(plan: SetPlan) -> Geometry:
    """Where images that lie nowhere are put: one on the other, 1 mm apart."""
    rows, columns = plan.facts[0].shape
    y, x = plan.facts[0].spacing or (1.0, 1.0)
    return Geometry((len(plan.places), rows, columns), (x, y, 1.0), (0.0, 0.0, 0.0), _IDENTITY)


def _summary(entries: Sequence[SetEntry]) -> list[str]:
    there = sum(any(row.area_px for row in one.rows.values()) for one in entries)
    worst = ", ".join(f"{one.result} ({1 - one.doubt:.2f})" for one in most_doubtful(entries)[:_SHOWN])
    lines = [f"{there} of {counted(len(entries), 'image')} with an object."]
    return lines + ([f"Least certain: {worst}. A prompt there helps most."] if entries else [])
