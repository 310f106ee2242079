"""One case, from its row to a folder of results: the same code as `medsam2 propagate`, with a model that stays."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from medsam2_core.arrays import Mask
from medsam2_core.cohort import inputs
from medsam2_core.cohort.acceptance import SEGMENTATION
from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.facts import case_facts
from medsam2_core.cohort.notes import write_note
from medsam2_core.cohort.overview import Drawing
from medsam2_core.cohort.results import DONE, FORMAT, OVERVIEW, REPORT
from medsam2_core.errors import Cancelled, PromptError
from medsam2_core.files.draft import write_file
from medsam2_core.io import read_mask
from medsam2_core.job.execute import (
    LoadedModel,
    Outcome,
    execute,
    load,
    open_drafts,
    tell_of_overlaps,
    tell_of_weights,
    write_segmentation,
)
from medsam2_core.job.plan import Plan, make_plan
from medsam2_core.job.prompt_options import mask_source
from medsam2_core.notices import told
from medsam2_core.run.report import write_report
from medsam2_core.stopping import CancelToken


@dataclass(frozen=True)
class Prepared:
    """A case that was read: its plan, references by the names of objects, files, notices and seconds it took."""

    case: Case
    plan: Plan
    references: dict[str, Mask]
    inputs: inputs.Inputs
    notices: tuple[str, ...]
    seconds: float


@dataclass
class Models:
    """The model of the case before, which most often is that of the next one; `loads` counts."""

    loads: int = 0
    _key: tuple[Any, ...] = ()
    _loaded: LoadedModel | None = field(default=None)

    def get(self, plan: Plan) -> LoadedModel:
        """The model of a plan; tells if its weights are not as expected. Raises WeightsError, DeviceError."""
        file = plan.model.path.stat()
        key = (plan.model.source, file.st_size, file.st_mtime_ns, *plan.settings.of("model").items())
        if self._loaded is not None and key == self._key:
            tell_of_weights(plan, self._loaded.sha256)
            return self._loaded
        self._loaded = None  # before the next one needs its memory
        self._loaded, self._key = load(plan), key
        self.loads += 1
        return self._loaded


def prepare(case: Case, scratch: Path) -> Prepared:
    """Read and check all that a case needs. Raises PromptError, VolumeError or WeightsError."""
    started, notices = time.perf_counter(), list[str]()
    with told(notices.append):
        options = case.options
        options.output = scratch / f"{case.name}.seg.nrrd"
        plan = make_plan(options)
        references = dict(_references(case, plan))
        files = inputs.read([*inputs.input_paths(case), plan.model.path], case.folder)
    return Prepared(case, plan, references, files, tuple(notices), time.perf_counter() - started)


def compute(prepared: Prepared, model: LoadedModel, stop: CancelToken) -> Outcome:
    """Propagate. Raises Cancelled if it was stopped, and what `execute` raises."""
    outcome = execute(prepared.plan, True, stop, model)
    if outcome.interrupted:
        raise Cancelled("The run was stopped.")
    return outcome


def write(prepared: Prepared, outcome: Outcome, folder: Path, notices: list[str]) -> None:
    """Write a case's files into a folder, the last one last. Raises VolumeError."""
    plan = replace(prepared.plan, output=folder / SEGMENTATION, report=folder / REPORT)
    tell_of_overlaps(plan, outcome)
    with open_drafts(plan) as drafts:
        write_segmentation(plan, outcome, plan.output, drafts.output)
        write_report(folder / REPORT, outcome.report, drafts.report)
    segments = [item.segment for item in plan.objects]
    drawing = Drawing(plan.volume.array, outcome.labelmap, plan.volume.geometry, plan.settings.window, segments)
    write_file(folder / OVERVIEW, drawing.overview())
    write_note(folder / DONE, _noted(prepared, outcome, drawing.thumbnail(plan.settings.stack.axis), notices))


def _noted(prepared: Prepared, outcome: Outcome, thumbnail: bytes, notices: list[str]) -> dict[str, Any]:
    case, report = prepared.case, outcome.report
    return {
        "format": FORMAT,
        "case": case.name,
        "row": case.row,
        "digest": case.digest,
        "inputs": prepared.inputs,
        "command": ["medsam2", "propagate", *case.words],
        "model": report["settings"]["model"],
        "model_sha256": report["settings"]["model_sha256"],
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": {"reading": prepared.seconds, "propagating": report["seconds"]},
        "notices": [*prepared.notices, *notices],
        **case_facts(report, outcome.labelmap, prepared.references),
        "thumbnail": base64.b64encode(thumbnail).decode(),
    }


def _references(case: Case, plan: Plan) -> Iterator[tuple[str, Mask]]:
    """The references of a case's objects, on the volume's grid. Raises PromptError, VolumeError."""
    names = [item.segment.name for item in plan.objects]
    for name, text in case.references.items():
        if not name and len(names) > 1:
            raise PromptError(f"{text}: The run file has {len(names)} objects: name one in the column object.")
        source = mask_source(text)
        yield name or names[0], read_mask(source.path, plan.volume.geometry, source.name)
