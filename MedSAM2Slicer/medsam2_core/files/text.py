"""Text files as people save them: any Unicode encoding with its mark, any line ends, tables of any separator."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medsam2_core.files.draft import write_file

_MARKS = (  # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ";\t,"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, and the .xls of old


class TextError(ValueError):
    """A file that is not text, or not of the form it should have; says what is wrong, but not with which file."""


def read_text(path: Path) -> str:
    """The text of a file, lines ended by a line feed. Raises TextError for other encodings, OSError."""
    raw = path.read_bytes()
    if raw.startswith(_WORKBOOKS):
        raise TextError("it is a spreadsheet program's own file, so save it as CSV in UTF-8 there")
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None) or _unmarked(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextError("its text is not in Unicode, so save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises TextError, OSError."""
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise TextError("it is too deeply nested") from error
    except TextError:
        raise
    except ValueError as error:
        raise TextError(str(error)) from error


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table, cells without outer blanks, empty rows left out. Raises TextError, OSError.

    Cells are separated by semicolons, tabs or commas, by what the first cell of all ends with.
    """
    return [cells for _, cells in read_numbered_rows(path)]


def read_numbered_rows(path: Path) -> list[tuple[int, list[str]]]:
    """As `read_rows`, each row with the number of its line, counted from 1 as spreadsheets do."""
    lines = [(number, line) for number, line in enumerate(read_text(path).split("\n"), 1) if line.strip()]
    separator = ""
    if lines and lines[0][1].lower().startswith("sep=") and len(lines[0][1]) == 5:  # how spreadsheets are told
        separator = lines.pop(0)[1][4]
    separator = separator or next((letter for _, line in lines[:1] for letter in line if letter in _SEPARATORS), ",")
    reader = csv.reader((line for _, line in lines), delimiter=separator)
    try:
        return [(lines[reader.line_num - 1][0], [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise TextError(str(error)) from error


def column_of(path: Path, columns: Sequence[str], name: str) -> set[str]:
    """The cells in one column of a table that has just these columns; none if there is no such table."""
    try:
        header, *rows = read_rows(path)
    except (OSError, TextError, ValueError):
        return set()
    if header != list(columns):
        return set()
    return {row[columns.index(name)] for row in rows if len(row) == len(columns)}


def harmless_cell(value: Any) -> Any:
    """A text for a table that spreadsheets take for a text: they would run one that begins as a formula does."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all. Raises VolumeError."""
    write_file(path, text.encode("utf-8"))


def _unmarked(raw: bytes) -> str:
    """UTF-16 where every other byte of the beginning is 0, else UTF-8."""
    if raw[1:64:2].count(0) > len(raw[1:64:2]) / 2:
        return "utf-16-le"
    return "utf-16-be" if raw[0:64:2].count(0) > len(raw[0:64:2]) / 2 else "utf-8"
