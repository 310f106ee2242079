"""The table of a cohort as a person wrote it: rows of cells by column, out of CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam2_core.cohort.columns import OWN, columns
from medsam2_core.errors import PromptError
from medsam2_core.files import text

_ENTRIES = ("yes", "true", "1", "x")


@dataclass(frozen=True)
class Row:
    """A row with its number: the line of a CSV file, or the place in a list of JSON, counted from 1."""

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a cell, a row (no column) or the table (no row)."""

    row: int | None
    column: str | None
    text: str

    def __str__(self) -> str:
        """The place, then the problem, on one line."""
        place = ", ".join([*([f"row {self.row}"] if self.row else []), *([self.column] if self.column else [])])
        return " ".join(f"{place}: {self.text}".split()) if place else self.text


def read_table(path: Path) -> tuple[list[Row], list[Problem]]:
    """The rows of a table, and what is wrong with its columns. Raises PromptError for a file that is not a table."""
    try:
        found = _json(path) if path.suffix.lower() == ".json" else _csv(path)
    except OSError as error:
        raise PromptError(f"{path}: Cannot be read ({error.strerror or error}): check the path.") from error
    except text.TextError as error:
        raise PromptError(f"{path}: It is not a table ({error}): write one with medsam2 batch --init.") from error
    if not found:
        raise PromptError(f"{path}: The table has no row: write one for each case and object.")
    return found, list(_wrong_columns(found))


def _csv(path: Path) -> list[Row]:
    numbered = text.read_numbered_rows(path)
    if not numbered:
        return []
    names = [_name(cell) for cell in numbered[0][1]]
    for name in names:
        if name and names.count(name) > 1:
            raise text.TextError(f"two columns are called {name!r}")
    found = []
    for number, cells in numbered[1:]:
        if len(cells) > len(names) and any(cells[len(names) :]):
            raise text.TextError(f"row {number} has {len(cells)} cells and the first row {len(names)}")
        filled = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
        if filled:
            found.append(Row(number, filled))
    return found


def _json(path: Path) -> list[Row]:
    content = text.read_json(path)
    listed = content.get("cases") if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise text.TextError("it is not a list of objects in braces, one for each row")
    return [Row(number, _cells(one)) for number, one in enumerate(listed, 1)]


def _cells(one: Mapping[str, Any]) -> dict[str, str]:
    found = {_name(key): _cell(value) for key, value in one.items()}
    return {name: cell for name, cell in found.items() if cell}


def _cell(value: Any) -> str:
    """A value of JSON as a person would write it in a cell: [1, 2, 3] as 1,2,3 and a list of such with blanks."""
    if value is None or value is False:
        return ""
    if value is True:
        return _ENTRIES[0]
    if isinstance(value, list):
        return (" " if any(isinstance(one, list | str) for one in value) else ",").join(_cell(one) for one in value)
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise text.TextError(f"{value!r:.40} is neither text nor a number")


def _name(cell: str) -> str:
    """A column's name however it is written: Stop absent, stop_absent and --stop-absent are the same."""
    return "-".join(cell.strip().removeprefix("--").lower().replace("_", " ").split())


def is_switched_on(cell: str) -> bool:
    """Whether a cell of a yes-or-no column says yes. Raises PromptError for neither."""
    if cell.lower() in _ENTRIES:
        return True
    if cell.lower() in ("no", "false", "0"):
        return False
    raise PromptError(f"{cell!r} is neither yes nor no: write one of them.")


def _wrong_columns(rows: list[Row]) -> Iterator[Problem]:
    known = [*OWN, *columns()]
    unknown = dict.fromkeys(name for row in rows for name in row.cells if name not in known)
    for name in unknown:
        yield Problem(None, name, f"There is no such column: use {', '.join(known)}.")
    if not any("image" in row.cells for row in rows):
        yield Problem(None, "image", "The table has no such column: name the image of each row in it.")
