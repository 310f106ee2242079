"""Which files a case was made from, so that one that changed is noticed: by size and date, then by content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medsam2_core.cohort.cases import Case
from medsam2_core.job.prompt_options import mask_source
from medsam2_core.weights.checksum import read_blocks

Inputs = dict[str, dict[str, Any]]


def input_paths(case: Case) -> list[Path]:
    """The files and folders that a case names, except its model."""
    options = case.options
    named = [options.prompts, options.transform, options.boxes]
    named += [mask_source(text).path for text in case.references.values()]
    named += [mask_source(text).path for option, text in options.typed or [] if option == "--mask"]
    named += [Path(text) for option, text in options.typed or [] if option == "--markups"]
    named += [None if text is None else mask_source(text).path for text in (options.inside, options.prior)]
    return list(dict.fromkeys([options.volume, *(path for path in named if path is not None)]))


def seen(paths: Iterable[Path], folder: str) -> Inputs:
    """What is to be noted of some files without reading them, by their names from `folder`."""
    return {_key(path, folder): {"stat": _stat(path)} for path in paths}


def read(paths: Iterable[Path], folder: str) -> Inputs:
    """The same with the checksums of their content. Raises WeightsError, OSError."""
    return {_key(path, folder): {"stat": _stat(path), "sha256": _sha256(path)} for path in paths}


def unchanged(inputs: Mapping[str, Mapping[str, Any]], folder: str) -> bool:
    """Whether all files are as they were noted; one with another date is read."""
    return all(_same(Path(folder, name), noted) for name, noted in inputs.items())


def of_image(inputs: Mapping[str, Mapping[str, Any]], case: Case) -> dict[str, Any]:
    """Of a case's noted files its image alone."""
    key = _key(Path(case.image), case.folder)
    return {name: noted for name, noted in inputs.items() if name == key}


def _same(path: Path, noted: Mapping[str, Any]) -> bool:
    if _stat(path) == noted["stat"]:
        return True
    return "sha256" in noted and path.exists() and _sha256(path) == noted["sha256"]


def _key(path: Path, folder: str) -> str:
    """A name that stays when the files and their table move together."""
    with suppress(ValueError):
        return path.relative_to(folder).as_posix()
    return str(path)


def _stat(path: Path) -> str | None:
    """Sizes and dates in a few letters; None where there is nothing."""
    digest, found = hashlib.sha256(), False
    for file in _files(path):
        with suppress(OSError):
            facts = file.stat()
            digest.update(
                f"{file.relative_to(path)}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode("utf-8", "replace")
            )
            found = True
    return digest.hexdigest()[:16] if found else None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(path):
        if file != path:
            digest.update(f"{file.relative_to(path)}\0".encode("utf-8", "replace"))
        for block in read_blocks(file):
            digest.update(block)
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """A file itself, or all in a folder and those below it, in order."""
    if not path.is_dir():
        yield path
        return
    for place, folders, names in os.walk(path):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))
