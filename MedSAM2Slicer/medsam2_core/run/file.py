"""Read the prompts and settings of a run file: a report, or a few lines written by hand.

    {"objects": [{"name": "liver", "prompts": [{"kind": "points", "points_ras": [[-80, 10, 40]], "labels": [1]}]}]}

The file is not trusted: it is read as JSON and nothing else, each value is checked, and it opens no other file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.image.window import Window
from medsam2_core.run.memory import parse_memory
from medsam2_core.run.names import checked_name
from medsam2_core.run.prompts import MaskPrompt, Prompt, Slicing, place_box, place_points
from medsam2_core.run.report import FORMAT, decode_mask

_LARGEST_BYTES = 1 << 28
_CHOICES = {
    "direction": ("both", "forward", "backward"),
    "field_of_view": ("auto", "whole", "zoom"),
    "device": ("auto", "cpu", "cuda", "mps"),
}
_STOP_RULES = ("absent_slices", "min_area_mm2", "max_area_change")


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
    axis: int | None = None
    window: Window | None = None
    range: tuple[int, int] | None = None
    direction: str | None = None
    memory: str | None = None
    field_of_view: str | None = None
    device: str | None = None
    stop: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RunFile:
    """What a run file holds. `path` is where it lies, or words for it; messages begin with it."""

    path: Path | str
    objects: list[FileObject]
    settings: FileSettings


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; PromptError if it cannot be read or is something else."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise PromptError(f"{path}: Too large for a run file: give a report of medsam2 propagate.")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise PromptError(f"{path}: Cannot be read ({error.strerror or error}): check the path.") from error
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise PromptError(f"{path}: Not valid JSON ({reason}): give a report of medsam2 propagate.") from error
    if not isinstance(content, dict):
        raise PromptError(f"{path}: Holds no run: give a report of medsam2 propagate or {{'objects': [...]}}.")
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
        return RunFile(where, objects, _settings(_dict(content.get("settings", {}), "settings")))
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from error


def place_file_prompts(item: FileObject, slicing: Slicing, path: Path | str) -> list[Prompt]:
    """The prompts of one object in the volume. Raises PromptError for those that do not fit it."""
    placed: list[Prompt] = []
    for place, raw in enumerate(item.prompts):
        where = f"{path}: Prompt {place + 1} of object {item.name!r}"
        if raw["kind"] == "points":
            placed += place_points(raw["points_ras"], [label == 1 for label in raw["labels"]], "ras", slicing, where)
        elif raw["kind"] == "box":
            placed.append(place_box(raw["corners_ras"], "ras", slicing, where))
        else:
            placed.append(_place_mask(raw, slicing, where))
    return placed


def _place_mask(raw: dict[str, Any], slicing: Slicing, where: str) -> MaskPrompt:
    axis, index, (rows, cols) = raw.get("axis", slicing.axis), raw["slice_index"], raw["shape"]
    if axis != slicing.axis or (rows, cols) != slicing.shape or index >= slicing.count:
        raise PromptError(
            f"{where} is a mask of {rows} x {cols} pixels on slice {index} along axis {axis}, but here are "
            f"{slicing.count} slices of {slicing.shape[0]} x {slicing.shape[1]} along axis {slicing.axis}: "
            "use the volume and axis of the run that wrote it."
        )
    mask = decode_mask(raw["runs"], slicing.shape)
    if not mask.any():
        raise PromptError(f"{where} is an empty mask: mark the object or leave the prompt out.")
    return MaskPrompt(index, mask)


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
    largest = 1 << 31
    shape = [_whole(size, f"{where}.shape", 1, largest) for size in _list(prompt, "shape", where)]
    runs = [_whole(run, f"{where}.runs", 0, largest) for run in _list(prompt, "runs", where)]
    if len(shape) != 2 or sum(runs) != math.prod(shape):
        raise PromptError(
            f"{where} has runs that add up to {sum(runs)} pixels, not to its shape {shape}: save it again."
        )
    mask: dict[str, Any] = {"shape": shape, "runs": runs}
    mask["slice_index"] = _whole(prompt.get("slice_index"), f"{where}.slice_index", 0, largest)
    if "axis" in prompt:
        mask["axis"] = _whole(prompt["axis"], f"{where}.axis", 0, 2)
    return mask


def _settings(raw: dict[str, Any]) -> FileSettings:
    found: dict[str, Any] = {key: _text(raw[key], f"settings.{key}") for key in ("model", "model_sha256") if key in raw}
    for key, choices in _CHOICES.items():
        if key in raw:
            found[key] = _choice(raw[key], f"settings.{key}", choices)
    for key, lowest, highest in (("image_size", 64, 4096), ("axis", 0, 2)):
        if key in raw:
            found[key] = _whole(raw[key], f"settings.{key}", lowest, highest)
    if "memory" in raw:
        found["memory"] = _text(raw["memory"], "settings.memory")
        parse_memory(found["memory"])
    if "window" in raw:
        found["window"] = _window(_dict(raw["window"], "settings.window"))
    if "range" in raw:
        found["range"] = _range(_list(raw, "range", "settings"))
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
        raise PromptError(f"settings.stop.{min(unknown)} is no rule: use {', '.join(_STOP_RULES)}.")
    rules: dict[str, Any] = {
        key: None if value is None else _number(value, f"settings.stop.{key}") for key, value in raw.items()
    }
    if rules.get("absent_slices") is not None:
        rules["absent_slices"] = _whole(raw["absent_slices"], "settings.stop.absent_slices", 1, 1 << 31)
    return rules


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
    raise PromptError(f"{where} has no list {key!r}: add it, as in a report of medsam2 propagate.")


def _dict(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise PromptError(f"{where} is {_shown(value)}, which is not an object in braces: correct it.")


def _shown(value: Any) -> str:
    """A value as short text on one line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
