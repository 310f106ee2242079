"""Points and boxes out of a markups file as 3D Slicer saves it (`.mrk.json`), in LPS mm.

The file is not trusted: it is read as JSON and nothing else, and each value is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Triple
from medsam2_core.image.slicing import Slicing
from medsam2_core.run import values
from medsam2_core.run.file import read_json
from medsam2_core.run.prompts import BoxPrompt, Prompt, place_box, place_points

_FRAMES = {"LPS": "lps", "RAS": "ras"}


@dataclass(frozen=True)
class MarkedPoint:
    """A control point, in `frame` ("lps" or "ras"); `name` is what a person called it."""

    position: Triple
    frame: str
    name: str

    @property
    def include(self) -> bool:
        """Whether the object is there: not for one whose name begins with a minus or "exclude"."""
        return not self.name.strip().lower().startswith(("-", "exclude"))


@dataclass(frozen=True)
class MarkedBox:
    """The eight corners of an ROI, in `frame`."""

    corners: tuple[Triple, ...]
    frame: str


def read_markups(path: Path) -> list[MarkedPoint | MarkedBox]:
    """The points and boxes of a file. Raises PromptError, in one sentence that names the file and the place in it."""
    content = read_json(path)
    try:
        found = [
            item
            for place, raw in enumerate(values.items(content, "markups", "the file"))
            for item in _markup(values.mapping(raw, f"markups[{place}]"), f"markups[{place}]")
        ]
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error
    if not found:
        raise PromptError(f"{path}: It holds no point and no box: place one in Slicer and save it again.")
    return found


def place_markups(path: Path, slicing: Slicing) -> list[Prompt]:
    """The prompts of a markups file in a volume. Raises PromptError for those outside or without a slice."""
    placed: list[Prompt] = []
    for item in read_markups(path):
        if isinstance(item, MarkedBox):
            placed += place_roi(item.corners, item.frame, slicing, f"{path}: The ROI")
        else:
            placed += place_points([item.position], [item.include], item.frame, slicing, f"{path}: {item.name!r}")
    return placed


def place_roi(corners: Sequence[Sequence[float]], frame: str, slicing: Slicing, where: str) -> list[Prompt]:
    """A box on the middle slice of one with eight corners in `frame`, which may go through several slices."""
    voxels = np.array(corners)
    if frame != "ijk":
        voxels = (slicing.geometry.ras_to_ijk if frame == "ras" else slicing.geometry.lps_to_ijk)(voxels)
    through = 2 - slicing.axis
    voxels[:, through] = np.round(voxels[:, through].mean())
    prompt: BoxPrompt = place_box(voxels.tolist(), "ijk", slicing, where)
    return [prompt]


def _markup(raw: dict[str, Any], where: str) -> Iterator[MarkedPoint | MarkedBox]:
    system = raw.get("coordinateSystem", "LPS")
    if system not in _FRAMES:
        raise PromptError(f"{where}.coordinateSystem is {values.shown(system)}: use LPS or RAS.")
    kind = raw.get("type")
    if kind == "Fiducial":
        yield from _points(raw, _FRAMES[system], where)
    elif kind == "ROI":
        yield _roi(raw, _FRAMES[system], where)
    else:
        raise PromptError(f"{where}.type is {values.shown(kind)}: give points (Fiducial) or a box (ROI).")


def _points(raw: dict[str, Any], frame: str, where: str) -> Iterator[MarkedPoint]:
    for place, one in enumerate(values.items(raw, "controlPoints", where)):
        here = f"{where}.controlPoints[{place}]"
        point = values.mapping(one, here)
        if point.get("positionStatus", "defined") == "defined":
            name = values.text(point.get("label", ""), f"{here}.label")
            yield MarkedPoint(values.triple(point.get("position"), f"{here}.position"), frame, name)


def _roi(raw: dict[str, Any], frame: str, where: str) -> MarkedBox:
    """An ROI: its center, its sizes, and the directions of its sides, as the columns of a matrix row by row."""
    center, size = (np.array(values.triple(raw.get(key), f"{where}.{key}")) for key in ("center", "size"))
    numbers = raw.get("orientation", [1, 0, 0, 0, 1, 0, 0, 0, 1])
    if not isinstance(numbers, list) or len(numbers) != 9:
        raise PromptError(f"{where}.orientation holds {values.shown(numbers)}, which is not nine numbers: correct it.")
    sides = np.array([values.number(one, f"{where}.orientation") for one in numbers]).reshape(3, 3) * size / 2
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    corners = [tuple(corner) for corner in (center + signs @ sides.T).tolist()]
    return MarkedBox(tuple((x, y, z) for x, y, z in corners), frame)
