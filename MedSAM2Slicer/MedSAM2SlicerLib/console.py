"""Segmenting from Slicer's Python console: one call, RAS coordinates in, a segmentation node out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import slicer

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import PLANES, SliceStack
from medsam2_core.run.prompts import make_objects
from medsam2_core.setting import plain_rows
from medsam2_core.stopping import StopRules
from medsam2_core.worker.results import Step
from MedSAM2SlicerLib.options import RunOptions, optionName
from MedSAM2SlicerLib.prompts.placing import PlacedPrompt, PromptPlacer, isGiven
from MedSAM2SlicerLib.scene.arguments import checkArguments
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.scene.making import Making
from MedSAM2SlicerLib.scene.regions import roiMask
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume
from MedSAM2SlicerLib.segmentnames import segmentIdOf
from MedSAM2SlicerLib.work.driving import driveToEnd
from MedSAM2SlicerLib.work.passing import Lane, Leg, Pass
from MedSAM2SlicerLib.work.running import Progress
from MedSAM2SlicerLib.work.target import Target
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.volumeinuse import VolumeInUse

_OBJECT_ID = 1
_STOP_RULES = {row.name: optionName(row.name) for row in plain_rows(StopRules)}
_INSIDE = "inside"  # the stop rule that is a region: the name or ID of a segment, or an ROI node
Point = Sequence[float]
Stroke = Sequence[Point]
Range = tuple[int, int]
Region: TypeAlias = str | slicer.vtkMRMLMarkupsROINode
Stop = Mapping[str, float | Region | None]


def process(
    client: WorkerClient,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    segmentName: str | None = None,
    points: Sequence[Point] | None = None,
    exclude: Sequence[Point] | None = None,
    scribbles: Sequence[Stroke] | None = None,
    excludeScribbles: Sequence[Stroke] | None = None,
    box: Sequence[Point] | None = None,
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None,
    lineNode: slicer.vtkMRMLMarkupsLineNode | None = None,
    maskSegment: str | None = None,
    axis: int | str | None = None,
    window: str | None = None,
    model: str | None = None,
    range: Range | None = None,  # noqa: A002 (the name is part of the public API)
    memory: str | None = None,
    progress: Callable[[int, int], object] | None = None,
    direction: str | None = None,
    fieldOfView: str | None = None,
    stop: Stop | None = None,
    **settings: Any,
) -> slicer.vtkMRMLSegmentationNode:
    """Segment an object and return the segmentation; see `MedSAM2SlicerLogic.process` for the arguments.

    Further `settings` have the names of `RunOptions`, such as device; None for the default.
    Waits for the result; the application stays responsive meanwhile. Raises MedSAM2Error, and Cancelled if the call is
    ended from elsewhere; what was drawn until then stays, and nothing that is empty.
    """
    checkArguments(volumeNode=volumeNode, segmentationNode=segmentationNode, segmentName=segmentName, axis=axis)
    checkArguments(roiNode=roiNode, lineNode=lineNode, maskSegment=maskSegment, range=range, progress=progress)
    chosen = {"window": window, "model": model, "memory": memory, "direction": direction, "fieldOfView": fieldOfView}
    checkArguments(stop=stop, inside=(stop or {}).get(_INSIDE) if isinstance(stop, Mapping) else None)
    checkArguments(**settings, **chosen)
    volume = VolumeInUse(volumeNode)
    options = _options(volume, axis, range, {**settings, **chosen}, stop or {})
    sliced = volume.sliced(options.stack)
    placer = PromptPlacer(sliced)
    placed = placer.clicks(points, exclude)
    placed += _drawn(placer, scribbles, excludeScribbles)
    placed += _boxed(placer, box, roiNode, lineNode)
    # Only now, so that prompts which cannot be used leave no empty segmentation behind.
    with Making() as making:
        node, segmentId = making.ensure(volumeNode, segmentationNode, segmentName)
        if maskSegment is not None:
            placed += placer.segment(node, segmentIdOf(node, maskSegment))
        inside = _inside(sliced, node, (stop or {}).get(_INSIDE))
        _segment(client, volume, Target(node, segmentId), options, placed, inside, progress)
    return node


def _segment(
    client: WorkerClient,
    volume: VolumeInUse,
    target: Target,
    options: RunOptions,
    placed: Sequence[PlacedPrompt],
    inside: Bools | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    """Carry the prompts through the volume into a segment, and wait for that. Raises as `process`."""
    node, segmentId, sliced = target.segmentation, target.segmentId, volume.sliced(options.stack)
    name = node.GetSegmentation().GetSegment(segmentId).GetName()
    objects = make_objects({name: [one.prompt for one in placed]}, {name: _OBJECT_ID}, {})
    span, rules = _range(options, placed, sliced.slicing.count), options.stopRules(inside)
    owner = f"console/{node.GetID()}/{segmentId}"
    target.turn(volume, options.stack)
    lane, work = Lane(sliced, options, objects, rules), target.work(sliced)
    work.states.sources |= {one.source.segmentId for one in placed if one.source.segmentId is not None}
    run = Pass(target, volume, [Leg(lane, span, [work])], partial(volume.openSession, client, owner))

    def onStep(_step: Step, reached: Progress) -> None:
        if progress is not None:
            progress(reached.done, reached.planned)

    try:
        driveToEnd(run, client, onStep)
    finally:
        volume.close(client)


def _options(
    volume: VolumeInUse,
    axis: int | str | None,
    span: Range | None,
    chosen: Mapping[str, Any],
    stop: Stop,
) -> RunOptions:
    """The arguments as options; what is left out keeps its default. Raises PromptError for unknown stop rules."""
    names = [*_STOP_RULES, _INSIDE]
    unknown = sorted(stop.keys() - set(names), key=str)
    if unknown:
        raise PromptError(f"There is no stop rule {unknown[0]!r}: use {', '.join(names)}.")
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    given |= {_STOP_RULES[name]: value for name, value in stop.items() if name != _INSIDE}
    first, last = span or (None, None)
    return RunOptions(stack=SliceStack(_axis(volume, axis)), first=first, last=last, **given)


def _axis(volume: VolumeInUse, axis: int | str | None) -> int:
    """An array axis given by number or plane. Raises PromptError for anything else."""
    if axis is None:
        return 0
    if axis in PLANES:
        return volume.sliced(SliceStack()).geometry.anatomical_axis(str(axis))
    if axis not in (0, 1, 2):
        raise PromptError(f"Axis {axis!r} does not exist: give {', '.join(PLANES)} or 0, 1, 2 for k, j, i.")
    return int(axis)


def _drawn(
    placer: PromptPlacer, scribbles: Sequence[Stroke] | None, exclude: Sequence[Stroke] | None
) -> list[PlacedPrompt]:
    strokes = [(one, flag) for given, flag in ((scribbles, True), (exclude, False)) if isGiven(given) for one in given]
    return [placed for stroke, include in strokes for placed in placer.stroke(stroke, include)]


def _boxed(
    placer: PromptPlacer,
    box: Sequence[Point] | None,
    roiNode: slicer.vtkMRMLMarkupsROINode | None,
    lineNode: slicer.vtkMRMLMarkupsLineNode | None,
) -> list[PlacedPrompt]:
    placed = [placer.box(box)] if isGiven(box) else []
    placed += [placer.roi(roiNode)] if roiNode is not None else []
    return placed + ([placer.line(lineNode)] if lineNode is not None else [])


def _inside(
    volume: SlicedVolume, segmentationNode: slicer.vtkMRMLSegmentationNode, region: Region | None
) -> Bools | None:
    """The region to stay in, on the slices' grid. Raises PromptError for one that is not there or an empty ROI."""
    if region is None:
        return None
    if isinstance(region, str):
        marked = segmentMask(segmentationNode, segmentIdOf(segmentationNode, region), volume.node)
    else:
        marked = roiMask(region, volume.node)
    return volume.region(marked)


def _range(options: RunOptions, placed: Sequence[PlacedPrompt], count: int) -> Range:
    """The range asked for, else that of an ROI, else the whole volume."""
    spans = [one.sliceRange for one in placed if one.sliceRange is not None]
    if options.first is None and spans:
        return spans[0]
    return options.range(count)
