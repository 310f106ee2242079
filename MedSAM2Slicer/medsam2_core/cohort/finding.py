"""The cases that lie in a folder: images, DICOM folders, and what is beside them to start from; and a table of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from medsam2_core.cohort.cases import image_name
from medsam2_core.cohort.table import Row
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.files.draft import write_file
from medsam2_core.io.dicom.scan import is_dicom

TABLE = "cohort.csv"
_COLUMNS = (
    *("case", "image", "object", "point", "exclude", "box", "mask", "markups", "prompts"),
    *("window", "range", "reference"),
)
_IMAGES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_MARKUPS, _RUN, _SEGMENTATION = ".mrk.json", ".json", ".seg.nrrd"


def find_cases(folder: Path) -> list[Row]:
    """A row for each image in a folder and in the folders in it, or for each markups file beside one.

    An image NAME.nii.gz (or of another format) starts from NAME.mrk.json or NAME.json, a run file. In a folder of its
    own it starts from whatever such files are there; a markups file OBJECT.mrk.json shows the object of its name. A
    folder of DICOM slices is an image. Raises PromptError if there is none.
    """
    try:
        found = list(_cells(folder))
    except OSError as error:
        raise PromptError(f"{folder}: Cannot be read ({error.strerror or error}): check the path.") from error
    if not found:
        raise PromptError(f"{folder}: It holds no image and no folder of DICOM slices: give another folder or a table.")
    return [Row(number, cells) for number, cells in enumerate(found, 2)]  # as in the table, whose first row has names


def write_table(folder: Path, path: Path) -> int:
    """Write a table of the cases in a folder, to be filled in; returns their number. Never replaces one.

    Raises PromptError, VolumeError.
    """
    if path.exists():
        raise VolumeError(f"{path}: There is a table already: move it away, or give --output another name.")
    rows = find_cases(folder)
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(_COLUMNS)
    table.writerows([row.cells.get(name, "") for name in _COLUMNS] for row in rows)
    write_file(path, written.getvalue().encode("utf-8-sig", "surrogateescape"))  # spreadsheets go by the mark
    return len(rows)


def _cells(folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _of_folder(path, folder)
        elif _is_image(path):
            yield from _rows(image_name(path.name), path, _named_after(path), folder)


def _of_folder(path: Path, folder: Path) -> Iterator[dict[str, str]]:
    """The rows of a folder with one case, or with several images, or with DICOM slices."""
    files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    images = [one for one in files if _is_image(one)]
    others = [one for one in files if _shows_objects(one)]
    if len(images) == 1:
        yield from _rows(path.name, images[0], others, folder)
    elif images:
        for image in images:
            yield from _rows(f"{path.name} {image_name(image.name)}", image, _named_after(image), folder)
    elif _holds_dicom(path):
        yield from _rows(path.name, path, others, folder)


def _rows(case: str, image: Path, starts: list[Path], folder: Path) -> Iterator[dict[str, str]]:
    first = {"case": case, "image": image.relative_to(folder).as_posix()}
    markups = [path for path in starts if path.name.lower().endswith(_MARKUPS)]
    runs = [path for path in starts if path not in markups]
    if not markups:
        yield {**first, **({"prompts": runs[0].relative_to(folder).as_posix()} if runs else {})}
    for path in markups:
        yield {**first, "object": path.name[: -len(_MARKUPS)], "markups": path.relative_to(folder).as_posix()}


def _named_after(image: Path) -> list[Path]:
    name = image_name(image.name)
    return [path for ending in (_MARKUPS, _RUN) if (path := image.with_name(name + ending)).is_file()]


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(_IMAGES) and not path.name.lower().endswith(_SEGMENTATION)


def _shows_objects(path: Path) -> bool:
    return path.name.lower().endswith(_RUN)


def _holds_dicom(path: Path) -> bool:
    return any(is_dicom(one) for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
