"""An empty path, as of a shell's variable that is not set, is refused wherever a command takes one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core.cli.main import _parser
from medsam2_core.cli.main import run as command_line

SAID = "path is empty: is a variable of your shell not set?"


def arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from arguments(one)


def test_no_argument_takes_an_empty_path() -> None:
    types = [action.type for action in arguments(_parser()) if callable(action.type)]
    assert Path not in types
    assert sum(one.__name__ == "path_argument" for one in types) > 20


@pytest.mark.parametrize(
    "words", [["info", ""], ["propagate", "", "--output", "x"], ["images", "a.png", "--output", " "]]
)
def test_it_is_told_in_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = command_line(words)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert SAID in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--mask", "--markups", "--from-segmentation", "--stop-outside"])
def test_a_part_of_an_option_is_none(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "ct.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 8, 8), np.int16)), image)
    words = ["propagate", str(image), "--output", str(tmp_path / "x.nrrd"), "--point", "1,1,1", option, ""]
    assert command_line(words) == 2
    assert SAID in capsys.readouterr().err
