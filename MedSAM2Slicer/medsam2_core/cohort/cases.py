"""The cases of a cohort: rows of its table, checked one by one and joined, each as the words of a command line."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medsam2_core.cohort.columns import OBJECT, Column, case_parser, columns
from medsam2_core.cohort.table import Problem, Row, is_switched_on
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.io.volume import naming, require_readable
from medsam2_core.job.objects import has_masks
from medsam2_core.job.prompt_options import DEFAULT_OBJECT, parse_prompts
from medsam2_core.job.setting_options import given_settings
from medsam2_core.run.names import checked_name
from medsam2_core.run.settings import RunSettings

_LONGEST_NAME = 100  # bytes; file systems take 255, and folders at work have a longer one
_FORBIDDEN = frozenset('/\\:*?"<>|')
_EVERY = "--every="
REPLACED = "replaced"
"""The folder for what people had made of cases before these were run again."""

_TAKEN = frozenset({"index.html", "summary.csv", "summary.json", REPLACED})
_IMAGE_ENDINGS = (".nii.gz", ".hdr.gz", ".img.gz", ".seg.nrrd")
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))})


@dataclass(frozen=True)
class CaseObject:
    """What a row says of an object: its prompts as (option, value), and FILE[:NAME] of a mask to compare it with.

    `name` is empty in a row that has only a file which names its objects itself.
    """

    row: int
    name: str
    prompts: tuple[tuple[str, str], ...]
    reference: str | None


@dataclass(frozen=True)
class Case:
    """An image and what is asked of it. `settings` are words of a command line, those of the cohort first.

    `folder` is that of the table, where its files are looked for.
    """

    name: str
    folder: str
    image: str
    row: int
    settings: tuple[str, ...]
    objects: tuple[CaseObject, ...]

    @property
    def words(self) -> list[str]:
        """The words of `medsam2 propagate`, except its outputs."""
        prompts = [
            f"{option}={value}"
            for item in self.objects
            for option, value in ((f"--{OBJECT}", item.name), *item.prompts)
            if item.prompts
        ]
        return [self.image, *self.settings, *prompts]

    @property
    def options(self) -> Namespace:
        """The same, read; `volume` is the image, and there is no output."""
        options = case_parser().parse_args(self.words[1:])
        options.volume = Path(self.image)
        options.output = options.report = options.sheet = options.disagreement = None
        return options

    @property
    def references(self) -> dict[str, str]:
        """What to compare objects with, by their names."""
        return {item.name: item.reference for item in self.objects if item.reference is not None}

    @property
    def digest(self) -> str:
        """Changes when anything does that the table or the command says of it."""
        said = json.dumps([self.words, self.references], ensure_ascii=True)
        here = json.dumps(f"{self.folder}{os.sep}", ensure_ascii=True)[1:-1]  # table and files may move together
        return hashlib.sha256(said.replace(here, "").encode()).hexdigest()


def make_cases(rows: Sequence[Row], folder: Path, shared: tuple[str, ...]) -> tuple[list[Case], list[Problem]]:
    """The cases of a table in `folder`, and everything that is wrong with it.

    `shared` are words of the whole cohort; a row's own win.
    """
    cases: dict[str, Case] = {}
    problems: list[Problem] = []
    folded: dict[str, str] = {}
    for row in rows:
        wrong = list(_wrong_cells(row))
        if wrong:
            problems += [*wrong, *_missing_image(row, folder)]
            continue
        name = row.cells.get("case") or image_name(row.cells["image"])
        one = _case(name, row, folder, shared)
        first = cases.get(folded.setdefault(_folded(name), name))
        if first is None:
            cases[name] = one
        else:
            problems += _differences(first, one)
            cases[first.name] = replace(first, objects=(*first.objects, *one.objects))
    if any(word.startswith(_EVERY) for word in shared):
        return [_without_idle(case, len(shared)) for case in cases.values()], problems
    return list(cases.values()), problems


def _without_idle(case: Case, shared: int) -> Case:
    """A case without --every among the words of the whole cohort, the first ones, where it has no mask."""
    if has_masks(case.options):
        return case
    words = (word for word in case.settings[:shared] if not word.startswith(_EVERY))
    return replace(case, settings=(*words, *case.settings[shared:]))


def image_name(text: str) -> str:
    """The name of an image's file without its ending, or of its folder."""
    name = Path(text).name
    for ending in _IMAGE_ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(name).stem if Path(name).suffix.lower() in (".nii", ".nrrd", ".mha", ".mhd", ".hdr", ".img") else name


def checked_case_name(name: str) -> str:
    """A name that a folder can have on any system. Raises PromptError."""
    if (
        not name
        or not name.isprintable()
        or name.startswith(".")
        or name != name.strip(" .")
        or _FORBIDDEN & set(name)
        or name.lower() in _TAKEN
        or name.lower().partition(".")[0] in _RESERVED
        or len(name.encode("utf-8", "replace")) > _LONGEST_NAME
        or _not_utf8(name)
    ):
        raise PromptError(
            f"{name!r:.60} cannot name a folder: use up to {_LONGEST_NAME} letters, digits, blanks, - and _ in the "
            "column case."
        )
    return name


def _not_utf8(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def _folded(name: str) -> str:
    """The same for names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _wrong_cells(row: Row) -> Iterator[Problem]:
    """What is wrong with a row's cells, each taken by itself."""
    if "image" not in row.cells:
        yield Problem(row.number, "image", "It is empty: name the image file or folder.")
    name = row.cells.get("case")
    try:
        checked_case_name(name or image_name(row.cells.get("image", "image")))
    except PromptError as error:
        yield Problem(row.number, "case", str(error))
    for column in columns().values():
        if column.name in row.cells:
            yield from _wrong_cell(row, column, row.cells[column.name])
    if not any(_is_shown_by(name) for name in row.cells):
        shown_by = ", ".join(filter(_is_shown_by, columns()))
        yield Problem(row.number, None, f"There is no prompt: fill in one of {shown_by}.")


def _missing_image(row: Row, folder: Path) -> Iterator[Problem]:
    """Tell of an image that is not there, in a row that is wrong otherwise, too, and so makes no case to be checked."""
    image = folder / row.cells.get("image", "")
    try:
        with naming(image):
            require_readable(image)
    except VolumeError as error:
        yield Problem(row.number, "image", str(error))


def _is_shown_by(name: str) -> bool:
    return name in ("prompts", "from-segmentation", "boxes") or (name in columns() and columns()[name].prompts)


def _wrong_cell(row: Row, column: Column, cell: str) -> Iterator[Problem]:
    try:
        if column.switch:
            is_switched_on(cell)
        elif column.name == OBJECT:
            checked_name(cell, "The name")
        else:
            for text in column.texts(cell):
                read = case_parser().parse_args([column.word(text)])
                given_settings(read, RunSettings)
                parse_prompts(read.typed or [])
    except PromptError as error:
        yield Problem(row.number, column.name, str(error))


def _case(name: str, row: Row, folder: Path, shared: tuple[str, ...]) -> Case:
    settings, prompts = list(shared), list[tuple[str, str]]()
    for column in columns().values():
        cell = row.cells.get(column.name)
        if cell is None or column.name == OBJECT or (column.switch and not is_switched_on(cell)):
            continue
        texts = [_located(column, text, folder) if column.is_path else text for text in column.texts(cell)]
        if column.prompts:
            prompts += [(column.flag, text) for text in texts]
        elif column.name == "prompts" and cell.lower().endswith(".mrk.json"):
            prompts += [("--markups", text) for text in texts]
        else:
            settings += [column.word(text) for text in texts]
    reference = row.cells.get("reference")
    shown = CaseObject(
        row.number,
        row.cells.get(OBJECT, DEFAULT_OBJECT) if prompts else row.cells.get(OBJECT, ""),
        tuple(prompts),
        None if reference is None else str(folder / reference),
    )
    return Case(name, str(folder), str(folder / row.cells["image"]), row.number, tuple(settings), (shown,))


def _located(column: Column, text: str, folder: Path) -> str:
    """A file of the table's folder, FILE or FILE:NAME; of a model, which may have a name, only one that is there."""
    path = folder / text
    return text if column.name == "model" and not path.exists() else str(path)


def _differences(first: Case, other: Case) -> Iterator[Problem]:
    """What a further row of a case may not say."""
    row, before = other.row, f"Row {first.row}"
    if other.name != first.name:
        yield Problem(row, "case", f"{before} has the case {first.name!r}, whose folder it would share: rename one.")
    if other.image != first.image:
        yield Problem(row, "image", f"{before} has another image for this case: give each image a case of its own.")
    for word in other.settings:
        if word not in first.settings:
            name = word[2:].partition("=")[0]
            yield Problem(row, name, f"{before} of the same case says otherwise: a case has one {name}.")
    names = {item.name: item.row for item in first.objects}
    for item in other.objects:
        if item.name in names:
            yield Problem(row, OBJECT, f"Row {names[item.name]} has {item.name!r} of this case already: remove one.")
