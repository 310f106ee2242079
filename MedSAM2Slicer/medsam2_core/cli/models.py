"""`medsam2 models`: list, download, import, verify and remove model files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

from medsam2_core.errors import Cancelled, WeightsError
from medsam2_core.job.paths import path_argument
from medsam2_core.weights.catalog import ModelEntry, find_entry
from medsam2_core.weights.download import ProgressCallback
from medsam2_core.weights.store import ModelState, WeightsStore

if TYPE_CHECKING:
    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_HEADINGS = ("name", "state", "size MB", "license", "title")
_RIGHT_ALIGNED = 2


def add_parser(subparsers: SubParsers) -> None:
    """Add `models` and its sub-commands; each sets `command`, which takes the arguments and returns the exit code."""
    parser = subparsers.add_parser("models", help="list, download, import, verify or remove model files")
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    _add_command(commands, "list", "show the known models and whether they are on this computer", list_models)
    download = _add_command(commands, "download", "download models; an interrupted download resumes", download_models)
    download.add_argument("names", nargs="+", metavar="NAME")
    download.add_argument("--accept-license", action="store_true", help="accept the models' licenses without asking")
    add_file = _add_command(commands, "import", "import a model file that was downloaded by other means", import_model)
    add_file.add_argument("file", type=path_argument, metavar="FILE")
    add_file.add_argument("--name", help="which model the file must be (default: recognized by its content)")
    verify = _add_command(commands, "verify", "compare the files with the published checksums", verify_models)
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: every model on this computer")
    remove = _add_command(commands, "remove", "delete downloaded models", remove_models)
    remove.add_argument("names", nargs="+", metavar="NAME")


def list_models(_arguments: argparse.Namespace) -> int:
    """Print a table of all models on standard output and the folder they are kept in on standard error."""
    store = _open_store()
    rows = [_HEADINGS, *(_row(entry, store.state(entry.name)) for entry in store.catalog.values())]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print(_aligned(row, widths))
    print(f"Downloaded models are kept in {store.folder}", file=sys.stderr)
    return 0


def download_models(arguments: argparse.Namespace) -> int:
    """Fetch `arguments.names`, asking for each license that is not permissive."""
    store = _open_store()
    for entry in [find_entry(store.catalog, name) for name in arguments.names]:
        if store.state(entry.name) is ModelState.MISSING:
            accepted = arguments.accept_license or _license_accepted(entry)
            with _progress_bar(entry.name) as progress:
                store.download(entry.name, progress, accept_license=accepted)
        print(f"{entry.name}: {store.path(entry.name)}")
    return 0


def import_model(arguments: argparse.Namespace) -> int:
    """Copy `arguments.file` into the store as the model `arguments.name`, or as the one it is recognized as."""
    store = _open_store()
    name = store.import_file(arguments.file, arguments.name)
    print(f"{name}: {store.path(name)}")
    return 0


def verify_models(arguments: argparse.Namespace) -> int:
    """Check `arguments.names`, or every model on this computer; return 1 if any of them is not as published."""
    store = _open_store()
    results = [_verify(store, name) for name in arguments.names or store.installed()]
    return 0 if all(results) else 1


def remove_models(arguments: argparse.Namespace) -> int:
    """Delete the downloaded files of `arguments.names`."""
    store = _open_store()
    for name in arguments.names:
        store.remove(name)
        print(f"{name}: removed")
    return 0


def _add_command(
    commands: SubParsers, name: str, summary: str, command: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(command=command)
    return parser


def _open_store() -> WeightsStore:
    return WeightsStore()


def _verify(store: WeightsStore, name: str) -> bool:
    """Report on one model instead of raising, so that one damaged file does not hide the next."""
    try:
        store.verify(name)
    except WeightsError as error:
        print(error, file=sys.stderr)
        return False
    print(f"{name}: as published")
    return True


def _row(entry: ModelEntry, state: ModelState) -> tuple[str, ...]:
    size = f"{entry.size_bytes / 1e6:.1f}" if entry.size_bytes else "?"
    return entry.name, state.value, size, entry.license, entry.title


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        cell.rjust(width) if column == _RIGHT_ALIGNED else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _license_accepted(entry: ModelEntry) -> bool:
    """Ask a person at a terminal; elsewhere the answer is no, and the store's error says how to accept."""
    if entry.permissive or not sys.stdin.isatty():
        return entry.permissive
    print(
        f"{entry.title}, license: {entry.license}\n{entry.license_text}\nDo you accept? [y/N] ", end="", file=sys.stderr
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled(f"{entry.name} was not downloaded, because its license was not accepted.")
    return True


@contextmanager
def _progress_bar(name: str) -> Iterator[ProgressCallback]:
    # The delay keeps an empty bar off the screen when the download is refused at once.
    with tqdm(desc=name, unit="B", unit_scale=True, delay=0.2, file=sys.stderr) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            if bar.n == 0:
                bar.initial = done  # keeps what an earlier download left out of the speed
            bar.update(done - bar.n)

        yield show
