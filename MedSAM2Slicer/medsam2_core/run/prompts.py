"""The prompts of a run, placed in the volume: checked, in voxels, and ready for a session, a worker or a report.

Coordinates are rounded to a thousandth of a voxel. So a prompt that went through RAS mm in a report and back is the
very same number, and a repeated run gives the very same mask.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Float, Geometry
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.segments import Color, Segment
from medsam2_core.image.slicing import XY, Slicing
from medsam2_core.notices import tell

_DECIMALS = 3

# Okabe and Ito's colors, which most color-blind people can tell apart; black is left out.
_PALETTE = ("e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")


@dataclass(frozen=True)
class PointsPrompt:
    """Clicks on one slice: (x, y) in pixels of the slice, and for each whether the object is there."""

    slice_index: int
    points_xy: tuple[XY, ...]
    include: tuple[bool, ...]


@dataclass(frozen=True)
class ScribblePrompt:
    """A stroke on one slice: (x, y) in pixels along it, and whether the object is there or not."""

    slice_index: int
    points_xy: tuple[XY, ...]
    include: bool

    @property
    def as_points(self) -> PointsPrompt:
        """What it says to the model."""
        return PointsPrompt(self.slice_index, self.points_xy, (self.include,) * len(self.points_xy))


@dataclass(frozen=True)
class BoxPrompt:
    """A box on one slice: x0, y0, x1, y1 in pixels of the slice, the smaller ones first."""

    slice_index: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """A mask (rows, cols) on one slice."""

    slice_index: int
    mask: Mask


Prompt = PointsPrompt | ScribblePrompt | BoxPrompt | MaskPrompt


@dataclass(frozen=True)
class RunObject:
    """One object of a run: its name, label and color, and its prompts in the order they are given to the session."""

    segment: Segment
    prompts: tuple[Prompt, ...]

    @property
    def slices(self) -> list[int]:
        """The slices with a prompt, sorted."""
        return sorted({prompt.slice_index for prompt in self.prompts})


class TakesPrompts(Protocol):
    """The part of a session that prompts go into."""

    def add_points(self, object_id: int, slice_index: int, points_xy: Any, labels: Any) -> None: ...

    def add_box(self, object_id: int, slice_index: int, box_xyxy: Any) -> None: ...

    def add_mask(self, object_id: int, slice_index: int, mask: Mask) -> None: ...


def place_points(
    points: Sequence[Sequence[float]], include: Sequence[bool], frame: str, slicing: Slicing, where: str
) -> list[Prompt]:
    """Points (n, 3) in `frame` as one prompt each; `where` begins the text of a PromptError."""
    voxels = _to_voxels(points, frame, slicing.geometry)
    _require_inside(voxels, slicing.geometry, frame, where)
    placed: list[Prompt] = []
    for voxel, inside in zip(voxels, include, strict=True):
        slice_index, xy = slicing.split(voxel)
        placed.append(PointsPrompt(slice_index, (xy,), (inside,)))
    return placed


def place_scribble(
    points: Sequence[Sequence[float]], include: bool, frame: str, slicing: Slicing, where: str
) -> list[Prompt]:
    """A stroke through points (n, 3) in `frame`, cut into one prompt for each slice it goes through; as above."""
    along = merge_points(place_points(points, [include] * len(points), frame, slicing, where))
    return [ScribblePrompt(one.slice_index, one.points_xy, include) for one in along if isinstance(one, PointsPrompt)]


def place_box(corners: Sequence[Sequence[float]], frame: str, slicing: Slicing, where: str) -> BoxPrompt:
    """The box around `corners` (n, 3) in `frame`, on the slice nearest to their center.

    Corners up to a voxel outside, as many tools export them for a box that ends with the image, are moved to the last
    voxel, which is told. `where` begins the text of the PromptError for a box that is further outside or empty.
    """
    voxels = _to_voxels(corners, frame, slicing.geometry)
    voxels = _within_edges(voxels, slicing, frame, where)
    slice_index, _ = slicing.split(np.round(voxels.mean(axis=0), _DECIMALS))
    xy = np.array([slicing.split(voxel)[1] for voxel in voxels])
    (x0, y0), (x1, y1) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    if x1 - x0 < 1 or y1 - y0 < 1:
        size = f"{x1 - x0:.3g} by {y1 - y0:.3g} pixels in {slicing.plane} slices"
        if (np.ptp(voxels, axis=0) >= 1).sum() == 2:
            raise PromptError(
                f"{where} stands across the slices that are propagated ({size}): draw it in a view of {slicing.plane} "
                "slices, or choose another direction to propagate along."
            )
        raise PromptError(
            f"{where} is empty ({size}): give two opposite corners at least 1 pixel apart in both directions."
        )
    return BoxPrompt(slice_index, (x0, y0, x1, y1))


def place_mask(mask_kji: Mask, slicing: Slicing) -> list[Prompt]:
    """A mask prompt for every slice that a mask (k, j, i) marks."""
    slices = np.moveaxis(mask_kji, slicing.axis, 0)
    return [MaskPrompt(index, slices[index].copy()) for index in range(slicing.count) if slices[index].any()]


def merge_points(prompts: Iterable[Prompt]) -> tuple[Prompt, ...]:
    """The same prompts, with all points of a slice in one, where the first of them stood; scribbles stay apart."""
    merged: dict[object, Prompt] = {}
    for prompt in prompts:
        key: object = ("points", prompt.slice_index) if isinstance(prompt, PointsPrompt) else len(merged)
        first = merged.get(key)
        if isinstance(prompt, PointsPrompt) and isinstance(first, PointsPrompt):
            points, include = first.points_xy + prompt.points_xy, first.include + prompt.include
            merged[key] = PointsPrompt(prompt.slice_index, points, include)
        else:
            merged[key] = prompt
    return tuple(merged.values())


def masks_first(prompts: Iterable[Prompt]) -> list[Prompt]:
    """The same prompts, masks before the others, which so correct the mask of their slice: a session takes a mask as
    the truth in place of what it had on the slice.
    """
    return sorted(prompts, key=lambda prompt: not isinstance(prompt, MaskPrompt))


def same_prompt(one: Prompt, other: Prompt) -> bool:
    """Whether two prompts ask for the same."""
    if isinstance(one, MaskPrompt) and isinstance(other, MaskPrompt):
        return one.slice_index == other.slice_index and np.array_equal(one.mask, other.mask)
    return one == other


def starts_with(prompts: Sequence[Prompt], beginning: Sequence[Prompt]) -> bool:
    """Whether `prompts` are those of `beginning`, and perhaps more after them."""
    return len(prompts) >= len(beginning) and all(map(same_prompt, prompts, beginning))


def make_objects(
    prompts: dict[str, list[Prompt]],
    labels: dict[str, int],
    colors: dict[str, Color],
    corrects: bool = False,
) -> list[RunObject]:
    """Objects with a label and a color each: those given by name, else the next free label and the palette.

    Unless the prompts `corrects` what is drawn already, masks come first: points and boxes on their slices correct
    them. Raises PromptError for an object without prompts, or unless it corrects, for one whose prompts on a slice
    would be taken otherwise than they were meant, such as nothing but exclude points.
    """
    free = (label for label in range(1, 65536) if label not in labels.values())
    objects = []
    for place, (name, placed) in enumerate(prompts.items()):
        merged = merge_points(placed if corrects else masks_first(placed))
        _check_prompts(name, merged, corrects)
        label = labels[name] if name in labels else next(free)
        objects.append(RunObject(Segment(name, label, colors.get(name) or palette_color(place)), merged))
    return objects


def palette_color(place: int) -> Color:
    """Red, green, blue (0 to 1) for the object at this place, counted from 0.

    Beyond the palette hues are spread by the golden ratio, so that each is far from those before it.
    """
    if place < len(_PALETTE):
        red, green, blue = (part / 255 for part in bytes.fromhex(_PALETTE[place]))
    else:
        shade = 0.95 if place % 2 else 0.7
        red, green, blue = colorsys.hsv_to_rgb(place * (math.sqrt(5) - 1) / 2 % 1, 0.75, shade)
    return round(red, 4), round(green, 4), round(blue, 4)


def add_prompts(session: TakesPrompts, objects: Iterable[RunObject], orientation: SliceOrientation) -> None:
    """Give all prompts to a session on slices turned by `orientation`, with the label of each object as its id."""
    for item in objects:
        for prompt in item.prompts:
            _add_prompt(session, item.segment.label, _turned(prompt, orientation))


def _turned(prompt: Prompt, orientation: SliceOrientation) -> Prompt:
    """Turn a prompt; rounded, so that it is the very same number however the volume is stored."""
    if isinstance(prompt, MaskPrompt):
        return MaskPrompt(prompt.slice_index, orientation.turn_mask(prompt.mask))
    if isinstance(prompt, ScribblePrompt):
        return _turned(prompt.as_points, orientation)
    if isinstance(prompt, PointsPrompt):
        points = [orientation.turn_point(xy) for xy in prompt.points_xy]
        rounded = tuple((round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in points)
        return PointsPrompt(prompt.slice_index, rounded, prompt.include)
    x0, y0, x1, y1 = (round(place, _DECIMALS) for place in orientation.turn_box(prompt.box))
    return BoxPrompt(prompt.slice_index, (x0, y0, x1, y1))


def _add_prompt(session: TakesPrompts, object_id: int, prompt: Prompt) -> None:
    if isinstance(prompt, ScribblePrompt):
        _add_prompt(session, object_id, prompt.as_points)
    elif isinstance(prompt, PointsPrompt):
        session.add_points(object_id, prompt.slice_index, prompt.points_xy, [int(flag) for flag in prompt.include])
    elif isinstance(prompt, BoxPrompt):
        session.add_box(object_id, prompt.slice_index, prompt.box)
    else:
        session.add_mask(object_id, prompt.slice_index, prompt.mask)


def _to_voxels(points: Sequence[Sequence[float]], frame: str, geometry: Geometry) -> Float:
    """Points (n, 3) in `frame` as voxels (i, j, k), rounded."""
    given = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    voxels = given
    if frame != "ijk":
        voxels = geometry.ras_to_ijk(given) if frame == "ras" else geometry.lps_to_ijk(given)
    rounded: Float = np.round(voxels, _DECIMALS) + 0.0  # + 0.0 makes -0.0 an ordinary zero
    return rounded


def _require_inside(voxels: Float, geometry: Geometry, frame: str, where: str) -> None:
    """Voxels reach half a voxel beyond their center, so that far a prompt may lie."""
    sizes = np.array(geometry.shape_kji[::-1])
    inside = (voxels >= -0.5) & (voxels < sizes - 0.5)
    if inside.all():
        return
    limits = ", ".join(f"{name} from 0 to {size - 1}" for name, size in zip("ijk", sizes, strict=True))
    if frame == "ijk":
        raise PromptError(f"{where} lies outside the volume: give {limits} (or --frame ras or lps for mm).")
    worst = ", ".join(f"{value:.5g}" for value in voxels[np.argmin(inside.all(axis=1))])
    raise PromptError(f"{where} ({frame}) is at voxel ({worst}), outside the volume: voxels have {limits}.")


def _within_edges(voxels: Float, slicing: Slicing, frame: str, where: str) -> Float:
    """The corners of a box (n, 3), those just outside in its slice on the last voxel. Raises PromptError for others."""
    last = np.array(slicing.geometry.shape_kji[::-1]) - 1
    in_slice = np.arange(3) != 2 - slicing.axis
    outside = ((voxels < -0.5) | (voxels >= last + 0.5)) & in_slice
    moved = np.where(outside & (voxels >= -1) & (voxels <= last + 1), np.clip(voxels, 0, last), voxels)
    _require_inside(voxels if outside.all(axis=0).any() else moved, slicing.geometry, frame, where)
    if outside.any():
        tell(f"{where} reaches a voxel beyond the volume's edge, as exclusive corners do: it is cut off at the edge.")
    return moved


def _check_prompts(name: str, prompts: Sequence[Prompt], corrects: bool) -> None:
    if all(isinstance(prompt, MaskPrompt) and not prompt.mask.any() for prompt in prompts):
        raise PromptError(f"Object {name!r} has no prompt: give it a point, a box or a mask.")
    if corrects:
        return
    for slice_index in {prompt.slice_index: None for prompt in prompts}:
        on_slice = [prompt for prompt in prompts if prompt.slice_index == slice_index]
        problem = _problem(on_slice)
        if problem:
            raise PromptError(f"On slice {slice_index} object {name!r} has {problem}.")


def _includes(prompt: Prompt) -> bool:
    """Whether a prompt has a point on the object."""
    if isinstance(prompt, ScribblePrompt):
        return prompt.include
    return isinstance(prompt, PointsPrompt) and any(prompt.include)


def _problem(prompts: Sequence[Prompt]) -> str | None:
    """What the session would take in a way the user did not mean, as the rest of a sentence."""
    boxes = sum(isinstance(prompt, BoxPrompt) for prompt in prompts)
    masks = [prompt for prompt in prompts if isinstance(prompt, MaskPrompt)]
    if boxes > 1:
        return "several boxes: give one that holds all of it"
    if len(masks) > 1:
        return "several masks: give one that holds all of it"
    if len(masks) == len(prompts):
        return None
    shown = boxes or any(mask.mask.any() for mask in masks)
    if not shown and not any(map(_includes, prompts)):
        return "only exclude points: add a point, a box or a mask of the object"
    return None
