"""The columns of a cohort's table: the options of `medsam2 propagate`, and a few of the cohort's own."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from medsam2_core.errors import PromptError
from medsam2_core.job.options import add_case_options, add_shared_options
from medsam2_core.job.prompt_options import InOrder, mask_source

OWN = {
    "case": "name of the case and of its folder (default: the image's name)",
    "image": "image file, or folder of DICOM slices",
    "reference": "a mask to compare the object with, FILE[:NAME]",
}
OBJECT = "object"
_ARGUMENT = re.compile(r"^argument [^ ]+: ")  # how argparse begins its messages
_POSITIONS = ("point", "exclude", "box")  # whose cells may hold several, with blanks between them


class Words(argparse.ArgumentParser):
    """Reads options, and raises PromptError where argparse would end the program."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with one option."""
        raise PromptError(_ARGUMENT.sub("", message))


@dataclass(frozen=True)
class Column:
    """A column that is an option. `prompts`: its cells show the object. `is_path`: they name a file."""

    name: str
    flag: str
    dest: str
    prompts: bool
    switch: bool
    is_path: bool

    def texts(self, cell: str) -> list[str]:
        """The option's values in a cell."""
        return cell.split() if self.name in _POSITIONS else [cell]

    def word(self, text: str) -> str:
        """The option with its value, as one word of a command line."""
        return self.flag if self.switch else f"{self.flag}={text}"


@cache
def columns() -> dict[str, Column]:
    """The columns that are options, by name, in the order of the command's help."""
    found = (_column(action) for action in _actions(case_parser()))
    return {column.name: column for column in found}


@cache
def case_parser() -> Words:
    """A parser of everything that a row can say."""
    parser = Words(add_help=False, allow_abbrev=False)
    add_case_options(parser)
    return parser


def shared_words(options: argparse.Namespace) -> tuple[str, ...]:
    """The words of those options of a whole cohort that were given."""
    parser = Words(add_help=False)
    add_shared_options(parser)
    given = {action: getattr(options, action.dest) for action in _actions(parser)}
    return tuple(
        f"{action.option_strings[0]}={_from_anywhere(action, value)}"
        for action, value in given.items()
        if value is not None and value != action.default
    )


def _from_anywhere(action: argparse.Action, value: object) -> object:
    """A value that means the same in any folder: that of a file that is here, with its path."""
    if isinstance(value, str) and _names_file(action) and "." in value and mask_source(value).path.is_file():
        return Path.cwd() / value
    return value


def _names_file(action: argparse.Action) -> bool:
    return isinstance(action.metavar, str) and ("FILE" in action.metavar or action.metavar.endswith(".json"))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]


def _column(action: argparse.Action) -> Column:
    flag = action.option_strings[0]
    prompts = isinstance(action, InOrder) and flag != f"--{OBJECT}"
    return Column(flag[2:], flag, action.dest, prompts, action.nargs == 0, _names_file(action))
