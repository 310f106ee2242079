"""The settings of a run as options of a command line: made of the tables of settings, and read back from it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from medsam2_core.run.settings import RunSettings
from medsam2_core.setting import Choice, Number, Option, Setting, Text, Whole, plain_rows, rows
from medsam2_core.stopping import StopRules

_LARGEST = 1e6


def add_setting_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of settings, each under its key in a record; None where not given, so that a file's count."""
    settings = parser.add_argument_group("settings", "Those not given come from --prompts, or have their defaults.")
    stop = parser.add_argument_group(
        "stop rules", "When a direction with no other prompt ahead ends; 0 turns a rule off."
    )
    drawing = parser.add_argument_group("drawing", "How the model's output becomes masks; slices given by --mask stay.")
    for row in rows(RunSettings):
        _add(drawing if row.part == "drawing" else settings, row)
    for row in rows(StopRules):
        _add(stop, row)


def add_options(parser: argparse._ActionsContainer, *names: str) -> None:
    """Add the options of some settings of a run, with their defaults."""
    for row in rows(RunSettings):
        if row.name in names:
            _add(parser, row, row.default)


def given_settings(options: argparse.Namespace, table: type) -> dict[str, Any]:
    """The numbers and texts of a table that were given, by name. Raises PromptError for a text that means nothing."""
    given = [row for row in plain_rows(table) if getattr(options, row.key, None) is not None]
    return {row.name: _value(row, getattr(options, row.key)) for row in given}


def _add(group: argparse._ActionsContainer, row: Setting, default: Any = None) -> None:
    option = row.option
    if option is None:
        return
    group.add_argument(
        option.flag,
        dest=row.key,
        default=default,
        type=_reader(row, option),
        choices=row.kind.names if isinstance(row.kind, Choice) else option.choices,
        metavar=option.metavar or row.unit.upper() or None,
        help=option.summary.format(default=row.default),
    )


def _reader(row: Setting, option: Option) -> Callable[[str], Any]:
    """What argparse reads the option with. 0 is a number for every rule that it can switch off."""
    if not isinstance(row.kind, Whole | Number):
        return str
    least = 0 if row.optional else row.kind.least
    kind, name = (int, "whole number") if isinstance(row.kind, Whole) else (float, "number")
    return _number(kind, name, least, min(row.kind.most * option.per, _LARGEST))


def _number(kind: Callable[[str], float], name: str, least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} cannot be used: give a {name} from {least:.9g} to {most:.9g}")
        return value

    return read


def _value(row: Setting, value: Any) -> Any:
    if isinstance(row.kind, Text):
        row.kind.check(value)
    per = row.option.per if row.option is not None else 1
    return value if per == 1 else value / per
