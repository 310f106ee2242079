"""The report of a run: everything needed to judge it and to repeat it, as JSON.

A report is also a prompts file: `run.file` reads it. Prompts are stored in RAS mm, so they keep their place in the
patient whatever the volume's axes; coordinates of voxels and slices are those of the volume that was segmented.
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from medsam2_core.errors import VolumeError
from medsam2_core.files.draft import Draft
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.measure import volume_ml
from medsam2_core.image.slicing import SliceStack, Slicing
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, Prompt, RunObject, ScribblePrompt
from medsam2_core.run.settings import RunSettings
from medsam2_core.setting import Setting, plain_rows, rows
from medsam2_core.stopping import StopRules
from medsam2_core.version import package_version

if TYPE_CHECKING:
    from medsam2_core.io import Volume  # brings SimpleITK, which a run in Slicer has no use for

FORMAT = "medsam2-run/1"

_USUAL_BYTES = 1 << 18

# A list of numbers that json.dumps spread over lines; no string holds a line break, so none can match.
_NUMBERS = re.compile(r"\[\n([-+.\deE,\s]+)\]")


class SliceFacts(Protocol):
    """What a session knows of one object on one slice."""

    @property
    def confidence(self) -> float: ...
    @property
    def object_score(self) -> float: ...
    @property
    def direction(self) -> str: ...
    @property
    def area_mm2(self) -> float: ...
    @property
    def disagreement(self) -> float | None: ...


class HasResults(Protocol):
    """The part of a session that a report is made from."""

    def results(self, object_id: int) -> Mapping[int, SliceFacts]: ...

    def stops(self, object_id: int) -> Mapping[str, str]: ...


def build_report(
    volume: Volume,
    settings: RunSettings,
    objects: Sequence[RunObject],
    session: HasResults,
    labelmap: npt.NDArray[np.integer[Any]],
    *,
    seconds: float,
    encoder: Mapping[str, int],
    interrupted: bool = False,
    overlaps_ml: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """The report of a finished or interrupted run, ready for `write_report`.

    The labels of `objects` are the session's object ids and the values of `labelmap` (k, j, i). `seconds` is the
    time the propagation took, `encoder` counts views as `worker.results.Propagated` does. `overlaps_ml` has,
    by label, how much of an object's mask went to other objects.
    """
    labels = [item.segment.label for item in objects]
    volumes_ml = {label: volume_ml(labelmap == label, volume.geometry.spacing_kji) for label in labels}
    report = describe_run(
        {"path": str(volume.path)},
        volume.geometry,
        settings,
        objects,
        session,
        volumes_ml,
        versions={**own_versions(), "torch": metadata.version("torch")},
        seconds=seconds,
        encoder=encoder,
        interrupted=interrupted,
    )
    for item in report["objects"]:
        if lost := (overlaps_ml or {}).get(item["label"]):
            item["overlap_ml"] = lost
    return report


def describe_run(
    identity: Mapping[str, str],
    geometry: Geometry,
    settings: RunSettings,
    objects: Sequence[RunObject],
    session: HasResults,
    volumes_ml: Mapping[int, float],
    *,
    versions: Mapping[str, str],
    seconds: float,
    encoder: Mapping[str, int],
    interrupted: bool = False,
) -> dict[str, Any]:
    """The report of a run on a volume from anywhere, a scene as well as a file.

    `identity` says which volume it is; its grid is added. `volumes_ml` has the mL of each object by its label.
    """
    slicing = settings.stack.slicing(geometry)
    done = {index for item in objects for index in session.results(item.segment.label)}
    return {
        "format": FORMAT,
        "versions": dict(versions),
        "volume": {
            **identity,
            "shape_kji": list(geometry.shape_kji),
            "spacing_kji": list(geometry.spacing_kji),
            "affine_ijk_to_ras": geometry.affine_ijk_to_ras.tolist(),
        },
        "settings": _settings(settings),
        "objects": [_object(item, session, volumes_ml[item.segment.label], slicing) for item in objects],
        "seconds": seconds,
        "slices_per_second": len(done) / seconds if seconds > 0 else None,
        "encoder": dict(encoder),
        "interrupted": interrupted,
    }


def describe_prompts(item: RunObject, slicing: Slicing) -> list[dict[str, Any]]:
    """The prompts of an object as `run.file` reads them."""
    return [_prompt(prompt, slicing) for prompt in item.prompts]


def describe_rules(rules: StopRules) -> dict[str, Any]:
    """Stop rules as `run.file` reads them."""
    plain = {row.key: getattr(rules, row.name) for row in plain_rows(StopRules)}
    return {**plain, "inside": None if rules.inside is None else describe_region(rules.inside)}


def describe_region(inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """A region (k, j, i) by the slices along k that it is on."""
    slices = [{"slice_index": k, "runs": encode_mask(mask)} for k, mask in enumerate(inside) if mask.any()]
    return {"shape": list(inside.shape), "slices": slices}


def own_versions() -> dict[str, str]:
    """Versions of this package and of the Python it runs in."""
    return {"medsam2": package_version(), "python": platform.python_version()}


def check_report_path(path: Path) -> None:
    """Raise VolumeError unless `write_report` could write `path`; call it before a long run."""
    report_draft(path).discard()


def report_draft(path: Path) -> Draft:
    """A place for a report, with some room on the disk. Raises VolumeError."""
    if path.suffix.lower() != ".json":
        raise VolumeError(f"{path}: The report is JSON: end its name with .json.")
    return Draft(path, _USUAL_BYTES)


def write_report(path: Path, report: Mapping[str, Any], draft: Draft | None = None) -> None:
    """Write a report as UTF-8 JSON; an existing file is replaced only by a complete new one.

    `draft` is a place that `report_draft` gave. Raises VolumeError if it cannot be written.
    """
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    lines = _NUMBERS.sub(lambda found: f"[{', '.join(found[1].split())}]".replace(",,", ","), text) + "\n"
    with draft or Draft(path) as place:
        # A path that is not UTF-8 is written as JSON's own escapes, and read back as the same path.
        place.save(lines.encode("utf-8", "backslashreplace"))


def encode_mask(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Lengths of runs of equal pixels of a mask (rows, cols), row by row, starting with a (maybe empty) run of 0."""
    pixels = mask.ravel()
    starts = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff(np.concatenate(([0], starts, [pixels.size])))
    return [0, *runs.tolist()] if pixels[0] else runs.tolist()


def decode_mask(runs: Sequence[int], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask (rows, cols) that `encode_mask` gave `runs` for; they must add up to its size."""
    values = np.arange(len(runs)) % 2 == 1
    mask: npt.NDArray[np.bool_] = np.repeat(values, runs).reshape(shape)
    return mask


def _settings(settings: RunSettings) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for row in rows(RunSettings):
        described |= _setting(row, getattr(settings, row.name), settings)
    return described


def _setting(row: Setting, value: Any, settings: RunSettings) -> dict[str, Any]:
    """What the record holds of a setting; nothing where nobody set it."""
    if isinstance(value, SliceStack):
        return value.to_json()
    if isinstance(value, Window):
        return {row.key: {"name": value.name, "lower": value.lower, "upper": value.upper}}
    if isinstance(value, StopRules):
        return {row.key: describe_rules(value)}
    if row.key == "range":
        return {row.key: [settings.first, settings.last]}
    return {} if value is None else {row.key: value}


def _object(item: RunObject, session: HasResults, volume: float, slicing: Slicing) -> dict[str, Any]:
    label = item.segment.label
    return {
        "name": item.segment.name,
        "label": label,
        "color": list(item.segment.color),
        "prompts": describe_prompts(item, slicing),
        "volume_ml": volume,
        "stopped": dict(session.stops(label)),
        "slices": [_slice(index, facts) for index, facts in sorted(session.results(label).items())],
    }


def _slice(index: int, facts: SliceFacts) -> dict[str, Any]:
    return {
        "slice_index": index,
        "confidence": _finite(facts.confidence),
        "object_score": _finite(facts.object_score),
        "area_mm2": facts.area_mm2,
        "direction": facts.direction,
        **({} if facts.disagreement is None else {"disagreement": facts.disagreement}),
    }


def _finite(value: float) -> float | None:
    """JSON knows no NaN or infinity."""
    return value if math.isfinite(value) else None


def _prompt(prompt: Prompt, slicing: Slicing) -> dict[str, Any]:
    if isinstance(prompt, PointsPrompt):
        points = _ras(slicing, prompt.slice_index, prompt.points_xy)
        return {"kind": "points", "points_ras": points, "labels": [int(inside) for inside in prompt.include]}
    if isinstance(prompt, ScribblePrompt):
        points = _ras(slicing, prompt.slice_index, prompt.points_xy)
        return {"kind": "scribble", "points_ras": points, "include": prompt.include}
    if isinstance(prompt, BoxPrompt):
        x0, y0, x1, y1 = prompt.box
        return {"kind": "box", "corners_ras": _ras(slicing, prompt.slice_index, [(x0, y0), (x1, y1)])}
    return _mask(prompt, slicing.axis)


def _mask(prompt: MaskPrompt, axis: int) -> dict[str, Any]:
    return {
        "kind": "mask",
        "axis": axis,
        "slice_index": prompt.slice_index,
        "shape": list(prompt.mask.shape),
        "runs": encode_mask(prompt.mask),
    }


def _ras(slicing: Slicing, slice_index: int, points_xy: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Pixels of a slice in RAS mm, unrounded: reading them back must give the same voxels."""
    ras: list[list[float]] = slicing.geometry.ijk_to_ras([slicing.join(slice_index, xy) for xy in points_xy]).tolist()
    return ras
