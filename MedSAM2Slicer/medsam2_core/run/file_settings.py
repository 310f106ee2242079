"""Read the settings of a run file. The file is not trusted: each value is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.run import values
from medsam2_core.run.names import checked_name
from medsam2_core.run.report import decode_mask
from medsam2_core.run.settings import FileSettings, RunSettings
from medsam2_core.setting import Setting, Structure, plain_rows, rows
from medsam2_core.stopping import StopRules

OF_ONE_RUN = tuple(dict.fromkeys(row.key for row in rows(RunSettings) if row.part == "run"))
"""The keys of settings that can differ from run to run in a session."""


def read_settings(raw: dict[str, Any]) -> FileSettings:
    """Check the settings of a run file. Raises PromptError, in one sentence that names the place in it."""
    found = {row.name: _plain(row, raw, "settings") for row in plain_rows(RunSettings) if row.key in raw}
    if "axis" in raw or "plane" in raw:
        found["stack"] = SliceStack.from_json(raw)
    if "window" in raw:
        found["window"] = _window(values.mapping(raw["window"], "settings.window"))
    if "range" in raw:
        found["range"] = _range(values.items(raw, "range", "settings"))
    if "stop" in raw:
        found["stop"] = _stop(values.mapping(raw["stop"], "settings.stop"))
    return FileSettings(**found)


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


def _plain(row: Setting, raw: dict[str, Any], where: str) -> Any:
    if row.optional and raw[row.key] is None:
        return None
    return values.plain(row.kind, raw[row.key], f"{where}.{row.key}")


def _window(raw: dict[str, Any]) -> Window:
    lower, upper = (values.number(raw.get(key), f"settings.window.{key}") for key in ("lower", "upper"))
    if lower >= upper:
        raise PromptError(f"settings.window goes from {lower:g} to {upper:g}: give the lower limit first.")
    name = values.text(raw.get("name", "own"), "settings.window.name")
    return Window(lower, upper, checked_name(name, "settings.window"))


def _range(raw: list[Any]) -> tuple[int, int]:
    if len(raw) != 2:
        raise PromptError("settings.range is not [first, after last]: give two slice numbers.")
    first, last = (values.whole(value, "settings.range", 0, values.LARGEST_SIZE) for value in raw)
    return first, last


def _stop(raw: dict[str, Any]) -> dict[str, Any]:
    rules = {row.key: row for row in rows(StopRules)}
    unknown = raw.keys() - rules.keys()
    if unknown:
        raise PromptError(f"settings.stop.{min(unknown)} is not a rule: use {', '.join(rules)}.")
    return {key: _rule(rules[key], raw) for key in raw}


def _rule(row: Setting, raw: dict[str, Any]) -> Any:
    if not isinstance(row.kind, Structure):
        return _plain(row, raw, "settings.stop")
    where = f"settings.stop.{row.key}"
    return None if raw[row.key] is None else _region(values.mapping(raw[row.key], where), where)


def _region(raw: dict[str, Any], where: str) -> dict[str, Any]:
    shape, slices = values.shape(raw, where, 3), []
    for place, one in enumerate(values.items(raw, "slices", where)):
        here = f"{where}.slices[{place}]"
        index = values.whole(values.mapping(one, here).get("slice_index"), f"{here}.slice_index", 0, shape[0] - 1)
        slices.append({"slice_index": index, "runs": values.runs(one, here, shape[1:])})
    return {"shape": shape, "slices": slices}
