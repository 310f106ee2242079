"""Run a plan: load the model, propagate with a progress bar, and write what was done, even if interrupted."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import medsam2_core as m2
from medsam2_core.arrays import Bytes
from medsam2_core.directions import AXES
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.files.draft import Draft
from medsam2_core.free_memory import cache_budget, free_bytes
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.window import AS_GIVEN, Window
from medsam2_core.io import open_draft, write_labelmap
from medsam2_core.job.overlaps import Overlaps
from medsam2_core.job.plan import Plan
from medsam2_core.model import SAM2
from medsam2_core.model.precision import precision_name
from medsam2_core.notices import tell
from medsam2_core.run.applied import AppliedPrompts
from medsam2_core.run.prompts import RunObject
from medsam2_core.run.report import build_report, report_draft, write_report
from medsam2_core.run.sequence import PlacedRun, RoundLimit, describe_earlier, with_earlier

Progress = Callable[[float], object]
# tqdm's own, but always slices per second, where it would turn slow rates into seconds per slice.
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


@dataclass(frozen=True)
class Outcome:
    """What a run gave: the label map (k, j, i), the report on it, and how many slices the model saw.

    If the plan asks for it, where three axes disagree (k, j, i): percent of them, the most of any object. `overlaps`
    has what objects lost to others.
    """

    labelmap: npt.NDArray[np.integer[Any]]
    report: dict[str, Any]
    slices_done: int
    interrupted: bool
    disagreement: Bytes | None = None
    overlaps: Overlaps = field(default_factory=Overlaps)


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to use, and the checksum of its file."""

    model: SAM2
    sha256: str


@dataclass(frozen=True)
class Drafts:
    """Where the results go, with their room on the disk taken before the work begins."""

    output: Draft
    report: Draft | None


@contextmanager
def open_drafts(plan: Plan) -> Iterator[Drafts]:
    """Places for the segmentation and the report. Raises VolumeError if there is no room for them."""
    highest = max(item.segment.label for item in plan.objects)
    with ExitStack() as kept:
        output = kept.enter_context(open_draft(plan.output, math.prod(plan.volume.geometry.shape_kji), highest))
        report = None if plan.report is None else kept.enter_context(report_draft(plan.report))
        yield Drafts(output, report)


def load(plan: Plan) -> LoadedModel:
    """Load a plan's model; tells if its weights are not as expected. Raises WeightsError, DeviceError."""
    settings, sha256 = plan.settings, plan.model.sha256()
    tell_of_weights(plan, sha256)
    model = m2.load_model(plan.model.source, settings.device, settings.image_size or None, settings.precision)
    return LoadedModel(model, sha256)


def tell_of_weights(plan: Plan, sha256: str) -> None:
    """Tell if the weights with this checksum are not those that the plan expects."""
    if plan.expected_sha256 not in (None, sha256):
        tell(f"{plan.model.name} has different weights than the run had, so the mask may differ.")


def execute(plan: Plan, quiet: bool, stop: m2.CancelToken | None = None, loaded: LoadedModel | None = None) -> Outcome:
    """Load the model, unless it is `loaded`, and propagate; `stop` ends it after the current slice.

    Raises WeightsError, DeviceError, and VolumeError if the memory that the label map needs at the end is not free.
    """
    stop = stop or m2.CancelToken()
    loaded = loaded or load(plan)
    settings, model, sha256 = plan.settings, loaded.model, loaded.sha256
    slicing = plan.slicing
    orientation = SliceOrientation.upright(slicing.geometry, slicing.axis)
    spacing = orientation.turn_spacing(slicing.geometry.spacing_kji)
    array, window = _on_slices(plan)
    session = m2.VolumeSession(
        model,
        orientation.turn(array),
        spacing=spacing,
        axis=0,
        window=window,
        across=orientation.across,
        **settings.of("session"),
    )
    session.limit_cache(cache_budget(model.device))
    spare = _spare_memory(plan)
    started = time.perf_counter()
    done = _propagate(plan, session, orientation, quiet, stop)
    seconds = time.perf_counter() - started
    del spare
    drawn = session.labelmap(**settings.of("drawing"))
    *earlier, last = done.runs
    as_drawn = _AsDrawn(session, settings.of("drawing"), last.objects, drawn, math.prod(spacing[1:]))
    overlaps = as_drawn.overlaps
    labelmap = _on_voxels(plan, orientation.turn_back(drawn))
    report = build_report(
        plan.volume,
        replace(settings.of_model(_facts(session, sha256)), **last.settings),
        last.objects,
        as_drawn,
        labelmap,
        seconds=seconds,
        encoder=session.encoder_counts,
        interrupted=done.interrupted,
        overlaps_ml={label: overlaps.lost(label) * math.prod(spacing) / 1000 for label in overlaps.labels},
    )
    report = with_earlier(report, [describe_earlier(run, slicing) for run in earlier])
    disagreement = _disagreement(plan, session, orientation)
    return Outcome(labelmap, report, done.slices, done.interrupted, disagreement, overlaps)


def write(plan: Plan, outcome: Outcome, drafts: Drafts) -> None:
    """Write the segmentation and, if asked for, the report and where three axes disagree; tell of overlaps.

    Raises VolumeError; a segmentation that cannot be written where it should be is kept elsewhere, which it says.
    """
    tell_of_overlaps(plan, outcome)
    try:
        write_segmentation(plan, outcome, plan.output, drafts.output)
    except VolumeError as error:
        other = Path(tempfile.mkdtemp(prefix="medsam2-")) / plan.output.name
        write_segmentation(plan, outcome, other)
        raise VolumeError(f"{str(error).rstrip('.')}; the result of this run is kept in {other}.") from error
    if plan.report is not None:
        write_report(plan.report, outcome.report, drafts.report)
    if plan.disagreement is not None and outcome.disagreement is not None:
        write_labelmap(plan.disagreement, outcome.disagreement, plan.volume.geometry, like=plan.volume)


def tell_of_overlaps(plan: Plan, outcome: Outcome) -> None:
    """Tell of objects that lost most of their mask to others."""
    outcome.overlaps.tell([item.segment for item in plan.objects])


def write_segmentation(plan: Plan, outcome: Outcome, path: Path, draft: Draft | None = None) -> None:
    """Write the segmentation alone, to any place. Raises VolumeError."""
    segments = [item.segment for item in plan.objects]
    write_labelmap(path, outcome.labelmap, plan.volume.geometry, segments, plan.volume, draft, plan.model.name)


def _spare_memory(plan: Plan) -> npt.NDArray[np.uint8]:
    """Memory kept free during the run for the label map and two masks. Raises VolumeError if it is not there."""
    wide = max(item.segment.label for item in plan.objects) > np.iinfo(np.uint8).max
    size = math.prod(plan.volume.geometry.shape_kji) * (4 if wide else 3)
    if free_bytes() < size:
        raise VolumeError(
            f"The label map will need {size / 1e6:.0f} MB of memory at the end, and {free_bytes() / 1e6:.0f} MB are "
            "free: close other programs, or crop the volume."
        )
    return np.empty(size, np.uint8)


def _on_slices(plan: Plan) -> tuple[npt.NDArray[Any], Window]:
    """The volume on the plan's slices, and the window that is still to be applied."""
    oblique = plan.settings.stack.oblique(plan.volume.geometry)
    if oblique is None:
        return plan.volume.array, plan.settings.window
    return oblique.resample(plan.settings.window.to_uint8(plan.volume.array)), AS_GIVEN


def _disagreement(plan: Plan, session: m2.VolumeSession, orientation: SliceOrientation) -> Bytes | None:
    """Where three axes disagree on any object; 0 where one axis drew alone. None if the plan does not ask."""
    if plan.disagreement is None:
        return None
    most = np.zeros(plan.slicing.geometry.shape_kji, np.uint8)
    upright = orientation.turn(most)  # the same voxels
    for item in plan.objects:
        with suppress(PromptError):  # it was followed along one axis only, which may be all that Ctrl+C has left
            for index, percent in session.disagreement(item.segment.label):
                np.maximum(upright[index], percent, out=upright[index])
    return _on_voxels(plan, most)


def _on_voxels(plan: Plan, labelmap: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A label map of the plan's slices on the volume's voxels (k, j, i)."""
    oblique = plan.settings.stack.oblique(plan.volume.geometry)
    return labelmap if oblique is None else oblique.stored_labels(labelmap)


def _facts(session: m2.VolumeSession, sha256: str) -> dict[str, Any]:
    """What came of the settings; see `RunSettings.of_model`."""
    model = session.model
    return {
        "sha256": sha256,
        "image_size": model.config.image_size,
        "device": model.device.type,
        "precision": precision_name(model),
        "field_of_view": session.field_of_view,
    }


class _AsDrawn:
    """What a session knows, with the areas that another threshold or smoothing gives, and what objects lost to others.

    `drawn` is the session's label map (slices, rows, columns). Masks are looked at once, slice by slice: those of a
    large volume would be as large as the label map.
    """

    def __init__(
        self,
        session: m2.VolumeSession,
        drawing: Mapping[str, Any],
        objects: Sequence[RunObject],
        drawn: npt.NDArray[Any],
        pixel_mm2: float,
    ) -> None:
        self.overlaps = Overlaps()
        self._session = session
        self._areas: dict[int, dict[int, float]] = {}
        for label in (item.segment.label for item in objects):
            areas = self._areas[label] = {}
            for index, mask in session.masks(label, **drawing):
                areas[index] = np.count_nonzero(mask) * pixel_mm2
                if len(objects) > 1:
                    self.overlaps.add(label, mask, drawn[index])

    def results(self, object_id: int) -> dict[int, m2.SliceResult]:
        """See `VolumeSession.results`."""
        known, areas = self._session.results(object_id), self._areas[object_id]
        return {index: replace(one, area_mm2=areas.get(index, 0.0)) for index, one in known.items()}

    def stops(self, object_id: int) -> dict[str, str]:
        """See `VolumeSession.stops`."""
        return self._session.stops(object_id)


@dataclass(frozen=True)
class _Done:
    """The runs that were done, an interrupted one with the rounds it came to, and how many slices the model saw."""

    runs: list[PlacedRun]
    slices: int
    interrupted: bool


def _propagate(
    plan: Plan, session: m2.VolumeSession, orientation: SliceOrientation, quiet: bool, pressed: m2.CancelToken
) -> _Done:
    """One run after the other, until the last one or until somebody `pressed` Ctrl+C."""
    prompts = AppliedPrompts(session, orientation)
    done, seen = list[PlacedRun](), set[int]()
    total = sum(run.expected_slices * AXES[run.settings["directions"]] for run in plan.runs)
    with _progress_bar(total, quiet) as progress:
        for run in plan.runs:
            prompts.change_to(run.objects)
            upright = replace(run, stop=run.stop.turned(orientation.turn))
            rounds = _run(upright, session, pressed, progress, seen)
            done.append(replace(run, rounds=rounds) if pressed.cancelled else run)
            if pressed.cancelled:
                break
    return _Done(done, len(seen), pressed.cancelled)


def _run(
    run: PlacedRun, session: m2.VolumeSession, pressed: m2.CancelToken, progress: Progress, seen: set[int]
) -> int | None:
    """Propagate once, the region of the stop rules turned as the session is; the rounds if stopped. Adds to `seen`."""
    limit, done = RoundLimit(run.rounds, pressed), set[int]()
    course = run.first, run.last, run.direction, run.stop
    for step in session.propagate(*course, cancel=limit, progress=limit.count, **run.others):
        progress(step.slice_index not in done or not step.masks)  # one without masks is of another axis
        done.add(step.slice_index)
    seen |= done
    return limit.rounds_if_stopped


@contextmanager
def _progress_bar(total: int, quiet: bool) -> Iterator[Progress]:
    """What is told of each slice, by how much to go on.

    Quiet, no bar is made: tqdm's lock is shared by forked processes, and stays locked if one is killed that holds it.
    """
    if quiet:
        yield lambda _: None
        return
    with tqdm(total=total, unit=" slices", bar_format=_BAR, file=Unfailing(sys.stderr)) as bar:
        yield bar.update


class Unfailing:
    """A stream whose troubles, such as a full disk or a reader that left, end no run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or not."""
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or not."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Whatever else tqdm asks a stream, such as how wide it is."""
        return getattr(self._stream, name)
