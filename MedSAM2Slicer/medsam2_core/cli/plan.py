"""What `medsam2 propagate` is about to do: every option read, checked and resolved before a model is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam2_core.cli.model_file import ModelFile, catalogue_match, find_model
from medsam2_core.cli.place_options import check_range_holds_prompts, choose_axis, place_options, stop_rules
from medsam2_core.cli.prompt_options import checked_range, mask_source, parse_prompts, parse_range
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.window import Window
from medsam2_core.io import Volume, check_output_path, read_volume
from medsam2_core.run.file import FileSettings, place_rules, read_run_file
from medsam2_core.run.memory import DEFAULT_MEMORY, parse_memory
from medsam2_core.run.prompts import Prompt, RunObject, Slicing, make_objects
from medsam2_core.run.report import RunSettings, check_report_path
from medsam2_core.run.sequence import PlacedRun, place_runs
from medsam2_core.run.stack import SliceStack
from medsam2_core.weights.catalogue import load_catalogue

_NO_PROMPTS = (
    "There is no prompt: show the object with --point I,J,K, --box I0,J0,I1,J1@K, --mask FILE or --prompts RUN."
)
_OBLIQUE = (
    "The run file's slices are oblique, and prompts of the command line are on stored ones: give only one of the two."
)


@dataclass(frozen=True)
class Plan:
    """A run that can start. `range` is half-open; `image_size` None means the model's own; `stop` holds rules by name.

    `earlier` are the runs before it in the same session; `rounds`, `threshold` and `smoothing_mm` as in `RunSettings`.
    `expected_sha256` is that of the model which a run file asks for, None where the user chose the model.
    """

    volume: Volume
    stack: SliceStack
    objects: list[RunObject]
    window: Window
    range: tuple[int, int]
    model: ModelFile
    expected_sha256: str | None
    image_size: int | None
    direction: str
    memory: str
    field_of_view: str
    device: str
    stop: Mapping[str, Any]
    output: Path
    report: Path | None
    rounds: int | None = None
    threshold: float = RunSettings.threshold
    smoothing_mm: float = RunSettings.smoothing_mm
    earlier: tuple[PlacedRun, ...] = ()

    @property
    def slicing(self) -> Slicing:
        """The slices, and where their pixels lie."""
        return self.stack.slicing(self.volume.geometry)

    @property
    def runs(self) -> list[PlacedRun]:
        """All runs, the last one last."""
        stop = place_rules(self.stop, self.slicing.geometry.shape_kji)
        last = PlacedRun(tuple(self.objects), *self.range, self.direction, stop, self.rounds)
        return [*self.earlier, last]


def make_plan(options: argparse.Namespace) -> Plan:
    """Read and check everything a run needs; options left at None come from the run file, then from the defaults.

    Raises PromptError, VolumeError or WeightsError, in one sentence that says what to do.
    """
    typed = parse_prompts(options.typed or [])
    if not typed and options.prompts is None:
        raise PromptError(_NO_PROMPTS)
    _check_paths(options)
    run = None if options.prompts is None else read_run_file(options.prompts)
    saved = FileSettings() if run is None else run.settings
    model, expected_sha256 = _model(options.model, saved)
    volume = read_volume(options.volume, options.series, options.resample)
    stack = _stack(options.axis, saved, volume)
    slicing = stack.slicing(volume.geometry)
    runs = [] if run is None else place_runs(run, slicing)
    if typed and stack.plane is not None:
        raise PromptError(_OBLIQUE)
    objects = _objects(options, runs[-1].objects if runs else (), slicing, volume)
    first, last = _range(options.range, saved, slicing, volume)
    check_range_holds_prompts(objects, first, last)
    return Plan(
        volume=volume,
        stack=stack,
        objects=objects,
        window=_window(options.window, saved, volume),
        range=(first, last),
        model=model,
        expected_sha256=expected_sha256,
        image_size=None if options.model else saved.image_size,
        direction=options.direction or saved.direction or "both",
        memory=_memory(options.memory or saved.memory or DEFAULT_MEMORY),
        field_of_view=options.field_of_view or saved.field_of_view or "auto",
        device=options.device or saved.device or "auto",
        stop=stop_rules(options, saved.stop, volume),
        output=options.output,
        report=options.report,
        rounds=None if options.range else saved.rounds,
        threshold=_first(options.threshold, saved.threshold, RunSettings.threshold),
        smoothing_mm=_first(options.smooth, saved.smoothing_mm, RunSettings.smoothing_mm),
        earlier=tuple(runs[:-1]),
    )


def _first(*values: float | None) -> float:
    """The first value that is given."""
    return next(value for value in values if value is not None)


def _check_paths(options: argparse.Namespace) -> None:
    check_output_path(options.output)
    if options.report is not None:
        check_report_path(options.report)
    masks = [value for option, value in options.typed or [] if option == "--mask"]
    region = [] if options.stop_outside is None else [options.stop_outside]
    for source in (options.volume, *(mask_source(text).path for text in (*masks, *region))):
        if source.exists() and options.output.exists() and source.samefile(options.output):
            raise VolumeError(f"{options.output}: The output would replace an input: give --output another name.")


def _model(chosen: str | None, saved: FileSettings) -> tuple[ModelFile, str | None]:
    """The model the user chose, else that of the run file, else the starter; with the checksum it should have.

    A run file is not trusted with paths, so of a checkpoint outside the catalog it only knows the name.
    """
    if chosen is not None or saved.model is None:
        return find_model(chosen or "starter"), None
    published = catalogue_match(saved.model_sha256) if saved.model_sha256 else None
    entry = published or load_catalogue().get(saved.model)
    if entry is None:
        raise PromptError(
            f"The run used the model {saved.model!r}, which is not in the catalog: give its checkpoint with --model."
        )
    return find_model(entry.name), saved.model_sha256


def _memory(name: str) -> str:
    parse_memory(name)
    return name


def _stack(chosen: str | None, saved: FileSettings, volume: Volume) -> SliceStack:
    if chosen is None and saved.stack is not None:
        return saved.stack
    return SliceStack(choose_axis(chosen or "0", volume.geometry))


def _objects(
    options: argparse.Namespace, saved: Sequence[RunObject], slicing: Slicing, volume: Volume
) -> list[RunObject]:
    """Objects of the run file, then those of the command line; one that both name gets the prompts of both."""
    typed = parse_prompts(options.typed or [])
    if not typed:
        return list(saved)
    prompts: dict[str, list[Prompt]] = {item.segment.name: list(item.prompts) for item in saved}
    for name, given in typed.items():
        prompts.setdefault(name, []).extend(place_options(given, options.frame, slicing, volume.stored))
    labels = {item.segment.name: item.segment.label for item in saved}
    colors = {item.segment.name: item.segment.color for item in saved}
    return make_objects(prompts, labels, colors)


def _range(chosen: str | None, saved: FileSettings, slicing: Slicing, volume: Volume) -> tuple[int, int]:
    count = slicing.count
    if chosen is not None and volume.stored is not None and slicing.axis == 0:
        return volume.stored.span(*parse_range(chosen, volume.stored.shape_kji[0]))
    if chosen is not None:
        return parse_range(chosen, count)
    if saved.range is not None:
        return checked_range(*saved.range, count, f"The run file's range {saved.range[0]}:{saved.range[1]}")
    return 0, count


def _window(chosen: str | None, saved: FileSettings, volume: Volume) -> Window:
    if chosen is None and saved.window is not None:
        return saved.window
    return Window.parse(chosen or "auto", volume.array)
