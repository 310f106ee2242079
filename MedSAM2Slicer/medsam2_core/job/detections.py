"""Boxes that a detector has found, out of a table (.csv) or a list (.json), as prompts.

    object,score,x0,y0,z0,x1,y1,z1
    nodule,0.93,120,140,55,134,152,61

In JSON: [{"object": "nodule", "score": 0.93, "box": [120, 140, 55, 134, 152, 61]}]. Corners are in the frame of the
command line; object and score may be left out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.files import text
from medsam2_core.image.slicing import Slicing
from medsam2_core.job.markups import place_roi
from medsam2_core.run import values
from medsam2_core.run.names import checked_name
from medsam2_core.run.prompts import Prompt

_CORNERS = ("x0", "y0", "z0", "x1", "y1", "z1")
_UNNAMED = "box"


@dataclass(frozen=True)
class Detection:
    """A box by two opposite corners, and how sure the detector is of it."""

    name: str
    box: tuple[float, ...]
    score: float = 1.0

    @property
    def corners(self) -> list[tuple[float, ...]]:
        """All eight of them."""
        return list(itertools.product(*zip(self.box[:3], self.box[3:], strict=True)))


def read_detections(path: Path, least_score: float | None) -> list[Detection]:
    """The boxes of at least that score, by default 0; several of one name are numbered. Raises PromptError."""
    try:
        found = _json(path) if path.suffix.lower() == ".json" else _csv(path)
    except OSError as error:
        raise PromptError(f"{path}: Cannot be read ({error.strerror or error}): check the path.") from error
    except text.TextError as error:
        raise PromptError(f"{path}: It holds no boxes ({error}): give a table with {', '.join(_CORNERS)}.") from error
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error
    if not found:
        raise PromptError(f"{path}: It holds no box: give a file with at least one.")
    least = least_score or 0.0
    kept = [one for one in found if one.score >= least]
    if not kept:
        raise PromptError(f"{path}: No box has a score of {least:g} or more: give another.")
    return _numbered(kept)


def place_detections(path: Path, least_score: float | None, frame: str, slicing: Slicing) -> dict[str, list[Prompt]]:
    """A box on the middle slice of each, by name. Raises PromptError for one outside the volume."""
    found = read_detections(path, least_score)
    return {one.name: place_roi(one.corners, frame, slicing, f"{path}: The box of {one.name!r}") for one in found}


def _csv(path: Path) -> list[Detection]:
    numbered = text.read_numbered_rows(path)
    names = [cell.lower() for cell in numbered[0][1]] if numbered else []
    missing = [name for name in _CORNERS if name not in names]
    if missing:
        raise text.TextError(f"there is no column {missing[0]}")
    return [_of_row(dict(zip(names, cells, strict=False)), f"row {number}") for number, cells in numbered[1:]]


def _of_row(cells: Mapping[str, str], where: str) -> Detection:
    numbers = [_number(cells.get(name, ""), f"{where}, {name}") for name in _CORNERS]
    score = cells.get("score", "")
    return Detection(
        checked_name(cells.get("object") or _UNNAMED, f"{where}, object"),
        tuple(numbers),
        _number(score, f"{where}, score") if score else 1.0,
    )


def _json(path: Path) -> list[Detection]:
    content = text.read_json(path)
    if not isinstance(content, list):
        raise text.TextError("it holds no list")
    return [_of_item(values.mapping(raw, f"[{place}]"), f"[{place}]") for place, raw in enumerate(content)]


def _of_item(raw: dict[str, Any], where: str) -> Detection:
    box = values.items(raw, "box", where)
    if len(box) != len(_CORNERS):
        raise PromptError(f"{where}.box holds {values.shown(box)}, which is not six numbers: correct it.")
    return Detection(
        checked_name(values.text(raw.get("object", _UNNAMED), f"{where}.object"), f"{where}.object"),
        tuple(values.number(one, f"{where}.box") for one in box),
        values.number(raw.get("score", 1.0), f"{where}.score"),
    )


def _number(cell: str, where: str) -> float:
    try:
        return values.number(float(cell), where)
    except ValueError as error:
        raise PromptError(f"{where} is {cell!r:.40}, which is not a number: correct it.") from error


def _numbered(found: list[Detection]) -> list[Detection]:
    """The same with a number in the name where several have it."""
    counts, seen = Counter(one.name for one in found), Counter[str]()
    named = []
    for one in found:
        seen[one.name] += 1
        name = f"{one.name} {seen[one.name]}" if counts[one.name] > 1 else one.name
        named.append(Detection(name, one.box, one.score))
    return named
