"""What `medsam2 propagate` is about to do: every option read, checked and resolved before a model is loaded."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from medsam2_core.directions import THREE
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.files.draft import Draft
from medsam2_core.files.links import real_path
from medsam2_core.image.slicing import SliceStack, Slicing, choose_axis
from medsam2_core.image.window import AS_GIVEN, Window
from medsam2_core.io import Volume, check_fits, check_output_path, read_volume
from medsam2_core.job.objects import refuse_idle, run_objects, shows_objects
from medsam2_core.job.paths import path_of, refuse_replacing
from medsam2_core.job.place_options import check_range_holds_prompts, stop_rules
from medsam2_core.job.prompt_options import checked_range, mask_source, parse_range
from medsam2_core.job.setting_options import given_settings
from medsam2_core.run.file import read_run_file
from medsam2_core.run.file_settings import place_rules
from medsam2_core.run.prompts import RunObject
from medsam2_core.run.report import check_report_path
from medsam2_core.run.sequence import PlacedRun, place_runs
from medsam2_core.run.settings import FileSettings, RunSettings, plain_settings
from medsam2_core.weights.model_file import ModelFile, find_model, recorded_model

_NO_PROMPTS = (
    "There is no prompt: show the object with --point I,J,K, --box I0,J0,I1,J1@K, --mask FILE, "
    "--markups FILE, --from-segmentation FILE, --boxes FILE or --prompts RUN."
)
_OBLIQUE = (
    "The run file's slices are oblique, and prompts on the command line are on stored ones: give only one of the two."
)


@dataclass(frozen=True)
class Plan:
    """A run that can start. `earlier` are the runs before it in the same session.

    `settings` lack what only the loaded model can tell, see `RunSettings`; image_size 0 means the model's own.
    `expected_sha256` is that of the model which a run file asks for, None where the user chose the model.
    """

    volume: Volume
    objects: list[RunObject]
    model: ModelFile
    expected_sha256: str | None
    settings: RunSettings
    output: Path
    report: Path | None
    sheet: Path | None = None
    disagreement: Path | None = None
    earlier: tuple[PlacedRun, ...] = ()

    @property
    def slicing(self) -> Slicing:
        """The slices, and where their pixels lie."""
        return self.settings.stack.slicing(self.volume.geometry)

    @property
    def runs(self) -> list[PlacedRun]:
        """All runs, the last one last."""
        return [*self.earlier, PlacedRun.of(self.objects, self.settings.of("run"))]


def make_plan(options: argparse.Namespace, volume: Volume | None = None) -> Plan:
    """Read and check everything a run needs; options left at None come from the run file, then from the defaults.

    The `volume` is read unless it is given.

    Raises PromptError, VolumeError or WeightsError, in one sentence that says what to do.
    """
    refuse_idle(options)
    shown = shows_objects(options)
    if not shown and options.prompts is None:
        raise PromptError(_NO_PROMPTS)
    _check_paths(options)
    run = None if options.prompts is None else read_run_file(options.prompts)
    saved = FileSettings() if run is None else run.settings
    model, expected_sha256 = _model(options.model, saved)
    volume = volume or read_volume(options.volume, options.series, options.resample, colors=True)
    if volume.slices is not None:
        refuse_replacing(_outputs(options), [frame.path for frame in volume.slices.frames])
    check_fits(options.output, volume)
    stack = _stack(options.axis, saved, volume)
    if shown and stack.plane is not None:
        raise PromptError(_OBLIQUE)
    slicing = stack.slicing(volume.geometry)
    runs = [] if run is None else place_runs(run, slicing)
    objects = run_objects(options, runs[-1].objects if runs else (), slicing, volume)
    settings = _settings(options, saved, model.name, stack, volume)
    check_range_holds_prompts(objects, settings.first, settings.last)
    return Plan(
        volume,
        objects,
        model,
        expected_sha256,
        settings,
        options.output,
        options.report,
        options.sheet,
        options.disagreement,
        tuple(runs[:-1]),
    )


def _settings(
    options: argparse.Namespace, saved: FileSettings, model: str, stack: SliceStack, volume: Volume
) -> RunSettings:
    """The settings given, else those of the run file, else the defaults."""
    slicing = stack.slicing(volume.geometry)
    first, last = _range(options.range, saved, slicing, volume)
    own = {
        "model": model,
        "image_size": RunSettings.image_size if options.model else saved.image_size or RunSettings.image_size,
        "rounds": None if options.range else saved.rounds,
    }
    settings = RunSettings(
        **{**plain_settings(given_settings(options, RunSettings), vars(saved)), **own},
        stack=stack,
        window=_window(options.window, saved, volume),
        first=first,
        last=last,
        stop=place_rules(stop_rules(options, saved.stop, volume), slicing.geometry.shape_kji),
    )
    if options.disagreement is not None and settings.directions != THREE:
        raise PromptError("--disagreement compares three axes: give --directions three with it.")
    return settings


def _check_paths(options: argparse.Namespace) -> None:
    check_output_path(options.output)
    if options.report is not None:
        check_report_path(options.report)
    if options.sheet is not None:
        Draft(options.sheet).discard()
    if options.disagreement is not None:
        _check_image_path(options.disagreement)
    outputs = _outputs(options)
    for place, path in enumerate(outputs):
        if real_path(path) in [real_path(other) for other in outputs[:place]]:
            raise VolumeError(f"{path}: Two outputs have this name: give each its own.")
    refuse_replacing(outputs, _inputs(options))


def _outputs(options: argparse.Namespace) -> list[Path]:
    given = options.output, options.report, options.sheet, options.disagreement
    return [path for path in given if path is not None]


def _inputs(options: argparse.Namespace) -> list[Path]:
    """The files that are read, except --prompts, in whose place the new report may come."""
    given = options.volume, options.transform, options.boxes
    masks = [value for option, value in options.typed or [] if option == "--mask"]
    markups = [path_of(value) for option, value in options.typed or [] if option == "--markups"]
    named = [mask_source(text).path for text in (*masks, options.inside, options.prior) if text is not None]
    return [path for path in (*given, *markups, *named) if path is not None]


def _check_image_path(path: Path) -> None:
    """Raise VolumeError unless an image (not a segmentation) can be written there."""
    if path.name.lower().endswith((".seg.nrrd", ".dcm")):
        raise VolumeError(f"{path}: The disagreement is an image: end the name with .nrrd, .nii, .nii.gz or .mha.")
    check_output_path(path)


def _model(chosen: str | None, saved: FileSettings) -> tuple[ModelFile, str | None]:
    """The model the user chose, else that of the run file, else the starter; with the checksum it should have."""
    if chosen is not None or saved.model is None:
        return find_model("starter" if chosen is None else chosen), None
    entry = recorded_model(saved.model, saved.model_sha256)
    if entry is None:
        raise PromptError(
            f"The run used the model {saved.model!r}, which is not in the catalog: give its checkpoint with --model."
        )
    return find_model(entry.name), saved.model_sha256


def _stack(chosen: str | None, saved: FileSettings, volume: Volume) -> SliceStack:
    if chosen is not None or saved.stack is None:
        return SliceStack(choose_axis(chosen or "0", volume.geometry))
    if volume.in_color and saved.stack.plane is not None:
        raise PromptError("The run file's slices are oblique, and images in color have none: give new prompts.")
    return saved.stack


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
    if volume.in_color:
        if chosen is not None:
            raise PromptError(f"{volume.path}: An image in color has no window: omit --window.")
        return AS_GIVEN
    if chosen is None and saved.window is not None:
        return saved.window
    return Window.parse(chosen or "auto", volume.array)
