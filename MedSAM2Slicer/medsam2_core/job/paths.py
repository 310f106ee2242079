"""Paths of command lines, none of them empty: that would be the current folder."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from medsam2_core.errors import PromptError

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
