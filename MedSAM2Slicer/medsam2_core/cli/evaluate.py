"""`medsam2 evaluate`: how well a model follows the structures of labeled volumes."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medsam2_core.cli.room import require_address_space
from medsam2_core.errors import VolumeError
from medsam2_core.job.paths import path_argument, refuse_replacing
from medsam2_core.job.setting_options import add_options

if TYPE_CHECKING:
    from medsam2_core.training.evaluation import Row, Settings

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """the data set:
  NAME/image.nii.gz and NAME/labels.nii.gz for each volume, in any format and orientation; labels are whole numbers,
  their names in NAME/labels.json ({"1": "liver"}) or NAME/labels.csv (1,liver), or in a labels.seg.nrrd itself

policies (prompts are made from the labels; the whole volume is the range):
  box        a box with 3% jitter on the largest slice       3-boxes   at 25, 50 and 75% of the extent
  click      at the most interior point there                3-clicks  three of them
  box+N      then, N times, the true mask on the worst slice; the rows before each correction are shown too

examples:
  medsam2 evaluate starter my-data --output table.csv
  medsam2 evaluate tuned.pt my-data --policy box+3 --memory recency --axis coronal
"""
_HEADINGS = ("volume", "structure", "policy", "mL", "Dice", "surface", "prompted", "empty", "false", "mm", "masks/s")
_TEXT_COLUMNS = 3


def add_parser(subparsers: SubParsers) -> None:
    """Add `evaluate`; it sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on labeled volumes",
        description="Measure a model on labeled volumes, structure by structure.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=evaluate)
    parser.add_argument("model", metavar="MODEL", help="a name from `medsam2 models list`, or a checkpoint")
    parser.add_argument("dataset", type=path_argument, metavar="DATASET", help="folder with one folder per volume")
    parser.add_argument("--policy", default="box", help="prompts, see below (default: box)")
    add_options(parser, "memory", "field_of_view")
    parser.add_argument(
        "--axis",
        choices=("axial", "coronal", "sagittal", "0", "1", "2"),
        default="axial",
        help="axis to cut slices along; 0 1 2 = k j i (default: axial)",
    )
    parser.add_argument("--window", default="auto", metavar="NAME|LEVEL/WIDTH|auto", help="default: auto")
    parser.add_argument("--min-ml", type=float, default=5.0, help="leave out smaller structures (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the jitter (default: 0)")
    parser.add_argument("--output", type=path_argument, metavar="TABLE.csv", help="write all measurements, row by row")
    add_options(parser, "device", "precision")


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure, print a table, write a CSV file if asked for; returns the exit code."""
    require_address_space()
    from medsam2_core.training.evaluation import Settings
    from medsam2_core.training.policies import Policy

    settings = Settings(
        policy=Policy.parse(arguments.policy),
        memory=arguments.memory,
        field_of_view=arguments.field_of_view,
        window=arguments.window,
        min_ml=arguments.min_ml,
        seed=arguments.seed,
    )
    table = _Table(arguments.output, arguments.dataset)
    rows = list(_measure(arguments, settings, table))
    if not rows:
        raise VolumeError(f"{arguments.dataset} has no structure of {settings.min_ml:g} mL or more: lower --min-ml.")
    print("\n".join(_lines(rows)))
    return 0


def _measure(arguments: argparse.Namespace, settings: Settings, table: _Table) -> Iterator[Row]:
    from tqdm import tqdm

    import medsam2_core as m2
    from medsam2_core.training.cases import case_folders, read_case
    from medsam2_core.training.evaluation import evaluate as evaluate_case
    from medsam2_core.weights.model_file import find_model

    folders = case_folders(arguments.dataset)
    if not folders:
        raise VolumeError(
            f"{arguments.dataset} holds nothing to evaluate: expected NAME/image.nii.gz and NAME/labels.nii.gz in it."
        )
    model = m2.load_model(find_model(arguments.model).source, arguments.device, precision=arguments.precision)
    for folder in folders:
        case = read_case(folder, arguments.axis)
        structures = case.structures(settings.min_ml)
        total = len(structures) * (settings.policy.corrections + 1)
        for row in tqdm(evaluate_case(model, case, settings, structures), case.name, total, file=sys.stderr):
            table.add(row)
            yield row


class _Table:
    """A CSV file that takes rows as they come, so that an interrupted evaluation keeps what was measured.

    Without a path it takes nothing. An older file is replaced by the first row, not before.
    """

    def __init__(self, path: Path | None, dataset: Path) -> None:
        if path is not None:
            _check_table(path, dataset)
        self._path, self._started = path, False

    def add(self, row: Row) -> None:
        """Write a row. Raises VolumeError."""
        if self._path is None:
            return
        values = row.values()
        numbers = list(values.values())
        try:
            with self._path.open("a" if self._started else "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([numbers] if self._started else [list(values), numbers])
        except OSError as error:
            raise VolumeError(f"{self._path} cannot be written ({error.strerror}): choose another --output.") from error
        self._started = True


def _check_table(path: Path, dataset: Path) -> None:
    """Raise VolumeError unless a table can be written there."""
    if path.suffix.lower() != ".csv":
        raise VolumeError(f"{path}: The table is CSV: end its name with .csv.")
    if not path.parent.is_dir():
        raise VolumeError(f"The folder {path.parent} does not exist: create it or choose another --output.")
    refuse_replacing([path], dataset.glob("*/*"))


def _lines(rows: Sequence[Row]) -> list[str]:
    cells = [_HEADINGS, *(_cells(row) for row in rows), *_means(rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [_aligned(line, widths) for line in cells]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        row.structure,
        row.policy,
        f"{row.volume_ml:.0f}",
        *(_share(value) for value in (row.dice, row.surface_dice, row.prompted_dice, row.empty_recognized)),
        str(row.false_slices),
        f"{row.false_mm:.0f}",
        f"{row.slices_per_second:.1f}",
    )


def _means(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Lines with the means over all structures, one for each policy."""
    from medsam2_core.training.evaluation import mean_of

    lines = []
    for policy in dict.fromkeys(row.policy for row in rows):
        of = [row for row in rows if row.policy == policy]
        shares = [
            [getattr(row, name) for row in of] for name in ("dice", "surface_dice", "prompted_dice", "empty_recognized")
        ]
        masks, seconds = sum(row.slices_per_second * row.seconds for row in of), sum(row.seconds for row in of)
        lines.append(
            (
                "mean",
                f"of {len(of)}",
                policy,
                "",
                *(_share(mean_of(values)) for values in shares),
                f"{mean_of([row.false_slices for row in of]):.1f}",
                f"{mean_of([row.false_mm for row in of]):.0f}",
                f"{masks / seconds:.1f}",
            )
        )
    return lines


def _share(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if column < _TEXT_COLUMNS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
