"""Prompts from the scene: markups, segments and plain RAS points as the core's prompts on stored slices.

Every position is taken in the world (RAS mm) and goes through the volume's parent transforms, so a prompt stays where
the user sees it. Each prompt knows the node and control point it came from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import slicer
import vtk.util.numpy_support
from slicer.i18n import tr as _

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError
from medsam2_core.image.geometry import Float
from medsam2_core.image.polygon import filled
from medsam2_core.run.prompts import MaskPrompt, Prompt, place_box, place_mask, place_points, place_scribble
from MedSAM2SlicerLib.scene.segments import segmentMask
from MedSAM2SlicerLib.scene.slicedvolume import SlicedVolume

_DECIMALS = 3  # as the core rounds voxels, so that a transform and back gives the very same prompt
_FLATNESS = 1.0  # slices that a curve may leave its slice by: more, and it was drawn in another view


# Short to long axis of the lesion that a line along its long axis stands for. Compact structures of the training data
# (short axis over 0.4 of the long one, under 60 mm; 124 slices) are drawn by the starter with a Dice of 0.75, 0.77,
# 0.77, 0.77 in the boxes of ellipses of 0.5, 0.6, 0.7, 0.8; 0.74 in a square as large as the line, 0.78 in the tight
# box. Of 210 slices, elongated structures too: 0.74, 0.73, 0.72, 0.71; 0.66 and 0.76.
_SHORT_AXIS = 0.7


@dataclass(frozen=True)
class PromptSource:
    """Where a prompt came from: a node, and in it a control point or segment. All None for plain RAS numbers."""

    nodeId: str | None = None
    controlPointId: str | None = None
    segmentId: str | None = None


@dataclass(frozen=True, eq=False)
class PlacedPrompt:
    """A prompt on a stored slice. `sliceRange`, half-open, is what an ROI spans along the slices; else None."""

    prompt: Prompt
    source: PromptSource
    sliceRange: tuple[int, int] | None = None


class PromptPlacer:
    """Places prompts on slices of a volume.

    Every method raises PromptError, naming the markup, for a prompt outside the volume or not usable.
    """

    def __init__(self, volume: SlicedVolume) -> None:
        self.slicing = volume.slicing
        self._volume, self._name = volume, repr(volume.node.GetName())

    def pointList(self, markupsNode: slicer.vtkMRMLMarkupsFiducialNode, include: bool) -> list[PlacedPrompt]:
        """Place the points of a list, one prompt each; points that are not placed yet (previews) are left out."""
        return [self._controlPoint(markupsNode, place, include) for place in definedPoints(markupsNode)]

    def scribble(self, curveNode: slicer.vtkMRMLMarkupsCurveNode, include: bool) -> list[PlacedPrompt]:
        """Place a stroke, one prompt for each slice it goes through; it is removed as a whole."""
        where = _("Scribble {name}").format(name=repr(curveNode.GetName()))
        world = [curveNode.GetNthControlPointPositionWorld(place) for place in definedPoints(curveNode)]
        return self._stroke(world, include, where, PromptSource(curveNode.GetID())) if world else []

    def stroke(self, pointsRas: Sequence[Sequence[float]], include: bool) -> list[PlacedPrompt]:
        """Place a stroke through world points (n, 3)."""
        return self._stroke(pointsRas, include, _("The scribble"), PromptSource())

    def isInside(self, pointRas: Sequence[float]) -> bool:
        """Whether a world point lies in the volume."""
        try:
            return bool(self.points([pointRas], [True]))
        except PromptError:
            return False

    def points(self, pointsRas: Sequence[Sequence[float]], include: Sequence[bool]) -> list[PlacedPrompt]:
        """Place world points (n, 3), with for each whether the object is there."""
        volumeRas = self._toVolume(pointsRas, _("The points"))
        placed = place_points(volumeRas.tolist(), include, "ras", self.slicing, _("The point"))
        return [PlacedPrompt(prompt, PromptSource()) for prompt in placed]

    def clicks(
        self, include: Sequence[Sequence[float]] | None, exclude: Sequence[Sequence[float]] | None
    ) -> list[PlacedPrompt]:
        """Place world points (n, 3) where the object is, and such where it is not; either may be empty or None."""
        given = [(points, flag) for points, flag in ((include, True), (exclude, False)) if isGiven(points)]
        return [placed for points, flag in given for placed in self.points(points, [flag] * len(points))]

    def box(self, cornersRas: Sequence[Sequence[float]]) -> PlacedPrompt:
        """Place a box given by opposite world corners (2, 3) on the slice nearest to its center."""
        volumeRas = self._toVolume(cornersRas, _("The box's corners"))
        return PlacedPrompt(place_box(volumeRas.tolist(), "ras", self.slicing, _("The box")), PromptSource())

    def roi(self, roiNode: slicer.vtkMRMLMarkupsROINode) -> PlacedPrompt:
        """Place an ROI: the box around its eight corners, on the middle one of the slices that it spans.

        The ROI may be turned and may reach out of the volume; what lies inside counts. One thinner than a slice is on
        the slice nearest to it.
        """
        where = _("ROI {name}").format(name=repr(roiNode.GetName()))
        if roiNode.GetNumberOfDefinedControlPoints() == 0:
            raise PromptError(_("{where} is not placed yet: draw it around the object.").format(where=where))
        low, high = self._bounds(self._toVoxels(roiCorners(roiNode)), where)
        through = 2 - self.slicing.axis
        first, last = math.ceil(low[through]), math.floor(high[through]) + 1
        if first >= last:
            first = round((low[through] + high[through]) / 2)
            last = first + 1
        low[through] = high[through] = (first + last - 1) // 2
        box = place_box([low.tolist(), high.tolist()], "ijk", self.slicing, where)
        return PlacedPrompt(box, PromptSource(roiNode.GetID()), (first, last))

    def line(self, lineNode: slicer.vtkMRMLMarkupsLineNode) -> PlacedPrompt:
        """Place a line along a lesion's longest axis: a box on the slice nearest to the line's middle.

        It is the box around an ellipse with the line as its long axis and a short axis of `_SHORT_AXIS` times that,
        clipped to the volume.
        """
        where = _("Line {name}").format(name=repr(lineNode.GetName()))
        ends = list(definedPoints(lineNode))
        if len(ends) != 2:
            text = _("{where} has {count} of 2 points: place both ends.")
            raise PromptError(text.format(where=where, count=len(ends)))
        world = [lineNode.GetNthControlPointPositionWorld(place) for place in ends]
        volumeRas = self._volume.toVolume(world)
        self._requireInside(self.slicing.geometry.ras_to_ijk(volumeRas), where)
        start, end = self.slicing.geometry.ras_to_ijk(volumeRas)
        spacing = np.array(self.slicing.geometry.spacing_ijk)
        radius, middle = _ellipsoidRadius((end - start) * spacing) / spacing, (start + end) / 2
        radius[2 - self.slicing.axis] = 0
        low, high = self._bounds(np.array([middle - radius, middle + radius]), where)
        return PlacedPrompt(
            place_box([low.tolist(), high.tolist()], "ijk", self.slicing, where), PromptSource(lineNode.GetID())
        )

    def curves(self, curveNodes: Iterable[slicer.vtkMRMLMarkupsClosedCurveNode]) -> list[PlacedPrompt]:
        """Place closed curves as mask prompts, one per slice, with the first curve on the slice as source.

        A pixel belongs to the mask if its center lies inside an odd number of windings: a curve within another on the
        same slice cuts a hole.
        """
        masks: dict[int, Mask] = {}
        firsts: dict[int, slicer.vtkMRMLMarkupsClosedCurveNode] = {}
        for curveNode in curveNodes:
            index, mask = self._filled(curveNode)
            masks[index] = mask ^ masks.get(index, False)
            firsts.setdefault(index, curveNode)
        for index, mask in masks.items():
            if not mask.any():
                text = _("Curve {name} contains no pixel center of slice {index}: draw it larger.")
                raise PromptError(text.format(name=repr(firsts[index].GetName()), index=index))
        return [PlacedPrompt(MaskPrompt(index, masks[index]), PromptSource(firsts[index].GetID())) for index in masks]

    def segment(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        segmentId: str,
        slices: Sequence[int] | None = None,
    ) -> list[PlacedPrompt]:
        """Place what a segment marks on `slices` (None: on all that it marks) as mask prompts."""
        mask = segmentMask(segmentationNode, segmentId, self._volume.node)
        placed = place_mask(self._volume.region(mask), self.slicing)
        chosen = [prompt for prompt in placed if slices is None or prompt.slice_index in slices]
        missing = sorted(set(slices or ()) - {prompt.slice_index for prompt in placed})
        if missing or not chosen:
            name = segmentationNode.GetSegmentation().GetSegment(segmentId).GetName()
            place = _("on slice {index}").format(index=missing[0]) if missing else _("in the volume")
            text = _("Segment {name} is empty {place}: draw the object there or choose another slice.")
            raise PromptError(text.format(name=repr(name), place=place))
        source = PromptSource(segmentationNode.GetID(), segmentId=segmentId)
        return [PlacedPrompt(prompt, source) for prompt in chosen]

    def _stroke(
        self, pointsRas: Sequence[Sequence[float]], include: bool, where: str, source: PromptSource
    ) -> list[PlacedPrompt]:
        volumeRas = self._toVolume(pointsRas, _("The scribble's points"))
        prompts = place_scribble(volumeRas.tolist(), include, "ras", self.slicing, where)
        return [PlacedPrompt(prompt, source) for prompt in prompts]

    def _controlPoint(self, markupsNode: slicer.vtkMRMLMarkupsNode, place: int, include: bool) -> PlacedPrompt:
        label = repr(markupsNode.GetNthControlPointLabel(place))
        where = _("Point {label} of {name}").format(label=label, name=repr(markupsNode.GetName()))
        volumeRas = self._volume.toVolume(markupsNode.GetNthControlPointPositionWorld(place))
        (prompt,) = place_points(volumeRas.tolist(), [include], "ras", self.slicing, where)
        return PlacedPrompt(prompt, PromptSource(markupsNode.GetID(), markupsNode.GetNthControlPointID(place)))

    def _filled(self, curveNode: slicer.vtkMRMLMarkupsClosedCurveNode) -> tuple[int, Mask]:
        """The slice a curve lies on, and its inside there."""
        where = _("Curve {name}").format(name=repr(curveNode.GetName()))
        if len(list(definedPoints(curveNode))) < 3:
            raise PromptError(_("{where} has fewer than 3 points: draw it around the object.").format(where=where))
        world = vtk.util.numpy_support.vtk_to_numpy(curveNode.GetCurvePointsWorld().GetData())
        voxels = self._toVoxels(world).round(_DECIMALS)
        along = voxels[:, 2 - self.slicing.axis]
        middle = (along.min() + along.max()) / 2
        if along.max() - along.min() > 2 * _FLATNESS:
            text = _(
                "{where} runs from slice {first:.0f} to {last:.0f}: draw it in one {plane} slice, or propagate along "
                "the view it was drawn in."
            )
            plane = self.slicing.plane
            raise PromptError(text.format(where=where, first=along.min(), last=along.max(), plane=plane))
        index = self.slicing.split([middle] * 3)[0]
        self._bounds(voxels, where)
        if not 0 <= index < self.slicing.count:
            text = _("{where} lies outside {volume}: move it into the volume.")
            raise PromptError(text.format(where=where, volume=self._name))
        return index, filled(np.array([self.slicing.split(voxel)[1] for voxel in voxels]), self.slicing.shape)

    def _bounds(self, voxels: Float, where: str) -> tuple[Float, Float]:
        """Lowest and highest (i, j, k) of voxels, clipped to the centers of the volume's outermost voxels."""
        last = np.array(self.slicing.geometry.shape_kji[::-1]) - 1
        rounded = voxels.round(_DECIMALS)
        low, high = rounded.min(axis=0), rounded.max(axis=0)
        if (high < -0.5).any() or (low >= last + 0.5).any():
            text = _("{where} lies outside {volume}: move it into the volume.")
            raise PromptError(text.format(where=where, volume=self._name))
        return np.clip(low, 0, last), np.clip(high, 0, last)

    def _requireInside(self, voxels: Float, where: str) -> None:
        sizes = np.array(self.slicing.geometry.shape_kji[::-1])
        if not ((voxels >= -0.5) & (voxels < sizes - 0.5)).all():
            text = _("{where} extends beyond {volume}: move it into the volume.")
            raise PromptError(text.format(where=where, volume=self._name))

    def _toVoxels(self, world: npt.ArrayLike) -> Float:
        """World points (n, 3) as fractional voxels (i, j, k) of the slices' grid."""
        return self.slicing.geometry.ras_to_ijk(self._volume.toVolume(world))

    def _toVolume(self, points: Sequence[Sequence[float]], what: str) -> Float:
        """World points as RAS of the volume frame; PromptError for anything but triples of finite numbers."""
        try:
            array = np.asarray(points, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
            raise PromptError(_("{what} are not triples of numbers: give [[r, a, s], ...] in mm.").format(what=what))
        return self._volume.toVolume(array)


def isGiven(positions: Sequence[Any] | None) -> TypeGuard[Sequence[Any]]:
    """Whether there are any positions; those of a numpy array have no truth value of their own.

    Raises PromptError for what has no length.
    """
    try:
        return positions is not None and len(positions) > 0
    except TypeError:
        text = _("{value} is no list of positions: give [[r, a, s], ...] in mm.")
        raise PromptError(text.format(value=repr(positions))) from None


def _ellipsoidRadius(diameter: Float) -> Float:
    """How far an ellipsoid reaches along the axes, given its longest diameter (3,), the others being equal."""
    squares = diameter**2
    radius: Float = np.sqrt(squares + _SHORT_AXIS**2 * (squares.sum() - squares)) / 2
    return radius


def definedPoints(markupsNode: slicer.vtkMRMLMarkupsNode) -> Iterable[int]:
    """The places of control points that are set: neither previews under the mouse, nor skipped, nor missing."""
    defined = slicer.vtkMRMLMarkupsNode.PositionDefined
    places = range(markupsNode.GetNumberOfControlPoints())
    return (place for place in places if markupsNode.GetNthControlPointPositionStatus(place) == defined)


def roiCorners(roiNode: slicer.vtkMRMLMarkupsROINode) -> Float:
    """World positions (8, 3) of an ROI's corners."""
    matrix = roiNode.GetObjectToWorldMatrix()
    halves = [(-size / 2, size / 2) for size in roiNode.GetSize()]
    return np.array([matrix.MultiplyPoint((*corner, 1.0))[:3] for corner in itertools.product(*halves)])
