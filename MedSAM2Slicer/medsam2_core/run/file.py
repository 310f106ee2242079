"""Read the prompts and settings of a run file: a report, or a few lines written by hand.

    {"objects": [{"name": "liver", "prompts": [{"kind": "points", "points_ras": [[-80, 10, 40]], "labels": [1]}]}]}

Runs that came before it in the same session are in its list "earlier"; see `run.sequence`.

The file is not trusted: it is read as JSON and nothing else, each value is checked, and it opens no other file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medsam2_core.errors import PromptError
from medsam2_core.files import text
from medsam2_core.image.window import Window
from medsam2_core.run.memory import parse_memory
from medsam2_core.run.names import checked_name
from medsam2_core.run.prompts import MaskPrompt, Prompt, Slicing, place_box, place_points
from medsam2_core.run.report import FORMAT, decode_mask
from medsam2_core.run.stack import SliceStack
from medsam2_core.stopping import StopRules

_LARGEST_BYTES = 1 << 28
_CHOICES = {
    "direction": ("both", "forward", "backward"),
    "field_of_view": ("auto", "whole", "zoom"),
    "device": ("auto", "cpu", "cuda", "mps"),
}
_OF_ONE_RUN = ("range", "direction", "stop", "rounds")
_STOP_RULES = ("absent_slices", "min_area_mm2", "max_area_change", "max_distance_mm", "inside")
_LARGEST_SIZE = 1 << 31


@dataclass(frozen=True)
class FileObject:
    """One object of a run file; its prompts are checked JSON objects, placed by `place_file_prompts`."""

    name: str
    label: int | None
    color: tuple[float, float, float] | None
    prompts: list[dict[str, Any]]


@dataclass(frozen=True)
class FileSettings:
    """The settings of a run file; None for those it does not name."""

    model: str | None = None
    model_sha256: str | None = None
    image_size: int | None = None
    stack: SliceStack | None = None
    window: Window | None = None
    range: tuple[int, int] | None = None
    direction: str | None = None
    memory: str | None = None
    field_of_view: str | None = None
    device: str | None = None
    stop: Mapping[str, Any] | None = None
    rounds: int | None = None
    threshold: float | None = None
    smoothing_mm: float | None = None


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
        objects = [_object(raw, f"objects[{place}]") for place, raw in enumerate(_list(content, "objects", "the file"))]
        _require_distinct(objects)
        settings = _dict(content.get("settings", {}), "settings")
        recorded, earlier = "format" in content, content.get("earlier", [])
        before = [
            _earlier(raw, f"earlier[{place}]", settings, objects, where)
            for place, raw in enumerate(_list({"earlier": earlier}, "earlier", "the file"))
        ]
        return RunFile(where, objects, _settings(settings), recorded, tuple(before))
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
    if raw["kind"] == "box":
        return [place_box(raw["corners_ras"], "ras", slicing, where)]
    return [_place_mask(raw, slicing, where)]


def place_rules(stop: Mapping[str, Any], shape_kji: tuple[int, int, int]) -> StopRules:
    """Checked stop rules in a volume of that shape. Raises PromptError for a region that does not fit."""
    region = stop.get("inside")
    if region is None:
        return StopRules(**stop)
    if tuple(region["shape"]) != shape_kji:
        raise PromptError(
            f"The run's region to stay in has the shape {region['shape']} but the volume {list(shape_kji)}: use the "
            "volume of the run that wrote it."
        )
    inside = np.zeros(shape_kji, dtype=bool)
    for one in region["slices"]:
        inside[one["slice_index"]] = decode_mask(one["runs"], shape_kji[1:])
    return StopRules(**{**stop, "inside": inside})


def _place_mask(raw: dict[str, Any], slicing: Slicing, where: str) -> MaskPrompt:
    axis, index, (rows, cols) = raw.get("axis", slicing.axis), raw["slice_index"], raw["shape"]
    if axis != slicing.axis or (rows, cols) != slicing.shape or index >= slicing.count:
        raise PromptError(
            f"{where} is a mask of {rows} x {cols} pixels on slice {index} along axis {axis}, but here are "
            f"{slicing.count} slices of {slicing.shape[0]} x {slicing.shape[1]} along axis {slicing.axis}: "
            "use the volume and axis of the run that wrote it."
        )
    return MaskPrompt(index, decode_mask(raw["runs"], slicing.shape))


def _earlier(raw: Any, where: str, settings: dict[str, Any], objects: list[FileObject], path: Path | str) -> RunFile:
    """A run before that of `settings` and `objects`. It names what differs: a prompt of theirs is its number."""
    run = _dict(raw, where)
    own = _dict(run.get("settings", {}), f"{where}.settings")
    shared = own.keys() - set(_OF_ONE_RUN)
    if shared:
        raise PromptError(f"{where}.settings.{min(shared)} cannot differ from run to run: name it in settings.")
    known = {item.name: item for item in objects}
    found = []
    for place, item in enumerate(_list(run, "objects", where)):
        here = f"{where}.objects[{place}]"
        name = _text(_dict(item, here).get("name"), f"{here}.name")
        if name not in known:
            raise PromptError(f"{here}.name is {_shown(name)}: use a name of the list objects of the file.")
        found.append(replace(known[name], prompts=_earlier_prompts(item, here, known[name].prompts)))
    _require_distinct(found)
    return RunFile(path, found, _settings({**settings, **own}), recorded=True)


def _earlier_prompts(item: dict[str, Any], where: str, last: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    prompts = []
    for place, raw in enumerate(_list(item, "prompts", where)):
        here = f"{where}.prompts[{place}]"
        prompts.append(last[_whole(raw, here, 0, len(last) - 1)] if isinstance(raw, int) else _prompt(raw, here))
    return prompts


def _object(raw: Any, where: str) -> FileObject:
    item = _dict(raw, where)
    name = checked_name(_text(item.get("name"), f"{where}.name"), f"{where}.name")
    label = None if item.get("label") is None else _whole(item["label"], f"{where}.label", 1, 65535)
    color = None if item.get("color") is None else _triple(item["color"], f"{where}.color")
    if color is not None and not all(0 <= part <= 1 for part in color):
        raise PromptError(f"{where}.color is {list(color)}: give red, green, blue from 0 to 1.")
    prompts = [_prompt(raw, f"{where}.prompts[{place}]") for place, raw in enumerate(_list(item, "prompts", where))]
    return FileObject(name, label, color, prompts)


def _prompt(raw: Any, where: str) -> dict[str, Any]:
    prompt = _dict(raw, where)
    kind = prompt.get("kind")
    if kind == "points":
        return {"kind": kind, **_points(prompt, where)}
    if kind == "box":
        corners = _positions(prompt, "corners_ras", where)
        if len(corners) != 2:
            raise PromptError(
                f"{where}.corners_ras has {len(corners)} corners: give two opposite ones, [r, a, s] each."
            )
        return {"kind": kind, "corners_ras": corners}
    if kind == "mask":
        return {"kind": kind, **_mask(prompt, where)}
    raise PromptError(f"{where}.kind is {kind!r}: use points, box or mask.")


def _points(prompt: dict[str, Any], where: str) -> dict[str, Any]:
    points = _positions(prompt, "points_ras", where)
    labels = [_whole(label, f"{where}.labels", 0, 1) for label in _list(prompt, "labels", where)]
    if not points or len(points) != len(labels):
        raise PromptError(f"{where} has {len(points)} points and {len(labels)} labels: give one label per point.")
    return {"points_ras": points, "labels": labels}


def _mask(prompt: dict[str, Any], where: str) -> dict[str, Any]:
    shape = _shape(prompt, where, 2)
    mask: dict[str, Any] = {"shape": shape, "runs": _runs(prompt, where, shape)}
    mask["slice_index"] = _whole(prompt.get("slice_index"), f"{where}.slice_index", 0, _LARGEST_SIZE)
    if "axis" in prompt:
        mask["axis"] = _whole(prompt["axis"], f"{where}.axis", 0, 2)
    return mask


def _shape(raw: dict[str, Any], where: str, sides: int) -> list[int]:
    shape = [_whole(size, f"{where}.shape", 1, _LARGEST_SIZE) for size in _list(raw, "shape", where)]
    if len(shape) != sides:
        raise PromptError(f"{where}.shape is {shape}: give {sides} sizes.")
    return shape


def _runs(raw: dict[str, Any], where: str, shape: Sequence[int]) -> list[int]:
    runs = [_whole(run, f"{where}.runs", 0, _LARGEST_SIZE) for run in _list(raw, "runs", where)]
    if sum(runs) != math.prod(shape):
        raise PromptError(
            f"{where} has runs that add up to {sum(runs)} pixels, not to its shape {list(shape)}: save it again."
        )
    return runs


def _settings(raw: dict[str, Any]) -> FileSettings:
    found: dict[str, Any] = {key: _text(raw[key], f"settings.{key}") for key in ("model", "model_sha256") if key in raw}
    for key, choices in _CHOICES.items():
        if key in raw:
            found[key] = _choice(raw[key], f"settings.{key}", choices)
    if "image_size" in raw:
        found["image_size"] = _whole(raw["image_size"], "settings.image_size", 64, 4096)
    if "axis" in raw or "plane" in raw:
        found["stack"] = SliceStack.from_json(raw)
    for key, least, most in (("threshold", 0.001, 0.999), ("smoothing_mm", 0.0, 1000.0)):
        if key in raw:
            found[key] = _number_within(raw[key], f"settings.{key}", least, most)
    if "memory" in raw:
        found["memory"] = _text(raw["memory"], "settings.memory")
        parse_memory(found["memory"])
    if "window" in raw:
        found["window"] = _window(_dict(raw["window"], "settings.window"))
    if "range" in raw:
        found["range"] = _range(_list(raw, "range", "settings"))
    if raw.get("rounds") is not None:
        found["rounds"] = _whole(raw["rounds"], "settings.rounds", 0, 1 << 31)
    if "stop" in raw:
        found["stop"] = _stop(_dict(raw["stop"], "settings.stop"))
    return FileSettings(**found)


def _window(raw: dict[str, Any]) -> Window:
    lower, upper = (_number(raw.get(key), f"settings.window.{key}") for key in ("lower", "upper"))
    if lower >= upper:
        raise PromptError(f"settings.window goes from {lower:g} to {upper:g}: give the lower limit first.")
    return Window(lower, upper, checked_name(_text(raw.get("name", "own"), "settings.window.name"), "settings.window"))


def _range(raw: list[Any]) -> tuple[int, int]:
    if len(raw) != 2:
        raise PromptError("settings.range is not [first, after last]: give two slice numbers.")
    first, last = (_whole(value, "settings.range", 0, 1 << 31) for value in raw)
    return first, last


def _stop(raw: dict[str, Any]) -> dict[str, Any]:
    unknown = raw.keys() - set(_STOP_RULES)
    if unknown:
        raise PromptError(f"settings.stop.{min(unknown)} is not a rule: use {', '.join(_STOP_RULES)}.")
    return {key: None if value is None else _rule(key, value, f"settings.stop.{key}") for key, value in raw.items()}


def _rule(key: str, value: Any, where: str) -> Any:
    if key == "absent_slices":
        return _whole(value, where, 1, _LARGEST_SIZE)
    return _region(_dict(value, where), where) if key == "inside" else _number(value, where)


def _region(raw: dict[str, Any], where: str) -> dict[str, Any]:
    shape, slices = _shape(raw, where, 3), []
    for place, one in enumerate(_list(raw, "slices", where)):
        here = f"{where}.slices[{place}]"
        index = _whole(_dict(one, here).get("slice_index"), f"{here}.slice_index", 0, shape[0] - 1)
        slices.append({"slice_index": index, "runs": _runs(one, here, shape[1:])})
    return {"shape": shape, "slices": slices}


def _require_distinct(objects: list[FileObject]) -> None:
    if not objects:
        raise PromptError("The list of objects is empty: give at least one with a prompt.")
    names = [item.name for item in objects]
    labels = [str(item.label) for item in objects if item.label is not None]
    for what, values in (("name", names), ("label", labels)):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise PromptError(f"Two objects have the {what} {twice[0]!r}: give each its own.")


def _positions(raw: dict[str, Any], key: str, where: str) -> list[tuple[float, float, float]]:
    return [_triple(value, f"{where}.{key}") for value in _list(raw, key, where)]


def _triple(value: Any, where: str) -> tuple[float, float, float]:
    if not isinstance(value, list) or len(value) != 3:
        raise PromptError(f"{where} holds {_shown(value)}, which is not three numbers: write [1.5, 2, 3].")
    first, second, third = (_number(part, where) for part in value)
    return first, second, third


def _number(value: Any, where: str) -> float:
    if type(value) in (int, float) and abs(value) < 1e30:
        return float(value)
    raise PromptError(f"{where} holds {_shown(value)}, which is not a number that can be used: correct it.")


def _number_within(value: Any, where: str, least: float, most: float) -> float:
    number = _number(value, where)
    if not least <= number <= most:
        raise PromptError(f"{where} is {number:g}: give a number from {least:g} to {most:g}.")
    return number


def _whole(value: Any, where: str, lowest: int, highest: int) -> int:
    if type(value) is int and lowest <= value <= highest:
        return value
    raise PromptError(f"{where} holds {_shown(value)}: give a whole number from {lowest} to {highest}.")


def _choice(value: Any, where: str, choices: tuple[str, ...]) -> str:
    if value in choices and isinstance(value, str):
        return value
    raise PromptError(f"{where} is {_shown(value)}: choose one of {', '.join(choices)}.")


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise PromptError(f"{where} is {_shown(value)}, which is not text: write it in quotes.")


def _list(raw: dict[str, Any], key: str, where: str) -> list[Any]:
    value = raw.get(key)
    if isinstance(value, list):
        return value
    raise PromptError(f"{where} has no list {key!r}: add it, as in a report from medsam2 propagate.")


def _dict(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise PromptError(f"{where} is {_shown(value)}, which is not an object in braces: correct it.")


def _shown(value: Any) -> str:
    """A value as short text on one line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
