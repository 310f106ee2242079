"""The prompts and stop rules of a command line as those of a run: placed in the volume that they are given for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import PLANES, Slicing, joined
from medsam2_core.io import Volume, read_mask
from medsam2_core.io.dicom.regular import StoredSlices
from medsam2_core.job.markups import place_markups
from medsam2_core.job.prompt_options import BoxOption, MarkupsOption, MaskOption, PromptOption, mask_source
from medsam2_core.job.setting_options import given_settings
from medsam2_core.run.prompts import Prompt, RunObject, place_box, place_mask, place_points
from medsam2_core.run.report import describe_region
from medsam2_core.stopping import StopRules


def place_options(
    options: Iterable[PromptOption],
    frame: str,
    slicing: Slicing,
    stored: StoredSlices | None = None,
    every: int = 1,
) -> list[Prompt]:
    """The prompts of one object in the volume; `frame` is that of the coordinates: "ijk", "ras" or "lps".

    Voxels are those of the `stored` slices, if the volume was made from such. Of the slices of a mask one in `every` is
    taken.
    Raises PromptError for a prompt outside the volume, an empty box or mask, or a mask on another grid, and
    VolumeError for a mask file that cannot be read.
    """
    placed: list[Prompt] = []
    for option in options:
        if isinstance(option, MaskOption):
            _require_grid(stored, "--mask")
            placed += every_nth(place_mask(read_mask(option.path, slicing.geometry, option.name), slicing), every)
        elif isinstance(option, MarkupsOption):
            placed += place_markups(option.path, slicing)
        elif isinstance(option, BoxOption):
            placed.append(_place_box_option(option, frame, slicing, stored))
        else:
            points, frame_there = _from_stored([option.position], frame, stored)
            placed += place_points(points, [option.include], frame_there, slicing, option.text)
    return placed


def every_nth(slices: list[Prompt], every: int) -> list[Prompt]:
    """One in `every` of the prompts of a mask, the middle one among them."""
    return slices[len(slices) // 2 % every :: every]


def check_range_holds_prompts(objects: Iterable[RunObject], first: int, last: int) -> None:
    """Raise PromptError unless every object has a prompted slice in the half-open range."""
    for item in objects:
        if not any(first <= index < last for index in item.slices):
            shown = ", ".join(map(str, item.slices[:5]))
            raise PromptError(
                f"The range {first}:{last} holds no prompt of {item.segment.name!r} (prompted: slice {shown}): "
                "widen --range or prompt a slice in it."
            )


def stop_rules(options: argparse.Namespace, saved: Mapping[str, Any] | None, volume: Volume) -> dict[str, Any]:
    """The rules as a run file has them: those given, else those `saved` in one.

    Raises PromptError for a region on another grid, and VolumeError for a file that cannot be read.
    """
    given = given_settings(options, StopRules)
    rules = {**(saved or {}), **{name: value or None for name, value in given.items()}}
    if options.inside is not None:
        _require_grid(volume.stored, "--stop-outside")
        region = mask_source(options.inside)
        rules["inside"] = describe_region(read_mask(region.path, volume.geometry, region.name))
    return rules


def _require_grid(stored: StoredSlices | None, option: str) -> None:
    """Raise PromptError for a mask beside --resample, since no file holds one on slices that lie on no grid."""
    if stored is not None:
        raise PromptError(f"{option} cannot be used with --resample: show the object with --point or --box.")


def _from_stored(
    points: Sequence[Sequence[float]], frame: str, stored: StoredSlices | None
) -> tuple[Sequence[Sequence[float]], str]:
    """Points in a frame that the volume has: voxels of stored slices become mm."""
    if stored is None or frame != "ijk":
        return points, frame
    return stored.to_lps(points).tolist(), "lps"


def _place_box_option(option: BoxOption, frame: str, slicing: Slicing, stored: StoredSlices | None) -> Prompt:
    """Place all four corners: on an oblique grid two opposite ones alone would not span the box."""
    through = _through_place(frame, slicing)
    (x0, y0), (x1, y1) = option.corners
    corners = [joined(through, xy, option.through) for xy in ((x0, y0), (x1, y0), (x0, y1), (x1, y1))]
    return place_box(*_from_stored(corners, frame, stored), slicing, option.text + _reading(through, frame))


def _reading(through: int, frame: str) -> str:
    """How the numbers of a box are read, to be told of one that cannot be used, unless they are as one expects."""
    if through == 2:
        return ""
    letters = "IJK" if frame == "ijk" else "XYZ"
    first, second = (letter for letter in letters if letter != letters[through])
    return f" (read as {first}0,{second}0,{first}1,{second}1@{letters[through]})"


def _through_place(frame: str, slicing: Slicing) -> int:
    """The place, among the three coordinates of `frame`, of the one that goes from slice to slice."""
    return 2 - slicing.axis if frame == "ijk" else PLANES.index(slicing.plane)
