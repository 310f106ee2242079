"""Objects with their prompts, to the wire and back. What comes in is checked for form; the session checks the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from medsam2_core.arrays import Mask
from medsam2_core.counting import counted
from medsam2_core.errors import PromptError, VolumeError, WorkerError
from medsam2_core.image.segments import MAX_LABEL, Segment
from medsam2_core.image.slicing import XY
from medsam2_core.run.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointsPrompt,
    Prompt,
    RunObject,
    ScribblePrompt,
    merge_points,
    palette_color,
)
from medsam2_core.worker import fields
from medsam2_core.worker.masks import PackedMask, mask_from_wire, mask_to_wire
from medsam2_core.worker.wire import Buffer, Frame, Header

SliceShape = tuple[int, int]
ShapeOf = Callable[[int], SliceShape]
"""Rows and columns of a slice, or of an image of a set, by its index; it raises PromptError where there is none."""


def objects_to_wire(objects: Iterable[RunObject], payloads: list[Buffer]) -> list[Header]:
    """Objects for a header; masks are added to `payloads`. Of a segment only the label goes along."""
    return [
        {"id": item.segment.label, "prompts": [_prompt_to_wire(prompt, payloads) for prompt in item.prompts]}
        for item in objects
    ]


def objects_from_wire(frame: Frame, shape_of: ShapeOf) -> list[RunObject]:
    """Objects of a request on slices as large as `shape_of` says, each with its points of a slice in one prompt.

    Raises WorkerError for what is not such a message and PromptError for labels that are not valid or come twice.
    """
    objects = [_object(item, frame, shape_of) for item in fields.objects(frame.header, "objects")]
    labels = [item.segment.label for item in objects]
    if len(set(labels)) < len(labels):
        raise PromptError(f"Two objects have the same id ({', '.join(map(str, labels))}): give each its own.")
    return objects


def _object(item: Header, frame: Frame, shape_of: ShapeOf) -> RunObject:
    label = fields.whole(item, "id")
    prompts = [_prompt(prompt, frame, shape_of) for prompt in fields.objects(item, "prompts")]
    try:
        segment = Segment(str(label), label, palette_color(0))
    except VolumeError as error:
        raise PromptError(f"Object id {label} cannot be a label: choose one from 1 to {MAX_LABEL}.") from error
    return RunObject(segment, merge_points(prompts))


def _prompt_to_wire(prompt: Prompt, payloads: list[Buffer]) -> Header:
    if isinstance(prompt, PointsPrompt):
        include = [bool(inside) for inside in prompt.include]
        return {"kind": "points", "slice_index": prompt.slice_index, **_places(prompt), "include": include}
    if isinstance(prompt, ScribblePrompt):
        return {"kind": "scribble", "slice_index": prompt.slice_index, **_places(prompt), "include": prompt.include}
    if isinstance(prompt, BoxPrompt):
        return {"kind": "box", "slice_index": prompt.slice_index, "box": [float(place) for place in prompt.box]}
    packed = mask_to_wire(PackedMask.of(prompt.mask.astype(bool)), payloads)
    return {"kind": "mask", "slice_index": prompt.slice_index, "mask": packed}


def _prompt(item: Header, frame: Frame, shape_of: ShapeOf) -> Prompt:
    kind, index = fields.text(item, "kind"), fields.whole(item, "slice_index")
    if kind == "points":
        return _points(item, index)
    if kind == "scribble":
        return ScribblePrompt(index, _places_of(item), fields.flag(item, "include"))
    if kind == "box":
        x0, y0, x1, y1 = fields.numbers(item, "box", 4)
        return BoxPrompt(index, (x0, y0, x1, y1))
    if kind == "mask":
        return MaskPrompt(index, _mask(item, frame, shape_of(index)))
    raise WorkerError(f"The message has a prompt of unknown kind {kind[:40]!r}.")


def _places(prompt: PointsPrompt | ScribblePrompt) -> Header:
    return {"points_xy": [[float(x), float(y)] for x, y in prompt.points_xy]}


def _places_of(item: Header) -> tuple[XY, ...]:
    points = [fields.numbers({"points_xy": point}, "points_xy", 2) for point in fields.items(item, "points_xy")]
    return tuple((x, y) for x, y in points)


def _points(item: Header, index: int) -> PointsPrompt:
    points = _places_of(item)
    include = fields.items(item, "include")
    if not all(isinstance(inside, bool) for inside in include) or len(include) != len(points):
        raise WorkerError(
            f"The message has {counted(len(points), 'point')} with {counted(len(include), 'flag')}, or flags that are "
            "not true or false."
        )
    return PointsPrompt(index, points, tuple(include))


def _mask(item: Header, frame: Frame, shape: SliceShape) -> Mask:
    return mask_from_wire(fields.mapping(item, "mask"), frame, shape).full(shape)
