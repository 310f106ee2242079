"""A segment's runs as a script for Slicer's Python console, which makes the segment again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import slicer

from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import CT_PRESETS, Window
from medsam2_core.run.settings import FileSettings, rows_of
from medsam2_core.stopping import StopRules
from MedSAM2SlicerLib.options import RunOptions, optionName
from MedSAM2SlicerLib.record.runrecord import RunRecord
from MedSAM2SlicerLib.scene.volumes import checkedGeometry

_KEPT = ("format", "volume", "settings", "objects", "earlier")  # what a repetition needs of a record
_OF_OBJECTS = ("name", "label", "color", "prompts")
_WIDTH = 100
_ARGUMENTS = [  # so named in `process`
    *(row for row in rows_of("model") if row.name == "precision"),
    *(row for row in (*rows_of("session"), *rows_of("run")) if row.option is not None),
]


def pythonScript(record: RunRecord, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Return a script that makes a segment again, voxel for voxel, of the volume with this node's name and class.

    One run from points and a box is a call of `process` with RAS coordinates; corrections, masks and what `process`
    has no argument for are a call of `replay` with the record. Raises VolumeError without a usable volume.
    """
    geometry = checkedGeometry(volumeNode)
    moved = (
        volumeNode.GetParentTransformNode() is not None
    )  # a record knows no transform, `process` counts in the world
    arguments = None if moved else _arguments(record, geometry.shape_kji, min(geometry.spacing_kji))
    lines = [
        "import json",
        "import slicer",
        "",
        'logic = slicer.util.getModuleLogic("MedSAM2Slicer")',
        f"volume = slicer.util.getFirstNodeByClassByName({volumeNode.GetClassName()!r}, {volumeNode.GetName()!r})",
    ]
    if arguments is None:
        return "\n".join([*lines, *_replay(record)]) + "\n"
    call = [f"    {name}={value!r}," for name, value in arguments.items()]
    return "\n".join([*lines[1:], "segmentation = logic.process(", "    volume,", *call, ")"]) + "\n"


def _replay(record: RunRecord) -> list[str]:
    """Lines that call `replay`; the record is cut into literals of the console's width."""
    report = {name: record.report[name] for name in _KEPT if name in record.report}
    report["objects"] = [{name: one[name] for name in _OF_OBJECTS if name in one} for one in report["objects"]]
    text = json.dumps(report, separators=(", ", ": "))
    parts = [f"    {text[start : start + _WIDTH]!r}" for start in range(0, len(text), _WIDTH)]
    return ["run = json.loads(", *parts, ")", "segmentation = logic.replay(volume, run)"]


def _arguments(record: RunRecord, shape: tuple[int, int, int], spacing: float) -> dict[str, Any] | None:
    """What `process` has to be called with, where that is not its default; None if it cannot do the same."""
    settings, (item, *others) = record.run.settings, record.run.objects
    stack = settings.stack or SliceStack()
    window = _window(settings.window)
    if others or record.run.earlier or _isSpecial(settings) or not _isInOrder(item.prompts) or window is None:
        return None
    options = RunOptions()
    given: dict[str, tuple[Any, Any]] = {
        "segmentName": (item.name, None),
        **{name: (value, []) for name, value in _prompts(item.prompts, spacing).items()},
        "axis": (stack.axis, options.stack.axis),
        "window": (window, None),
        "model": (settings.model, options.model),
        "range": (settings.range, (0, shape[stack.axis])),
        **{optionName(row.name): (getattr(settings, row.name), row.default) for row in _ARGUMENTS},
        "stop": (_stop(settings), {}),
    }
    return {name: value for name, (value, default) in given.items() if value not in (None, default)}


def _isSpecial(settings: FileSettings) -> bool:
    """Whether the slices were oblique, or the segment stopped, redrawn, or kept inside a region."""
    isOblique = settings.stack is not None and settings.stack.plane is not None
    isCut = any(getattr(settings, row.name) not in (None, row.default) for row in rows_of("drawing"))
    return isOblique or settings.rounds is not None or isCut or (settings.stop or {}).get("inside") is not None


def _stop(settings: FileSettings) -> dict[str, Any]:
    """The stop rules that are not the default."""
    default = asdict(StopRules())
    return {name: value for name, value in (settings.stop or {}).items() if value != default[name]}


def _prompts(prompts: list[dict[str, Any]], spacing: float) -> dict[str, Any]:
    """Prompts as `process` takes them."""

    def positions(prompt: dict[str, Any]) -> list[tuple[float, ...]]:
        return _rounded(prompt["corners_ras" if prompt["kind"] == "box" else "points_ras"], spacing)

    by = {kind: [one for one in prompts if one["kind"] == kind] for kind in ("points", "scribble", "box")}
    clicks = [click for one in by["points"] for click in zip(positions(one), one["labels"], strict=True)]
    strokes = [(positions(one), one["include"]) for one in by["scribble"]]
    return {
        "points": [point for point, label in clicks if label],
        "exclude": [point for point, label in clicks if not label],
        "scribbles": [stroke for stroke, include in strokes if include],
        "excludeScribbles": [stroke for stroke, include in strokes if not include],
        "box": [corner for one in by["box"] for corner in positions(one)],
    }


def _isInOrder(prompts: list[dict[str, Any]]) -> bool:
    """Whether `process` gives the model the same in the same order.

    Its order is, for each slice: points to include, points to exclude, then the scribbles likewise. It takes one box.
    """
    kinds = [one["kind"] for one in prompts]
    labels = [one["labels"] for one in prompts if one["kind"] == "points"]
    turns = [(one["kind"] == "scribble", not one.get("include", True)) for one in prompts if one["kind"] != "box"]
    sorts = turns == sorted(turns) and all(one == sorted(one, reverse=True) for one in labels)
    return "mask" not in kinds and kinds.count("box") <= 1 and sorts


def _rounded(positions: list[Any], spacing: float) -> list[tuple[float, ...]]:
    """Positions to a ten-thousandth of a voxel, which still are the same prompts: these count in thousandths."""
    digits = max(4 - math.floor(math.log10(spacing)), 0)
    return [tuple(round(value, digits) + 0.0 for value in position) for position in positions]


def _window(window: Window | None) -> str | None:
    """The text that means exactly this window; None if there is none."""
    if window is None:
        return None
    limits = window.lower, window.upper
    level, width = (window.lower + window.upper) / 2, window.upper - window.lower
    texts = [*CT_PRESETS, f"{level!r}/{width!r}"] if width else []
    return next((text for text in texts if _limits(text) == limits), None)


def _limits(text: str) -> tuple[float, float]:
    if text in CT_PRESETS:
        window = Window.ct(text)
    else:
        level, _slash, width = text.partition("/")
        window = Window.level_width(float(level), float(width))
    return window.lower, window.upper
