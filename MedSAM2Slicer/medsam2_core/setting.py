"""Settings as the rows of a table: fields of a frozen dataclass, each with all that is to be known of it anywhere.

`run.settings.RunSettings` and `stopping.StopRules` are the tables. From their rows come the record of a run
(`run.report`), what is read of one (`run.file_settings`), the worker's requests (`worker.fields`, `worker.rules`) and
the command line's options (`job.setting_options`). So a new setting of a kind that is here is one row, and its use.

Imports nothing heavy, for the command line's help.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Whole:
    """A whole number within bounds."""

    least: int = 0
    most: int = 1 << 31

    def holds(self, value: object) -> bool:
        """Whether a value, of Python or numpy, is one of them."""
        return isinstance(value, Integral) and not isinstance(value, bool) and self.least <= int(value) <= self.most


@dataclass(frozen=True)
class Number:
    """A number within bounds."""

    least: float = -1e30
    most: float = 1e30

    def holds(self, value: object) -> bool:
        """Whether a value, of Python or numpy, is one of them; NaN is not."""
        return isinstance(value, Real) and not isinstance(value, bool) and self.least <= float(value) <= self.most


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """Any text, unless `check` raises PromptError for it."""

    check: Callable[[str], object] = str


@dataclass(frozen=True)
class Structure:
    """A value of several parts, for which everything that reads or writes it has code of its own."""


Kind = Whole | Number | Choice | Text | Structure


@dataclass(frozen=True)
class Option:
    """How a setting is given on a command line.

    `summary` may hold {default}; without a `metavar` the value is called by the setting's unit. The option's number is
    `per` times the setting's: 100 for a share that is given in percent.
    """

    flag: str
    summary: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    per: int = 1


@dataclass(frozen=True)
class Setting:
    """A row. `part` is what a setting is of: see `RunSettings`. An `optional` one may be None: no rule, no limit.

    `name` is the field's, and the one on the wire; `key` that in a record.
    """

    kind: Kind
    default: Any
    unit: str
    part: str
    option: Option | None
    optional: bool
    key: str
    name: str = ""


def setting(
    kind: Kind,
    default: Any = MISSING,
    *,
    unit: str = "",
    part: str = "",
    option: Option | None = None,
    optional: bool = False,
    key: str = "",
) -> Any:
    """A field of a dataclass that is a table; see `Setting`. Without a default it has to be given."""
    return field(default=default, metadata={Setting: Setting(kind, default, unit, part, option, optional, key)})


@cache
def rows(table: type) -> tuple[Setting, ...]:
    """The rows of a table, in its order."""
    found = ((one.name, one.metadata[Setting]) for one in fields(table))
    return tuple(replace(row, name=name, key=row.key or name) for name, row in found)


def plain_rows(table: type) -> tuple[Setting, ...]:
    """The rows whose values are numbers or text."""
    return tuple(row for row in rows(table) if not isinstance(row.kind, Structure))
