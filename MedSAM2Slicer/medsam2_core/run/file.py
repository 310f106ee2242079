"""Read the prompts and settings of a run file: a report, or a few lines written by hand.

    {"objects": [{"name": "liver", "prompts": [{"kind": "points", "points_ras": [[-80, 10, 40]], "labels": [1]}]}]}

Runs that came before it in the same session are in its list "earlier"; see `run.sequence`.

The file is not trusted: it is read as JSON and nothing else, each value is checked, and it opens no other file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medsam2_core.counting import are, counted
from medsam2_core.errors import PromptError
from medsam2_core.files import text
from medsam2_core.image.segments import MAX_LABEL, Color
from medsam2_core.image.slicing import Slicing
from medsam2_core.run import values
from medsam2_core.run.file_settings import OF_ONE_RUN, read_settings
from medsam2_core.run.names import checked_name
from medsam2_core.run.prompts import MaskPrompt, Prompt, place_box, place_points, place_scribble
from medsam2_core.run.report import FORMAT, decode_mask
from medsam2_core.run.settings import FileSettings

_LARGEST_BYTES = 1 << 28


@dataclass(frozen=True)
class FileObject:
    """One object of a run file; its prompts are checked JSON objects, placed by `place_file_prompts`."""

    name: str
    label: int | None
    color: Color | None
    prompts: list[dict[str, Any]]


@dataclass(frozen=True)
class RunFile:
    """What a run file holds. `path` is where it lies, or words for it; messages begin with it.

    `recorded` says that a program wrote it, of a run that took place. `earlier` are the runs before it in the same
    session, the first one first; a prompt that they share with it is the very same JSON object.
    """

    path: Path | str
    objects: list[FileObject]
    settings: FileSettings
    recorded: bool = False
    earlier: tuple[RunFile, ...] = ()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; PromptError if it cannot be read or is something else."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise PromptError(f"{path}: Too large for a run file: give a report from medsam2 propagate.")
        content = text.read_json(path)
    except OSError as error:
        raise PromptError(f"{path}: Cannot be read ({error.strerror or error}): check the path.") from error
    except text.TextError as error:
        raise PromptError(f"{path}: Not valid JSON ({error}): give a report from medsam2 propagate.") from error
    if not isinstance(content, dict):
        raise PromptError(f"{path}: Holds no run: give a report from medsam2 propagate or {{'objects': [...]}}.")
    return content


def read_run_file(path: Path) -> RunFile:
    """Read and check a run file. Raises PromptError, in one sentence that names the file and the place in it."""
    return check_run(read_json(path), path)


def check_run(content: dict[str, Any], where: Path | str) -> RunFile:
    """Check what a run file holds. Raises PromptError, in one sentence that begins with `where`."""
    try:
        if content.get("format", FORMAT) != FORMAT:
            raise PromptError(
                f"The format is {content['format']!r}, which this version cannot read: it reads {FORMAT}."
            )
        objects = [
            _object(raw, f"objects[{place}]") for place, raw in enumerate(values.items(content, "objects", "the file"))
        ]
        _require_distinct(objects)
        settings = values.mapping(content.get("settings", {}), "settings")
        recorded, earlier = "format" in content, content.get("earlier", [])
        before = [
            _earlier(raw, f"earlier[{place}]", settings, objects, where)
            for place, raw in enumerate(values.items({"earlier": earlier}, "earlier", "the file"))
        ]
        return RunFile(where, objects, read_settings(settings), recorded, tuple(before))
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from error


def place_file_prompts(
    item: FileObject, slicing: Slicing, path: Path | str, shared: dict[int, list[Prompt]] | None = None
) -> list[Prompt]:
    """The prompts of one object in the volume, points one by one. Raises PromptError for those that do not fit it.

    `shared` keeps what is placed, by the id of its JSON object: a mask that many runs have takes its memory once.
    """
    placed: list[Prompt] = []
    shared = {} if shared is None else shared
    for place, raw in enumerate(item.prompts):
        if id(raw) not in shared:
            shared[id(raw)] = _place(raw, slicing, f"{path}: Prompt {place + 1} of object {item.name!r}")
        placed += shared[id(raw)]
    return placed


def _place(raw: dict[str, Any], slicing: Slicing, where: str) -> list[Prompt]:
    if raw["kind"] == "points":
        return place_points(raw["points_ras"], [label == 1 for label in raw["labels"]], "ras", slicing, where)
    if raw["kind"] == "scribble":
        return place_scribble(raw["points_ras"], raw["include"], "ras", slicing, where)
    if raw["kind"] == "box":
        return [place_box(raw["corners_ras"], "ras", slicing, where)]
    return [_place_mask(raw, slicing, where)]


def _place_mask(raw: dict[str, Any], slicing: Slicing, where: str) -> MaskPrompt:
    axis, index, (rows, cols) = raw.get("axis", slicing.axis), raw["slice_index"], raw["shape"]
    if axis != slicing.axis or (rows, cols) != slicing.shape or index >= slicing.count:
        there = f"there {are(slicing.count)} {counted(slicing.count, 'slice')}"
        raise PromptError(
            f"{where} is a mask of {rows} x {cols} pixels on slice {index} along axis {axis}, but {there} of "
            f"{slicing.shape[0]} x {slicing.shape[1]} along axis {slicing.axis}: use the volume and axis of the run "
            "that wrote it."
        )
    return MaskPrompt(index, decode_mask(raw["runs"], slicing.shape))


def _earlier(raw: Any, where: str, settings: dict[str, Any], objects: list[FileObject], path: Path | str) -> RunFile:
    """A run before that of `settings` and `objects`. It names what differs: a prompt of theirs is its number."""
    run = values.mapping(raw, where)
    own = values.mapping(run.get("settings", {}), f"{where}.settings")
    shared = own.keys() - set(OF_ONE_RUN)
    if shared:
        raise PromptError(f"{where}.settings.{min(shared)} cannot differ from run to run: name it in settings.")
    known = {item.name: item for item in objects}
    found = []
    for place, item in enumerate(values.items(run, "objects", where)):
        here = f"{where}.objects[{place}]"
        name = values.text(values.mapping(item, here).get("name"), f"{here}.name")
        if name not in known:
            raise PromptError(f"{here}.name is {values.shown(name)}: use a name of the list objects of the file.")
        found.append(replace(known[name], prompts=_earlier_prompts(item, here, known[name].prompts)))
    _require_distinct(found)
    return RunFile(path, found, read_settings({**settings, **own}), recorded=True)


def _earlier_prompts(item: dict[str, Any], where: str, last: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    prompts = []
    for place, raw in enumerate(values.items(item, "prompts", where)):
        here = f"{where}.prompts[{place}]"
        prompts.append(last[values.whole(raw, here, 0, len(last) - 1)] if isinstance(raw, int) else _prompt(raw, here))
    return prompts


def _object(raw: Any, where: str) -> FileObject:
    item = values.mapping(raw, where)
    name = checked_name(values.text(item.get("name"), f"{where}.name"), f"{where}.name")
    label = None if item.get("label") is None else values.whole(item["label"], f"{where}.label", 1, MAX_LABEL)
    color = None if item.get("color") is None else values.triple(item["color"], f"{where}.color")
    if color is not None and not all(0 <= part <= 1 for part in color):
        raise PromptError(f"{where}.color is {list(color)}: give red, green, blue from 0 to 1.")
    prompts = [
        _prompt(raw, f"{where}.prompts[{place}]") for place, raw in enumerate(values.items(item, "prompts", where))
    ]
    return FileObject(name, label, color, prompts)


def _prompt(raw: Any, where: str) -> dict[str, Any]:
    prompt = values.mapping(raw, where)
    kind = prompt.get("kind")
    if kind == "points":
        return {"kind": kind, **_points(prompt, where)}
    if kind == "scribble":
        return {"kind": kind, **_scribble(prompt, where)}
    if kind == "box":
        corners = _positions(prompt, "corners_ras", where)
        if len(corners) != 2:
            raise PromptError(
                f"{where}.corners_ras has {counted(len(corners), 'corner')}: give two opposite ones, [r, a, s] each."
            )
        return {"kind": kind, "corners_ras": corners}
    if kind == "mask":
        return {"kind": kind, **_mask(prompt, where)}
    raise PromptError(f"{where}.kind is {kind!r}: use points, scribble, box or mask.")


def _points(prompt: dict[str, Any], where: str) -> dict[str, Any]:
    points = _positions(prompt, "points_ras", where)
    labels = [values.whole(label, f"{where}.labels", 0, 1) for label in values.items(prompt, "labels", where)]
    if not points or len(points) != len(labels):
        both = f"{counted(len(points), 'point')} and {counted(len(labels), 'label')}"
        raise PromptError(f"{where} has {both}: give one label per point.")
    return {"points_ras": points, "labels": labels}


def _scribble(prompt: dict[str, Any], where: str) -> dict[str, Any]:
    points = _positions(prompt, "points_ras", where)
    if not points:
        raise PromptError(f"{where} is a scribble without points: give those along the stroke, [r, a, s] each.")
    return {"points_ras": points, "include": values.flag(prompt.get("include"), f"{where}.include")}


def _mask(prompt: dict[str, Any], where: str) -> dict[str, Any]:
    shape = values.shape(prompt, where, 2)
    mask: dict[str, Any] = {"shape": shape, "runs": values.runs(prompt, where, shape)}
    mask["slice_index"] = values.whole(prompt.get("slice_index"), f"{where}.slice_index", 0, values.LARGEST_SIZE)
    if "axis" in prompt:
        mask["axis"] = values.whole(prompt["axis"], f"{where}.axis", 0, 2)
    return mask


def _require_distinct(objects: list[FileObject]) -> None:
    if not objects:
        raise PromptError("The list of objects is empty: give at least one with a prompt.")
    names = [item.name for item in objects]
    labels = [str(item.label) for item in objects if item.label is not None]
    for what, given in (("name", names), ("label", labels)):
        twice = [value for value in given if given.count(value) > 1]
        if twice:
            raise PromptError(f"Two objects have the {what} {twice[0]!r}: give each its own.")


def _positions(raw: dict[str, Any], key: str, where: str) -> list[tuple[float, float, float]]:
    return [values.triple(value, f"{where}.{key}") for value in values.items(raw, key, where)]
