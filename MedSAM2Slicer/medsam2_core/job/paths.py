"""Paths of command lines: none is empty, which would be the current folder, and no output replaces an input."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable, Sequence
from pathlib import Path

from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.files.links import real_path

_EMPTY = "the path is empty: is a variable of your shell not set?"


def path_of(text: str) -> Path:
    """Read a path that is a part of an option's value. Raises PromptError."""
    if not text.strip():
        raise PromptError(_EMPTY.capitalize())
    return Path(text)


def path_argument(text: str) -> Path:
    """Read a path for argparse, which names the argument that is wrong."""
    if not text.strip():
        raise ArgumentTypeError(_EMPTY)
    return Path(text)


def refuse_replacing(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise VolumeError for an output that is one of the inputs, by whatever name."""
    there = [path for path in outputs if path.exists()]
    for source in inputs:
        for path in there:
            if source.exists() and source.samefile(path):
                raise VolumeError(f"{path}: The output would replace an input: give it another name.")


def require_no_file(folder: Path) -> None:
    """Raise VolumeError for a folder of results whose name a file has, or a link in a circle."""
    real_path(folder)
    if folder.exists() and not folder.is_dir():
        raise VolumeError(f"{folder}: This is a file: give --output the name of a folder.")


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path is right in a folder, by whatever names. Raises VolumeError for a link in a circle."""
    return real_path(path.parent) == real_path(folder)
