"""Problems in the cases of a cohort, found before any of them runs: files, places, models. Reads no voxels."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from medsam2_core.cohort.cases import Case, CaseObject
from medsam2_core.cohort.table import Problem
from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.slicing import Slicing, choose_axis
from medsam2_core.image.window import Window
from medsam2_core.io import read_grid
from medsam2_core.io.volume import naming, require_readable
from medsam2_core.job.detections import place_detections, read_detections
from medsam2_core.job.objects import require_use
from medsam2_core.job.place_options import check_range_holds_prompts, place_options
from medsam2_core.job.prompt_options import MaskOption, PromptOption, mask_source, parse_prompts, parse_range
from medsam2_core.notices import told
from medsam2_core.run.file import RunFile, read_run_file
from medsam2_core.run.prompts import Prompt, make_objects
from medsam2_core.weights.model_file import find_model


def problems_of(case: Case) -> list[Problem]:
    """Every problem that shows without the voxels, each at its row and column."""
    problems: list[Problem] = []
    with told(lambda _: None):  # they are told when the case runs
        _Check(case, problems).run()
    return problems


class _Check:
    """Goes through a case and notes what is wrong."""

    def __init__(self, case: Case, problems: list[Problem]) -> None:
        self._case, self._problems, self._options = case, problems, case.options

    def run(self) -> None:
        case, options = self._case, self._options
        for column, check in _SETTINGS.items():
            with self._at(case.row, column):
                check(options)
        grid, saved = None, None
        with self._at(case.row, "image"):
            grid = _grid(Path(case.image))
        with self._at(case.row, "prompts"):
            saved = None if options.prompts is None else read_run_file(options.prompts)
        slicing = self._slicing(grid, saved)
        placed = {item.name: self._place(item, slicing) for item in case.objects if item.prompts}
        with self._at(case.row, "boxes"):
            _check_boxes(options, slicing)
        if slicing is not None and not any((options.prompts, options.prior, options.boxes)):  # of which more come
            self._check_together(slicing, {name: prompts for name, prompts in placed.items() if prompts is not None})

    def _slicing(self, grid: Geometry | None, saved: RunFile | None) -> Slicing | None:
        """The slices, where they are known: not for DICOM, nor where a run file may name others."""
        if grid is None or self._options.resample or (saved is not None and saved.settings.stack is not None):
            return None
        with self._at(self._case.row, "axis"):
            return Slicing(grid, choose_axis(self._options.axis or "0", grid))
        return None

    def _place(self, item: CaseObject, slicing: Slicing | None) -> list[Prompt] | None:
        """The prompts of an object; None where they are not all known: masks are read when the case runs."""
        placed: list[Prompt] | None = []
        for option, text in item.prompts:
            with self._at(item.row, option[2:]):
                (given,) = parse_prompts([(option, text)]).values()
                found = _placed(given, self._options.frame, slicing)
                placed = None if placed is None or found is None else [*placed, *found]
        if item.reference is not None:
            with self._at(item.row, "reference"):
                _require_file(mask_source(item.reference).path)
        return placed

    def _check_together(self, slicing: Slicing, placed: dict[str, list[Prompt]]) -> None:
        if any(problem.column not in ("reference", "model") for problem in self._problems):
            return
        for item in self._case.objects:
            if item.name in placed:
                with self._at(item.row, None):
                    make_objects({item.name: placed[item.name]}, {}, {})
        with self._at(self._case.row, "range"):
            text = self._options.range
            first, last = (0, slicing.count) if text is None else parse_range(text, slicing.count)
            if not any(problem.column is None for problem in self._problems):
                check_range_holds_prompts(make_objects(placed, {}, {}), first, last)

    @contextmanager
    def _at(self, row: int, column: str | None) -> Iterator[None]:
        try:
            yield
        except MedSAM2Error as error:
            self._problems.append(Problem(row, column, str(error)))


def _placed(given: list[PromptOption], frame: str, slicing: Slicing | None) -> list[Prompt] | None:
    masks = [option for option in given if isinstance(option, MaskOption)]
    for option in masks:
        _require_file(option.path)
    return None if masks or slicing is None else place_options(given, frame, slicing)


def _check_boxes(options: Namespace, slicing: Slicing | None) -> None:
    """Read a detector's file, and place its boxes where the slices are known."""
    if options.boxes is None:
        return
    if slicing is None:
        read_detections(options.boxes, options.least_score)
    else:
        place_detections(options.boxes, options.least_score, options.frame, slicing)


@lru_cache(maxsize=1 << 14)
def _grid(path: Path) -> Geometry | None:
    grid = read_grid(path)
    if grid is None and path.is_dir() and next(path.iterdir(), None) is None:
        raise PromptError(f"{path}: The folder is empty: name an image file or a folder of DICOM slices.")
    return grid


@lru_cache(maxsize=1 << 10)
def _require_model(name: str) -> None:
    find_model(name)


@lru_cache(maxsize=16)
def _require_device(name: str) -> None:
    from medsam2_core.weights.loading import find_device  # PyTorch, which takes longer than all else here

    find_device(name)


def _require_file(path: Path) -> None:
    with naming(path):
        require_readable(path)


def _check_window(options: Namespace) -> None:
    if options.window not in (None, "auto"):
        Window.parse(options.window, np.empty(0))


def _check_source(text: str | None) -> None:
    if text is not None:
        _require_file(mask_source(text).path)


def _check_transform(options: Namespace) -> None:
    require_use(options, "transform")
    if options.transform is not None:
        _require_file(options.transform)


_SETTINGS: dict[str, Callable[[Namespace], None]] = {
    "model": lambda options: None if options.model is None else _require_model(options.model),
    "device": lambda options: None if options.device is None else _require_device(options.device),
    "window": _check_window,
    "stop-outside": lambda options: _check_source(options.inside),
    "from-segmentation": lambda options: _check_source(options.prior),
    "transform": _check_transform,
    "least-score": lambda options: require_use(options, "least-score"),
    "every": lambda options: require_use(options, "every"),
}
